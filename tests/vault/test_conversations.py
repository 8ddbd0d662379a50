"""Conversations as trees, and what deleting and searching do to them."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.databases import decrypted
from tests.fixtures.processes import start_function
from vault.conversations import Conversations
from vault.database import Database
from vault.errors import DatabaseDamaged, NotFound, VaultError
from vault.home import Home
from vault.messages import Attachment, Generation, Message, MessageId, Session
from vault.store import Vault

TABLES = ("sessions", "messages", "attachments", "generations")
GENERATION = Generation(
    model_name="tiny",
    model_sha256="ab" * 32,
    adapter_sha256=None,
    sampling={"temperature": 0.7, "seed": 42, "stop": ["</s>"]},
    finish="stop",
    prompt_tokens=12,
    cached_tokens=7,
    completion_tokens=3,
    load_s=0.25,
    prefill_s=0.5,
    decode_s=0.125,
    first_token_s=0.75,
    tokens=b"\x01\x00\x00\x00\xff\xff\xff\x7f",
)


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database.in_memory()
    yield database
    database.close()


@pytest.fixture
def kept(database: Database) -> Conversations:
    return Conversations(database)


@pytest.fixture
def session(kept: Conversations) -> Session:
    return kept.start("Rainbows", "Be brief.")


def turn(kept: Conversations, session: Session, parent: MessageId | None, question: str, answer: str) -> MessageId:
    asked = kept.append(session.id, parent, "user", question)
    return kept.append(session.id, asked.id, "assistant", answer).id


def texts(messages: list[Message]) -> list[str]:
    return [message.text for message in messages]


def found(kept: Conversations, words: str) -> list[str]:
    return [hit.message_id for hit in kept.search(words)]


def counts(database: Database) -> dict[str, int]:
    return {
        table: database.read(lambda c, table=table: c.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # type: ignore[misc]
        for table in TABLES
    }


def index_terms(database: Database) -> set[str]:
    """Every word that the full-text index still knows, whatever rows are there."""

    def query(connection: object) -> set[str]:
        execute = connection.execute  # type: ignore[attr-defined]
        execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.terms USING fts5vocab('main', 'messages_text', 'row')")
        return {row[0] for row in execute("SELECT term FROM temp.terms").fetchall()}

    return database.write(query)


def index_is_sound(database: Database) -> bool:
    """FTS5's own comparison of the index with the rows; it raises when they differ."""
    database.write(
        lambda c: c.execute(
            "INSERT INTO messages_text (messages_text, rank) VALUES ('integrity-check', 1)"
        ).fetchall()
    )
    return True


# Trees


def test_a_conversation_is_read_from_its_root_to_its_head(kept: Conversations, session: Session) -> None:
    first = turn(kept, session, None, "one?", "one.")
    second = turn(kept, session, first, "two?", "two.")
    assert texts(kept.path(session.id)) == ["one?", "one.", "two?", "two."]
    assert texts(kept.path(session.id, first)) == ["one?", "one."]
    again = kept.find(session.id)
    assert (again.head, again.messages, again.title, again.system_prompt) == (second, 4, "Rainbows", "Be brief.")


def test_a_session_without_messages_has_an_empty_path(kept: Conversations, session: Session) -> None:
    assert kept.path(session.id) == []
    assert kept.tree(session.id) == []
    assert session == kept.find(session.id)


def test_regenerating_and_editing_add_siblings_and_overwrite_nothing(kept: Conversations, session: Session) -> None:
    asked = kept.append(session.id, None, "user", "colours?")
    replies = [kept.append(session.id, asked.id, "assistant", text) for text in ("red", "green", "blue")]
    assert kept.siblings(replies[1]) == [reply.id for reply in replies]
    assert texts(kept.path(session.id)) == ["colours?", "blue"]
    kept.set_head(session.id, replies[0].id)
    assert texts(kept.path(session.id)) == ["colours?", "red"]
    edited = kept.append(session.id, None, "user", "shapes?")
    assert kept.siblings(asked) == [asked.id, edited.id]
    assert texts(kept.path(session.id)) == ["shapes?"]
    assert texts(kept.tree(session.id)) == ["colours?", "red", "green", "blue", "shapes?"]


def test_siblings_are_of_one_session_and_one_role(kept: Conversations, session: Session) -> None:
    other = kept.start("Other", "")
    mine = kept.append(session.id, None, "user", "mine")
    kept.append(other.id, None, "user", "theirs")
    assert kept.siblings(mine) == [mine.id]


def test_provenance_and_attachments_come_back_as_they_were(kept: Conversations, session: Session) -> None:
    files = (Attachment("notes.txt", "line\nline"), Attachment("a.md", ""))
    asked = kept.append(session.id, None, "user", "read this", attachments=files)
    reply = kept.append(session.id, asked.id, "assistant", "", status="streaming")
    kept.checkpoint(reply.id, "half of")
    assert texts(kept.path(session.id)) == ["read this", "half of"]
    kept.finish(reply.id, "the whole", "complete", GENERATION)
    first, second = kept.path(session.id)
    assert first.attachments == files
    assert first.generation is None
    assert (second.text, second.status, second.generation) == ("the whole", "complete", GENERATION)
    kept.replace_attachments(asked.id, files[:1])
    assert kept.path(session.id)[0].attachments == files[:1]


def test_attached_files_are_sealed_in_the_database_and_in_their_rows(
    kept: Conversations, session: Session, database: Database
) -> None:
    files = (Attachment("a.txt", "the first canary"), Attachment("b.txt", "the other canary"))
    asked = kept.append(session.id, None, "user", "read", attachments=files)
    rows = database.read(lambda c: c.execute("SELECT n, name, text FROM attachments ORDER BY n").fetchall())
    assert [row[1] for row in rows] == ["a.txt", "b.txt"]
    assert all(isinstance(row[2], bytes) and b"canary" not in row[2] for row in rows)
    # Whoever could write into the database still couldn't give a file another's text.
    database.write(lambda c: c.execute("UPDATE attachments SET text = ? WHERE n = ?", (rows[1][2], rows[0][0])))
    with pytest.raises(DatabaseDamaged, match="moved there from somewhere else"):
        kept.path(session.id)
    database.write(lambda c: c.execute("UPDATE attachments SET text = ? WHERE n = ?", (rows[0][2], rows[0][0])))
    assert kept.path(session.id)[0].attachments == files
    kept.replace_attachments(asked.id, files[1:])
    kept.append(session.id, asked.id, "user", "and this", attachments=files)
    assert [message.attachments for message in kept.path(session.id)] == [files[1:], files]


def test_a_finished_reply_is_not_changed_by_a_late_checkpoint(kept: Conversations, session: Session) -> None:
    reply = kept.append(session.id, None, "assistant", "", status="streaming")
    kept.finish(reply.id, "the whole", "cancelled", None)
    kept.checkpoint(reply.id, "half of")
    assert [(message.text, message.status) for message in kept.tree(session.id)] == [("the whole", "cancelled")]


def test_a_reply_cut_off_by_a_kill_is_kept_and_marked(vault: Vault, home: Home) -> None:
    session = vault.conversations.start("Cut off", "")
    other = vault.conversations.start("Elsewhere", "")
    vault.conversations.append(other.id, None, "assistant", "still going", status="streaming")
    with start_function(stream, home.data, session.id) as writer:
        assert writer.stdout is not None
        for _ in range(3):
            assert writer.stdout.readline()
        writer.kill()
    assert vault.conversations.mark_interrupted(session.id) == 1
    assert vault.conversations.mark_interrupted(session.id) == 0
    (reply,) = vault.conversations.path(session.id)
    assert reply.status == "interrupted"
    assert reply.text.startswith("word word word")
    (untouched,) = vault.conversations.path(other.id)
    assert untouched.status == "streaming"


def stream(data: str, session_id: str) -> None:
    from tests.fixtures.models import PASSPHRASE

    with Vault.open_with_passphrase(Home.locate({"CLAW_HOME": data}), PASSPHRASE) as vault:
        session = vault.conversations.find(session_id)
        reply = vault.conversations.append(session.id, None, "assistant", "", status="streaming")
        text = ""
        while True:
            text += "word "
            vault.conversations.checkpoint(reply.id, text)
            print(len(text), flush=True)


def test_messages_belong_to_a_session_and_a_parent_that_exist(kept: Conversations, session: Session) -> None:
    with pytest.raises(VaultError, match="FOREIGN KEY"):
        kept.append(type(session.id)("nowhere"), None, "user", "hello")
    with pytest.raises(VaultError, match="FOREIGN KEY"):
        kept.append(session.id, MessageId("nowhere"), "user", "hello")
    assert kept.tree(session.id) == []
    assert kept.find(session.id).head is None


# Sessions


def test_the_session_used_last_comes_first(kept: Conversations) -> None:
    assert kept.newest() is None
    first, second = kept.start("first", ""), kept.start("second", "")
    assert [s.id for s in kept.sessions()] == [second.id, first.id]
    while kept.append(first.id, None, "user", "again").created_ms == second.updated_ms:
        pass
    assert [s.id for s in kept.sessions()] == [first.id, second.id]
    newest = kept.newest()
    assert newest is not None
    assert newest.id == first.id
    assert len(kept.sessions(limit=1)) == 1


def test_a_session_is_found_by_its_id_its_beginning_or_its_title(kept: Conversations, session: Session) -> None:
    for wanted in (session.id, session.id[:3], session.id[:9], "Rainbows"):
        assert kept.find(wanted).id == session.id


@pytest.mark.parametrize(
    "wanted", ["", "ra", "rainbows", "Rainbow", "%", "_" * 10, "zz\x00", "caf\udce9", "' OR 1=1"]
)
def test_what_is_no_session_is_said_to_be_none(kept: Conversations, session: Session, wanted: str) -> None:
    with pytest.raises(NotFound, match="There is no session") as refused:
        kept.find(wanted)
    assert refused.value.exit_code == 2


def test_two_letters_of_an_id_are_too_few(kept: Conversations, session: Session) -> None:
    with pytest.raises(NotFound):
        kept.find(session.id[:2])


def test_a_title_of_two_sessions_names_neither(kept: Conversations, session: Session) -> None:
    other = kept.start("Rainbows", "")
    with pytest.raises(NotFound, match="More than one") as refused:
        kept.find("Rainbows")
    assert refused.value.hint
    kept.rename(other.id, "Clouds")
    assert kept.find("Rainbows").id == session.id
    assert kept.find("Clouds").id == other.id


def test_a_system_prompt_can_be_changed(kept: Conversations, session: Session) -> None:
    kept.set_system_prompt(session.id, "Be long.")
    assert kept.find(session.id).system_prompt == "Be long."


# Forks


def test_a_fork_copies_the_path_and_leaves_the_original(kept: Conversations, session: Session) -> None:
    asked = kept.append(session.id, None, "user", "read", attachments=[Attachment("a", "b")])
    reply = kept.append(session.id, asked.id, "assistant", "", status="streaming")
    kept.finish(reply.id, "done", "complete", GENERATION)
    turn(kept, session, reply.id, "more?", "more.")
    before = kept.tree(session.id)
    fork = kept.fork(session.id, reply.id, "A fork")
    copied = kept.path(fork.id)
    assert (fork.title, fork.system_prompt, fork.forked_from, fork.messages) == ("A fork", "Be brief.", reply.id, 2)
    assert texts(copied) == ["read", "done"]
    assert copied[0].attachments == (Attachment("a", "b"),)
    assert copied[1].generation == GENERATION
    assert not {m.id for m in copied} & {m.id for m in before}
    kept.append(fork.id, fork.head, "user", "elsewhere")
    assert kept.tree(session.id) == before
    kept.delete(session.id)
    assert texts(kept.path(fork.id)) == ["read", "done", "elsewhere"]


def test_a_fork_at_no_message_of_the_session_is_refused(kept: Conversations, session: Session) -> None:
    other = kept.start("Other", "")
    foreign = kept.append(other.id, None, "user", "theirs")
    for at in (MessageId("nowhere"), foreign.id):
        with pytest.raises(NotFound, match="no message"):
            kept.fork(session.id, at, "A fork")
    assert len(kept.sessions()) == 2


def test_an_empty_session_forks_into_an_empty_one(kept: Conversations, session: Session) -> None:
    fork = kept.fork(session.id, None, "A fork")
    assert (fork.head, fork.messages, fork.forked_from) == (None, 0, None)


# Deleting


def test_deleting_a_session_leaves_nothing_of_it_anywhere(
    kept: Conversations, session: Session, database: Database
) -> None:
    other = kept.start("Other", "")
    stays = kept.append(other.id, None, "user", "marmalade")
    asked = kept.append(session.id, None, "user", "zanzibar", attachments=[Attachment("a", "b")])
    for text in ("quokka", "axolotl"):
        reply = kept.append(session.id, asked.id, "assistant", "", status="streaming")
        kept.checkpoint(reply.id, f"{text} draft")
        kept.finish(reply.id, text, "complete", GENERATION)
    assert index_terms(database) == {"marmalade", "zanzibar", "quokka", "axolotl"}
    kept.delete(session.id)
    assert counts(database) == {"sessions": 1, "messages": 1, "attachments": 0, "generations": 0}
    assert index_terms(database) == {"marmalade"}
    assert found(kept, "zanzibar") == found(kept, "quokka") == []
    assert found(kept, "marmalade") == [stays.id]
    assert index_is_sound(database)


def test_a_conversation_longer_than_sqlites_cascades_can_be_deleted(
    kept: Conversations, session: Session, database: Database
) -> None:
    root = lengthen(kept, session, database)
    kept.discard(MessageId("m1500"))
    assert kept.find(session.id).head == "m1499"
    assert len(kept.path(session.id)) == 1500
    kept.discard(root)
    assert kept.find(session.id).head is None
    assert counts(database)["messages"] == 0
    lengthen(kept, session, database)
    kept.delete(session.id)
    assert counts(database)["messages"] == 0
    assert index_terms(database) == set()


def lengthen(kept: Conversations, session: Session, database: Database) -> MessageId:
    insert = "INSERT INTO messages VALUES (NULL, ?, ?, ?, 'user', 'word', 'complete', 1, NULL)"
    parents = [None, *(f"m{n}" for n in range(2999))]
    database.write(lambda c: [c.execute(insert, (f"m{n}", session.id, parents[n])) for n in range(3000)])
    kept.set_head(session.id, MessageId("m2999"))
    return MessageId("m0")


def test_discarding_removes_all_below_and_moves_the_head_to_the_parent(
    kept: Conversations, session: Session, database: Database
) -> None:
    first = turn(kept, session, None, "one?", "one.")
    asked = kept.append(session.id, first, "user", "zanzibar?")
    for text in ("quokka", "axolotl"):
        kept.append(session.id, asked.id, "assistant", text)
    kept.discard(asked.id)
    assert kept.find(session.id).head == first
    assert texts(kept.tree(session.id)) == ["one?", "one."]
    assert index_terms(database) == {"one"}
    assert index_is_sound(database)


def test_discarding_elsewhere_leaves_the_head_alone(kept: Conversations, session: Session) -> None:
    abandoned = turn(kept, session, None, "one?", "one.")
    head = turn(kept, session, None, "two?", "two.")
    kept.discard(abandoned)
    assert kept.find(session.id).head == head
    kept.discard(MessageId("nowhere"))
    assert texts(kept.path(session.id)) == ["two?", "two."]


def test_discarding_the_first_message_leaves_no_head(kept: Conversations, session: Session) -> None:
    kept.discard(kept.append(session.id, None, "user", "oops").id)
    assert kept.find(session.id).head is None
    assert kept.path(session.id) == []


def test_what_was_deleted_is_not_in_the_file_even_to_who_holds_the_key(vault: Vault) -> None:
    session = vault.conversations.start("Gone", "")
    vault.conversations.append(session.id, None, "user", "the canary sang " * 300)
    assert vault.integrity_errors() == []  # folds the write-ahead log in
    key = vault._master.derive("database")
    assert b"canary" in decrypted(vault.home.database, key)
    vault.conversations.delete(session.id)
    assert vault.integrity_errors() == []
    assert b"canary" not in decrypted(vault.home.database, key)


# Any text, and others at the same time


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_kept_as_it_was(kept: Conversations, session: Session, text: str) -> None:
    message = kept.append(session.id, None, "user", text, attachments=[Attachment(text, text)])
    assert kept.path(session.id, message.id)[-1] == message


def test_a_reply_that_another_process_took_for_cut_off_goes_on_being_kept(
    kept: Conversations, session: Session
) -> None:
    reply = kept.append(session.id, None, "assistant", "", status="streaming")
    kept.checkpoint(reply.id, "one")
    kept.mark_interrupted(session.id)
    kept.checkpoint(reply.id, "one two")
    assert [(message.text, message.status) for message in kept.tree(session.id)] == [("one two", "streaming")]


def test_a_reply_whose_conversation_was_deleted_says_so(kept: Conversations, session: Session) -> None:
    reply = kept.append(session.id, None, "assistant", "", status="streaming")
    kept.delete(session.id)
    kept.checkpoint(reply.id, "one")
    with pytest.raises(NotFound, match="deleted while its reply"):
        kept.finish(reply.id, "one two", "complete", None)
