"""`claw chat`: look through and tidy conversations, with the installed command and a real vault."""

import hashlib
import json
import stat
from pathlib import Path

import pytest

from tests.fixtures.command import Person
from vault.classes import DataClass
from vault.log import Action, Status, fold
from vault.messages import Attachment, Generation, Session, SessionId

MADE = Generation("a-model", "00" * 32, None, {"seed": 1}, "stop", 5, 0, 2, 0.1, 0.1, 0.1, 0.1, b"\1\0\0\0")


@pytest.fixture
def session(person: Person) -> Session:
    """A conversation with an alternative reply, an attachment, and text that would harm a terminal."""
    with person.vault() as vault:
        kept = vault.conversations
        session = kept.start("About colours", "Be brief.\nBe kind.")
        note = Attachment("note.txt", "indigo")
        question = kept.append(session.id, None, "user", "Name a rainbow colour.", attachments=[note])
        kept.append(session.id, question.id, "assistant", "Green.")
        reply = kept.append(session.id, question.id, "assistant", "", status="streaming")
        kept.finish(reply.id, "Blue \x1b]52;c;aGk=\x07violet.", "complete", MADE)
        return kept.find(session.id)


def sessions(person: Person) -> dict[str, SessionId]:
    with person.vault() as vault:
        return {session.title: session.id for session in vault.conversations.sessions()}


@pytest.mark.parametrize("arguments", [("list",), ("search", "rainbow")])
def test_nothing_found_is_said_beside_the_data(person: Person, arguments: tuple[str, ...]) -> None:
    done = person.claw("chat", *arguments)
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.startswith(("There is no conversation yet", "No message holds"))
    assert person.claw("chat", *arguments, "--json").stdout == "[]\n"


def test_the_list_shows_the_one_used_last_first(person: Person, session: Session) -> None:
    with person.vault() as vault:
        vault.conversations.start("A\x1b[31m newer one", "")
    lines = person.claw("chat", "list").stdout.splitlines()
    assert lines[0].split() == ["SESSION", "USED", "MESSAGES", "TITLE"]
    assert lines[1].endswith("0         A[31m newer one")
    assert lines[2].startswith(session.id)
    assert lines[2].endswith("3         About colours")
    assert len(person.claw("chat", "list", "-n", "1").stdout.splitlines()) == 2
    assert person.claw("chat", "list", "-n", "0").returncode == 2
    rows = json.loads(person.claw("chat", "list", "--json").stdout)
    assert rows[1]["id"] == session.id
    assert list(rows[1]) == [
        *("id", "title", "system_prompt", "created_ms", "updated_ms"),
        *("head", "forked_from", "archived_ms", "source", "messages"),
    ]


def test_show_prints_the_path_in_use(person: Person, session: Session) -> None:
    for name in ((), (session.id,), ("About colours",)):
        shown = person.claw("chat", "show", *name).stdout
        assert shown.startswith("# About colours\n")
        assert "> Be brief.\n> Be kind." in shown
        assert "## You\n\nName a rainbow colour.\n\n_Attached: note.txt, 6 characters_" in shown
        assert "## Assistant (a-model)\n\nBlue ]52;c;aGk=violet.\n" in shown
        assert "Green" not in shown


def test_show_without_any_conversation_says_how_to_begin_one(person: Person) -> None:
    done = person.claw("chat", "show")
    assert done.returncode == 2
    assert "claw ask" in done.stderr


def test_search_finds_words_of_questions_and_replies(person: Person, session: Session) -> None:
    shown = person.claw("chat", "search", "rainb").stdout
    assert shown.startswith(session.id)
    assert "user: Name a rainbow colour." in shown
    assert "assistant: Green." in person.claw("chat", "search", "green").stdout
    assert "violet" in person.claw("chat", "search", "blue", "violet").stdout
    (hit,) = json.loads(person.claw("chat", "search", "violet", "--json").stdout)
    assert list(hit) == ["session_id", "session_title", "message_id", "role", "created_ms", "snippet"]


@pytest.mark.parametrize("words", ['"', "AND", "NEAR(", "*", "a:b", "-x", "'; DROP TABLE messages; --"])
def test_nothing_typed_into_a_search_is_query_syntax(person: Person, session: Session, words: str) -> None:
    assert person.claw("chat", "search", "--", words).returncode == 0
    assert sessions(person)


def test_rename_changes_the_title(person: Person, session: Session) -> None:
    assert person.claw("chat", "rename", "About colours", "  Two\nlines\x1b[31m ").returncode == 0
    assert sessions(person) == {"Two lines[31m": session.id}
    empty = person.claw("chat", "rename", session.id, " \n")
    assert empty.returncode == 2
    assert sessions(person) == {"Two lines[31m": session.id}


def test_a_fork_is_a_copy_that_goes_its_own_way(person: Person, session: Session) -> None:
    done = person.claw("chat", "fork", session.id)
    fork = sessions(person)["About colours (fork)"]
    assert done.stdout == f"{fork}\n"
    with person.vault() as vault:
        texts = [message.text for message in vault.conversations.path(fork)]
        question = vault.conversations.path(session.id)[0]
    assert len(texts) == 2
    shorter = person.claw("chat", "fork", session.id, "--at", question.id).stdout.strip()
    with person.vault() as vault:
        (only,) = vault.conversations.path(SessionId(shorter))
    assert only.text == question.text
    assert [attachment.name for attachment in only.attachments] == ["note.txt"]
    wrong = person.claw("chat", "fork", session.id, "--at", "nowhere")
    assert wrong.returncode == 2
    assert "claw chat show --json" in wrong.stderr


def test_export_as_markdown_and_as_json(person: Person, session: Session) -> None:
    assert person.claw("chat", "export", session.id).stdout == person.claw("chat", "show").stdout
    exported = json.loads(person.claw("chat", "export", session.id, "--format", "json").stdout)
    assert exported["session"]["title"] == "About colours"
    assert [message["text"][:5] for message in exported["messages"]] == ["Name ", "Green", "Blue "]
    assert exported["messages"][0]["attachments"] == [{"name": "note.txt", "text": "indigo"}]
    made = exported["messages"][2]["generation"]
    assert (made["model_name"], made["sampling"], made["tokens"]) == ("a-model", {"seed": 1}, None)


def test_an_exported_file_is_the_owners_alone_and_replaces_nothing(
    person: Person, session: Session, tmp_path: Path
) -> None:
    out = tmp_path / "export.md"
    done = person.claw("chat", "export", session.id, "-o", str(out), prefix=("sh", "-c", 'umask 0; exec "$0" "$@"'))
    assert done.returncode == 0
    assert "in the clear" in done.stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_text() == person.claw("chat", "show").stdout
    out.write_text("mine")
    again = person.claw("chat", "export", session.id, "-o", str(out))
    assert again.returncode == 1
    assert "Choose another name" in again.stderr
    assert out.read_text() == "mine"
    nowhere = person.claw("chat", "export", session.id, "-o", str(tmp_path / "no" / "folder"))
    assert nowhere.returncode == 1


@pytest.mark.parametrize(
    ("form", "files", "data_class"),
    [("json", 1, DataClass.HIGHLY_SENSITIVE), ("markdown", 0, DataClass.MEDIUM)],
)
@pytest.mark.parametrize("name", ["export.txt", None])
def test_an_export_is_logged_in_numbers_wherever_it_goes(
    person: Person, session: Session, form: str, files: int, data_class: DataClass, name: str | None
) -> None:
    out = person.folder / "export.txt"
    done = person.claw("chat", "export", session.id, "--format", form, *(("-o", str(out)) if name else ()))
    assert done.returncode == 0
    written = out.read_bytes() if name else done.stdout.encode()
    with person.vault() as vault:
        (operation, *_) = fold(vault.log.entries())
        messages = len(
            vault.conversations.tree(session.id) if form == "json" else vault.conversations.path(session.id)
        )
    prepared, finished = (stored.entry for stored in operation.entries)
    assert prepared is not None
    assert finished is not None
    assert (prepared.status, finished.status) == (Status.PREPARED, Status.DONE)
    assert (finished.action, finished.data_class, finished.bytes) == (Action.EXPORT, data_class, len(written))
    assert finished.description.startswith(f"a conversation: {messages} messages, {files} attached file")
    assert finished.payload_sha256 == (hashlib.sha256(written).hexdigest() if name else "")
    for private in (session.id, "colours", "note.txt", "indigo", "export.txt"):
        assert private not in f"{prepared} {finished}"


def test_an_export_onto_a_full_disk_leaves_no_half_file(person: Person, session: Session) -> None:
    done = person.claw("chat", "export", session.id, "-o", "/dev/full")
    assert done.returncode == 1  # it is there already
    to_stdout = person.claw("chat", "export", session.id, prefix=("sh", "-c", 'exec "$0" "$@" >/dev/full'))
    assert to_stdout.returncode == 1
    assert "No space left on device" in to_stdout.stderr


def test_delete_asks_first(person: Person, session: Session) -> None:
    for reply, code, left in (("n", 1, ["About colours"]), ("", 1, ["About colours"]), ("y", 0, [])):
        terminal = person.terminal("chat", "delete", session.id)
        terminal.sees("Remove “About colours” for good? [y/N] ")
        terminal.types(reply)
        assert terminal.ends() == code
        assert list(sessions(person)) == left


def test_delete_without_anybody_to_ask_needs_yes(person: Person, session: Session) -> None:
    done = person.claw("chat", "delete", session.id)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert list(sessions(person)) == ["About colours"]
    done = person.claw("chat", "delete", session.id, "About colours", "--yes")
    assert done.returncode == 0
    assert done.stderr == "Removed “About colours”.\n"
    assert sessions(person) == {}


def test_one_unknown_name_keeps_all_from_being_deleted(person: Person, session: Session) -> None:
    done = person.claw("chat", "delete", session.id, "nowhere", "--yes")
    assert done.returncode == 2
    assert list(sessions(person)) == ["About colours"]


def test_a_title_that_two_conversations_bear_is_not_enough(person: Person, session: Session) -> None:
    with person.vault() as vault:
        vault.conversations.start("About colours", "")
    done = person.claw("chat", "show", "About colours")
    assert done.returncode == 2
    assert "more of its id" in done.stderr
