"""`claw ask`: one question, answered into a pipe, to a terminal, or as JSON, by the real model."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.attachments import MAX_BYTES
from agent.models.embedded import EMBEDDED, EMBEDDED_NAME
from tests.fixtures.command import Person
from vault.messages import Message

LONG = "Write a very long story about a dragon and a princess."


def answer(person: Person, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
    """Ask with `--json`; the object."""
    done = person.claw("ask", *arguments, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def kept(person: Person) -> list[list[Message]]:
    """The messages of each conversation, the one used last first."""
    with person.vault() as vault:
        return [vault.conversations.path(session.id) for session in vault.conversations.sessions()]


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_question_on_stdin_is_answered_remembered_and_found_again(person: Person) -> None:
    done = person.claw("ask", "-", "--json", stdin="Name three colours of the rainbow.")
    assert done.returncode == 0
    assert done.stderr == ""
    first = json.loads(done.stdout)
    assert list(first) == ["text", "session", "message", "model", "usage", "timings", "finish", "notices"]
    assert list(first["model"]) == ["name", "sha256", "adapter"]
    assert list(first["usage"]) == ["prompt_tokens", "cached_tokens", "completion_tokens"]
    assert list(first["timings"]) == [
        *("load_s", "prefill_s", "decode_s"),
        *("time_to_first_token_s", "tokens_per_second"),
    ]
    assert first["model"] == {"name": EMBEDDED_NAME, "sha256": EMBEDDED.sha256, "adapter": None}
    assert first["text"].strip()
    assert first["finish"] in ("stop", "length")
    assert first["notices"] == []

    second = answer(person, "--continue", "And two more?")
    assert list(second) == list(first)
    assert second["session"] == first["session"]
    (conversation,) = kept(person)
    assert [message.role for message in conversation] == ["user", "assistant", "user", "assistant"]
    assert conversation[1].text == first["text"]
    assert conversation[1].id == first["message"]
    assert conversation[3].generation is not None
    # The model was given all that was said before.
    heard = conversation[3].generation.prompt_tokens
    assert heard > first["usage"]["prompt_tokens"] + first["usage"]["completion_tokens"]

    found = person.claw("chat", "search", "rainbow")
    assert found.returncode == 0
    assert first["session"] in found.stdout
    assert "Name three colours of the rainbow." in found.stdout


def test_into_a_pipe_goes_the_reply_alone(person: Person) -> None:
    done = person.claw("ask", LONG)
    assert done.returncode == 0
    ((_, reply),) = kept(person)
    assert done.stdout == f"{reply.text}\n"
    assert done.stderr == "[cut off: the reply met its limit, or the context window is full]\n"


def test_a_limit_asked_for_is_no_surprise(person: Person) -> None:
    done = person.claw("ask", "Say hello.", "--max-tokens", "3")
    assert done.returncode == 0
    assert done.stderr == ""


def test_the_reply_comes_piece_by_piece_and_a_reader_that_leaves_ends_it_quietly(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    with person.starts("ask", LONG) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read1()  # type: ignore[attr-defined]
        assert first
        assert process.poll() is None, "the reply came in one piece"
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == b""
    ((_, reply),) = kept(person)
    assert reply.text.startswith(first.decode())
    assert reply.status in ("cancelled", "interrupted")


def test_on_a_terminal_the_reply_is_shown_while_it_is_written(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    terminal = person.terminal("ask", LONG)
    shown = terminal.sees_match(r"\w+ ")[0]
    terminal.presses("c")
    terminal.sees("[stopped; the text so far is kept]")
    assert terminal.ends() == 130
    ((_, reply),) = kept(person)
    assert shown.strip() in reply.text
    assert reply.status == "cancelled"


def test_an_interrupted_reply_is_json_with_exit_code_130(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    with person.starts("ask", LONG, "--json") as process:
        while not [message for messages in kept(person) for message in messages[1:] if message.text]:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b""
    found = json.loads(out)
    assert found["finish"] == "cancelled"
    ((_, reply),) = kept(person)
    assert reply.text == found["text"]


def test_a_second_interrupt_ends_the_command_when_the_first_is_not_heard(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    terminal = person.terminal("ask", LONG)
    terminal.sees_match(r"\w+ ")
    terminal.worker.suspend()
    terminal.presses_until("c", "^C\r\n")
    assert terminal.ends() == 130
    ((question, reply),) = kept(person)
    assert question.text == LONG
    assert reply.text


def test_an_interrupt_while_the_model_loads_is_no_error(person: Person) -> None:
    with person.starts("ask", LONG) as process:
        worker_of(process.pid).suspend()  # it will never be loaded
        while not kept(person) or not kept(person)[0]:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err) == (b"", b"[stopped]\n")


def worker_of(pid: int) -> psutil.Process:
    """The inference worker of a command, once it is there."""
    while True:
        for child in psutil.Process(pid).children():
            if "agent.worker" in child.cmdline():
                return child


def test_a_worker_that_is_killed_is_told_on_a_line_of_its_own_and_the_text_so_far_kept(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    with person.starts("ask", LONG) as process:
        assert process.stdout is not None
        first = process.stdout.read1()  # type: ignore[attr-defined]
        worker_of(process.pid).kill()
        rest, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert rest.endswith(b"\n")
    assert b"signal SIGKILL" in err
    assert b"ask again" in err
    ((question, reply),) = kept(person)
    assert question.text == LONG
    assert f"{reply.text}\n".encode() == first + rest
    assert reply.status == "interrupted"


@pytest.mark.parametrize("way", ["id", "beginning of the id", "title"])
def test_an_earlier_conversation_is_gone_on_with_by_its(person: Person, way: str) -> None:
    with person.vault() as vault:
        session = vault.conversations.start("About colours", "Be brief.")
        question = vault.conversations.append(session.id, None, "user", "Name a colour.")
        vault.conversations.append(session.id, question.id, "assistant", "Blue.")
        vault.conversations.start("Used last", "")
    name = {"id": session.id, "beginning of the id": session.id[:6], "title": "About colours"}[way]
    assert answer(person, "-c", name, "Another one?")["session"] == session.id
    with person.vault() as vault:
        said = [message.text for message in vault.conversations.path(session.id)]
    assert said[:3] == ["Name a colour.", "Blue.", "Another one?"]
    assert len(said) == 4


def test_a_system_prompt_is_kept_with_the_conversation_and_may_be_changed(person: Person) -> None:
    session = answer(person, "-s", "You speak like a pirate.", "Hello")["session"]
    with person.vault() as vault:
        assert vault.conversations.find(session).system_prompt == "You speak like a pirate."
    answer(person, "--continue", "-s", "", "Hello again")
    with person.vault() as vault:
        assert vault.conversations.find(session).system_prompt == ""


def test_another_model_may_answer(person: Person, tiny_model: Path) -> None:
    assert person.claw("model", "import", str(tiny_model), "--name", "mine").returncode == 0
    first = answer(person, "Hello")
    second = answer(person, "--continue", "-m", "mine", "And you?")
    assert second["model"]["name"] == "mine"
    assert second["session"] == first["session"]


def test_attached_files_are_kept_with_the_question_and_read_by_the_model(person: Person, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("The cat is called Minka.\n")
    (tmp_path / "zwei.md").write_text("Die Katze heißt Minka. 🐈\n", encoding="utf-16")
    bare = answer(person, "What is the cat called?")
    files = ("-f", str(tmp_path / "one.txt"), "-f", str(tmp_path / "zwei.md"))
    informed = answer(person, *files, "What is the cat called?")
    assert informed["usage"]["prompt_tokens"] > bare["usage"]["prompt_tokens"] + 15
    attached = kept(person)[0][0].attachments
    assert [(a.name, a.text) for a in attached] == [
        ("one.txt", "The cat is called Minka.\n"),
        ("zwei.md", "Die Katze heißt Minka. 🐈\n"),
    ]


def test_piped_text_can_be_attached_with_and_without_a_question(person: Person) -> None:
    answer(person, "-f", "-", "What is this?", stdin="diff --git a b")
    answer(person, "-f", "-", stdin="some words")
    (alone, _), (asked, _) = kept(person)
    assert (asked.text, asked.attachments[0].text) == ("What is this?", "diff --git a b")
    assert (alone.text, alone.attachments[0].text) == ("Answer about the attached text.", "some words")


def test_escapes_in_an_attached_file_reach_neither_terminal_nor_vault(person: Person, tmp_path: Path) -> None:
    path = tmp_path / "evil\x1b]0;title\x07.txt"
    path.write_text("red\x1b]52;c;aGk=\x07 and \x1b[31mblue\u202e\u200b\r\n")
    answer(person, "-f", str(path), "Which colours?")
    ((question, _),) = kept(person)
    (attachment,) = question.attachments
    assert attachment.text == "red]52;c;aGk= and [31mblue\n"
    assert attachment.name == "evil]0;title.txt"
    shown = person.claw("chat", "show").stdout  # which looks for escapes itself
    assert "evil]0;title.txt" in shown


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("missing", "No such file"),
        ("a folder", "not a plain file"),
        ("a FIFO", "not a plain file"),
        ("zero bytes", "zero bytes"),
        ("Latin-1", "iconv"),
        ("too much text", "too large"),
    ],
)
def test_what_is_no_text_file_is_refused_before_anything_is_kept(
    person: Person, tmp_path: Path, made: str, says: str
) -> None:
    path = tmp_path / "attached"
    match made:
        case "a folder":
            path.mkdir()
        case "a FIFO":
            os.mkfifo(path)
        case "zero bytes":
            path.write_bytes(b"\x7fELF\x00\x00\x01")
        case "Latin-1":
            path.write_bytes("café".encode("latin-1"))
        case "too much text":
            path.write_bytes(b"a line of text\n" * (MAX_BYTES // 15 + 1))
    done = person.claw("ask", "-f", str(path), "What is this?")
    assert done.returncode == 2
    assert done.stdout == ""
    assert str(path) in done.stderr
    assert says in done.stderr
    assert kept(person) == []


def test_a_file_that_exceeds_the_context_window_is_cut_and_the_person_told(person: Person, tmp_path: Path) -> None:
    person.set("inference.context", "512")
    path = tmp_path / "long.txt"
    path.write_text("one two three four five six seven eight nine ten\n" * 200)
    found = answer(person, "-f", str(path), "What is this?")
    (attachment,) = kept(person)[0][0].attachments
    assert len(attachment.text) < path.stat().st_size
    assert path.read_text().startswith(attachment.text)
    assert found["notices"] == [
        f"long.txt was cut: the first {len(attachment.text):,} of its {path.stat().st_size:,} characters are given."
    ]
    plain = person.claw("ask", "-f", str(path), "What is this?", "--max-tokens", "3")
    assert plain.stderr == f"[{found['notices'][0]}]\n"


def test_old_turns_that_exceed_the_window_are_left_out_and_the_person_told(person: Person) -> None:
    person.set("inference.context", "512")
    with person.vault() as vault:
        session = vault.conversations.start("Long", "")
        head = None
        for number in range(6):
            head = vault.conversations.append(session.id, head, "user", f"{number}: " + "many words " * 40).id
            head = vault.conversations.append(session.id, head, "assistant", "Yes.").id
    found = answer(person, "-c", "Long", "And now?")
    (notice,) = found["notices"]
    assert notice.startswith("The context window is full: the oldest")
    person.set("context.overflow", "refuse")
    refused = person.claw("ask", "-c", "Long", "And then?")
    assert refused.returncode == 5
    assert "start a new conversation" in refused.stderr


def test_a_question_that_exceeds_the_window_is_refused_and_leaves_no_empty_conversation(person: Person) -> None:
    person.set("inference.context", "512")
    done = person.claw("ask", "-", stdin="many words " * 500)
    assert done.returncode == 5
    assert "larger window" in done.stderr
    assert kept(person) == []


def test_no_save_leaves_the_vault_as_it_was(person: Person) -> None:
    answer(person, "My cat is called Minka.")
    before = files_of(person.folder)
    fresh = answer(person, "--no-save", "Say hello.")
    assert (fresh["session"], fresh["message"]) == (None, None)
    assert files_of(person.folder) == before
    going_on = answer(person, "--no-save", "--continue", "-s", "Be brief.", "What is my cat called?")
    assert going_on["session"] is None
    assert going_on["usage"]["prompt_tokens"] > fresh["usage"]["prompt_tokens"]
    assert files_of(person.folder) == before


def test_no_save_needs_no_vault_and_makes_none(newcomer: Person) -> None:
    newcomer.passphrase_file.unlink()
    done = newcomer.claw("ask", "--no-save", "--max-tokens", "4", "Say hello.")
    assert done.returncode == 0
    assert done.stdout.strip()
    assert files_of(newcomer.folder) == {}
    assert not newcomer.home.data.exists()


def test_the_same_seed_gives_the_same_reply(person: Person) -> None:
    def text(seed: str) -> object:
        arguments = ("--no-save", "--temperature", "1.5", "--max-tokens", "24", "--seed", seed, "Tell me a story.")
        return answer(person, *arguments)["text"]

    assert text("1") == text("1")
    assert text("1") != text("2")


def test_max_tokens_ends_the_reply(person: Person) -> None:
    found = answer(person, "--no-save", "--max-tokens", "3", LONG)
    assert found["usage"]["completion_tokens"] == 3
    assert found["finish"] == "length"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--max-tokens", "many"), "'many' is not a whole number"),
        (("--max-tokens", "-1"), "between 0 and"),
        (("--seed", "1.5"), "not a whole number"),
        (("--temperature", "11"), "between 0 and 10"),
        (("--temperature", "nan"), "between 0 and 10"),
        (("--temperature", "hot"), "not a number"),
        (("-c", "x", "--continue"), "not allowed with"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors_in_plain_words(
    person: Person, arguments: tuple[str, ...], says: str
) -> None:
    done = person.claw("ask", "Hello", *arguments)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize("arguments", [("",), ("  \n",), ("-",), (), ("-f", "-", "-")])
def test_an_empty_question_is_refused_with_an_example(person: Person, arguments: tuple[str, ...]) -> None:
    done = person.claw("ask", *arguments, stdin=" \n")
    assert done.returncode == 2
    assert "claw ask" in done.stderr
    assert kept(person) == []


def test_at_a_terminal_without_a_question_an_example_is_given(person: Person) -> None:
    terminal = person.terminal("ask")
    terminal.sees("Nothing was asked.")
    terminal.sees('claw ask "')
    assert terminal.ends() == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--continue",), "Ask without --continue first"), (("-c", "nowhere"), "claw chat list")],
)
def test_a_conversation_that_is_not_there_cannot_be_gone_on_with(
    person: Person, arguments: tuple[str, ...], says: str
) -> None:
    done = person.claw("ask", *arguments, "Hello")
    assert done.returncode == 2
    assert says in done.stderr
    assert kept(person) == []
