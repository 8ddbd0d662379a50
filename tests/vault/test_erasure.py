"""Erasing on purpose: what goes, what it takes along, that nothing of it remains, and what is said of it."""

import re
from collections.abc import Callable

import pytest

from tests.fixtures.decrypted import everything_readable
from vault.classes import DataClass
from vault.connection import Connection
from vault.erasure import Erased, Plan, Receipt
from vault.errors import NotFound, RolledBack, VaultError
from vault.home import Home
from vault.inventory import TABLES
from vault.messages import Attachment, Generation, Message, MessageId, Session
from vault.retention import KEPT_BY
from vault.store import Vault
from vault.tombstones import Buried, attachment_id

CANARY = "zyxcanary"


def generation(name: str = "model") -> Generation:
    return Generation(name, "0" * 64, None, {"seed": 1}, "stop", 1, 0, 2, 0.1, 0.1, 0.1, 0.1, b"\x01\x00\x00\x00")


def exchange(
    vault: Vault, session: Session, after: Message | None, text: str, *files: str
) -> tuple[Message, Message]:
    """A question and its answer."""
    attachments = [Attachment(name, f"text of {name} about {text}") for name in files]
    question = vault.conversations.append(
        session.id, after.id if after else None, "user", text, attachments=attachments
    )
    answer = vault.conversations.append(session.id, question.id, "assistant", "", status="streaming")
    vault.conversations.finish(answer.id, f"you said: {text}", "complete", generation(text.replace(" ", "-")))
    return question, answer


def erase(vault: Vault, plan: Plan) -> Receipt:
    return vault.erasure.carry_out(plan)


def dump(vault: Vault) -> str:
    """Every value of every table, the full-text index's own among them, and what the sealed fields hold."""

    def read(connection: Connection) -> str:
        found: list[object] = []
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                found += [value.decode("latin-1") if isinstance(value, bytes) else value for value in row]
        for n, sealed in connection.execute("SELECT n, text FROM attachments"):
            found.append(vault.database.fields.open("attachments", str(n), "text", sealed).reveal().decode())
        return "\n".join(map(str, found))

    return vault.database.read(read)


def readable(vault: Vault) -> bytes:
    """What the files hold for whoever has the key."""
    return everything_readable(vault.home.database, vault._master.derive("database"))


def titles(vault: Vault) -> list[str]:
    return sorted(session.title for session in vault.conversations.sessions())


# Nothing remains


def test_a_word_of_an_erased_conversation_is_in_no_table_no_index_and_no_page(vault: Vault) -> None:
    session = vault.conversations.start(f"about {CANARY}", f"system {CANARY}")
    _, answer = exchange(vault, session, None, f"what of {CANARY}?", f"{CANARY}.txt")
    exchange(vault, session, answer, f"and {CANARY} again")
    other = vault.conversations.start("another", "")
    exchange(vault, other, None, "something else", "else.txt")
    assert dump(vault).count(CANARY) > 10
    assert readable(vault).count(CANARY.encode()) > 10
    receipt = erase(vault, vault.erasure.of_sessions([vault.conversations.find(session.id)]))
    assert receipt.erased == Erased(sessions=1, messages=4, files=1)
    assert receipt.gone
    assert CANARY not in dump(vault)
    assert CANARY.encode() not in readable(vault)
    assert b"something else" in readable(vault)
    assert titles(vault) == ["another"]
    assert [hit.session_id for hit in vault.conversations.search("something")] == [other.id] * 2


@pytest.mark.parametrize("more", [0, 2, 20, 21, 22, 23])
def test_no_word_stays_behind_between_the_pages_of_a_large_index_or_in_pages_that_were_merged(
    vault: Vault, more: int
) -> None:
    # FTS5 keeps the words at which its pages begin, also when they are gone and the pages are not. Where rows fill
    # pages by other lengths, others are merged.
    kept, gone = vault.conversations.start("kept", ""), vault.conversations.start("gone", "")

    def fill(connection: Connection) -> None:
        for number in range(2000):
            words = [f"{number:05}{CANARY}{end}" for end in range(6)]
            for session, text in ((gone, " ".join(words)), (kept, f"{number:05}{'k' * more}")):
                connection.execute(
                    "INSERT INTO messages (id, session_id, role, text, status, created_ms) "
                    "VALUES (?, ?, 'user', ?, 'complete', 1)",
                    (f"{session.id}{number}", session.id, text),
                )

    def separators(connection: Connection) -> str:
        return " ".join(str(row[0]) for row in connection.execute("SELECT term FROM messages_text_idx"))

    vault.database.write(fill)
    assert CANARY in vault.database.read(separators)
    erase(vault, vault.erasure.of_sessions([gone]))
    assert CANARY not in dump(vault)
    assert CANARY.encode() not in readable(vault)
    assert len(vault.conversations.search("0", limit=3000)) == 2000


@pytest.mark.parametrize("share", [0.9, 0.01])
def test_the_index_is_right_whether_much_or_little_went(vault: Vault, share: float) -> None:
    kept, gone = vault.conversations.start("kept", ""), vault.conversations.start("gone", "")

    def fill(connection: Connection) -> None:
        for number in range(500):
            session, word = (gone, CANARY) if number < 500 * share else (kept, "something")
            connection.execute(
                "INSERT INTO messages (id, session_id, role, text, status, created_ms) "
                "VALUES (?, ?, 'user', ?, 'complete', 1)",
                (f"m{number}", session.id, f"{word} said {number}"),
            )

    vault.database.write(fill)
    erase(vault, vault.erasure.of_sessions([gone]))
    assert CANARY not in dump(vault)
    assert CANARY.encode() not in readable(vault)
    assert len(vault.conversations.search("something", limit=1000)) == 500 - int(500 * share)
    assert vault.conversations.search(CANARY) == []
    config = vault.database.read(
        lambda c: c.execute("SELECT v FROM messages_text_config WHERE k = 'secure-delete'").fetchone()
    )
    assert config == (1,)
    vault.database.alone(
        lambda c: c.execute(
            "INSERT INTO messages_text (messages_text, rank) VALUES ('integrity-check', 1)"
        ).fetchall()
    )


@pytest.mark.parametrize("more", [15, 30])
def test_no_unused_part_of_a_page_keeps_a_copy(vault: Vault, more: int) -> None:
    # With rows of these lengths, merging pages leaves copies of titles in them, where no query finds any.
    def fill(connection: Connection) -> None:
        for number in range(900):
            words = CANARY * 3 if number % 3 else "k" * more
            connection.execute(
                "INSERT INTO sessions (id, title, system_prompt, created_ms, updated_ms) VALUES (?, ?, ?, 1, 1)",
                (f"{'gone' if number % 3 else 'kept'}{number}", words, words),
            )

    vault.database.write(fill)
    gone = [session for session in vault.conversations.sessions() if session.id.startswith("gone")]
    receipt = erase(vault, vault.erasure.of_sessions(gone))
    assert receipt.gone
    assert CANARY not in dump(vault)
    assert CANARY.encode() not in readable(vault)
    assert len(vault.conversations.sessions()) == 300
    assert vault.database.integrity_errors() == []


def test_an_erasure_that_fails_halfway_leaves_everything(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    session = vault.conversations.start("kept", "")
    exchange(vault, session, None, "words", "file.txt")
    before = dump(vault)

    def fail(*_arguments: object) -> None:
        raise VaultError("the receipt could not be written")

    monkeypatch.setattr(vault.log, "record", fail)
    with pytest.raises(VaultError, match="receipt"):
        erase(vault, vault.erasure.of_sessions([session]))
    assert dump(vault) == before


def test_a_vault_with_an_alarm_erases_nothing(home: Home, vault: Vault) -> None:
    from tests.fixtures.models import PASSPHRASE

    session = vault.conversations.start("kept", "")
    vault.close()
    home.database.with_suffix(".anchor").unlink()
    with Vault.open_with_passphrase(home, PASSPHRASE) as alarmed, pytest.raises(RolledBack):
        erase(alarmed, alarmed.erasure.of_sessions([session]))


def test_while_another_program_reads_the_receipt_says_that_old_pages_are_still_there(vault: Vault) -> None:
    from vault.connection import connect

    session = vault.conversations.start("gone", "")
    exchange(vault, session, None, CANARY)
    vault.database.read(lambda c: c.execute("PRAGMA busy_timeout=50").fetchall())
    reader = connect(vault.home.database, vault._master.derive("database"))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchone()
    receipt = erase(vault, vault.erasure.of_sessions([session]))
    assert not receipt.gone
    assert CANARY not in dump(vault)
    reader.close()
    assert vault.database.fold()
    assert CANARY.encode() not in readable(vault)


# One message


def test_a_message_takes_what_was_said_after_it_and_nothing_before(vault: Vault) -> None:
    session = vault.conversations.start("talk", "")
    first, answer = exchange(vault, session, None, "first")
    second, _ = exchange(vault, session, answer, "second", "file.txt")
    plan = vault.erasure.of_message(second.id)
    assert (plan.sessions, plan.message_count, plan.file_count) == ((), 2, 1)
    assert erase(vault, plan).erased == Erased(messages=2, files=1)
    assert [message.id for message in vault.conversations.path(session.id)] == [first.id, answer.id]
    assert vault.conversations.find(session.id).head == answer.id


def test_the_only_beginning_of_a_conversation_takes_the_conversation(vault: Vault) -> None:
    session = vault.conversations.start("first words", "")
    first, _ = exchange(vault, session, None, "first words")
    plan = vault.erasure.of_message(first.id)
    assert [gone.id for gone in plan.sessions] == [session.id]
    assert erase(vault, plan).erased == Erased(sessions=1, messages=2)
    assert titles(vault) == []


@pytest.mark.parametrize("title", [f"{CANARY} words", "a title of the person's own"])
def test_an_erased_first_message_leaves_no_words_in_the_title(vault: Vault, title: str) -> None:
    session = vault.conversations.start(title, "")
    first, _ = exchange(vault, session, None, f"{CANARY} words")
    vault.conversations.append(session.id, None, "user", "edited words")
    erase(vault, vault.erasure.of_message(first.id))
    assert titles(vault) == ["edited words" if CANARY in title else title]
    assert CANARY not in dump(vault)


def test_an_erased_first_message_leaves_no_words_in_the_title_of_a_fork_of_a_fork(vault: Vault) -> None:
    words = f"{CANARY} (fork) words (fork)"
    session = vault.conversations.start(words, "")
    exchange(vault, session, None, words)
    for title in (f"{words} (fork)", f"{words} (fork) (fork)"):
        session = vault.conversations.fork(session.id, None, title)
    vault.conversations.append(session.id, None, "user", "edited words")
    erase(vault, vault.erasure.of_message(vault.conversations.tree(session.id)[0].id))
    assert vault.conversations.find(session.id).title == "edited words"


def test_what_was_answered_in_the_meantime_goes_too(vault: Vault) -> None:
    session = vault.conversations.start("talk", "")
    _, answer = exchange(vault, session, None, "first")
    second, reply = exchange(vault, session, answer, "second")
    plan = vault.erasure.of_message(second.id)
    exchange(vault, session, reply, "third")
    assert erase(vault, plan).erased.messages == 4


def test_a_plan_that_was_carried_out_already_takes_nothing_more(vault: Vault) -> None:
    session = vault.conversations.start("talk", "")
    _, answer = exchange(vault, session, None, "first")
    second, _ = exchange(vault, session, answer, "second")
    for plan in (vault.erasure.of_message(second.id), vault.erasure.of_sessions([session])):
        erase(vault, plan)
        assert erase(vault, plan).erased == Erased()


def test_a_message_that_isnt_there_is_named(vault: Vault) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        vault.erasure.of_message("nowhere")


# One source


def imported(vault: Vault, source: str) -> Session:
    session = vault.conversations.start(f"from {source}", "")
    vault.database.write(
        lambda c: c.execute("UPDATE sessions SET source = ? WHERE id = ?", (source, session.id)).rowcount
    )
    return session


def test_a_source_takes_what_was_imported_from_it_and_files_of_that_name(vault: Vault) -> None:
    for source in ("import:notes.json", "notes.json", "import:other.json", ""):
        exchange(vault, imported(vault, source), None, "words")
    own = vault.conversations.start("own", "")
    question, _ = exchange(vault, own, None, "read this", "notes.json", "rest.txt")
    plan = vault.erasure.of_source("notes.json")
    assert (len(plan.sessions), plan.message_count, plan.file_count) == (2, 4, 1)
    assert erase(vault, plan).erased == Erased(sessions=2, messages=4, files=1)
    assert titles(vault) == ["from ", "from import:other.json", "own"]
    message = vault.conversations.path(own.id)[0]
    assert message.text == question.text
    assert [file.name for file in message.attachments] == ["rest.txt"]


def added(vault: Vault, source: str, session: Session, after: Message | None, text: str) -> Message:
    """A message that an import added to a conversation."""
    message = vault.conversations.append(session.id, after.id if after else None, "user", text)
    vault.database.write(
        lambda c: c.execute("UPDATE messages SET source = ? WHERE id = ?", (source, message.id)).rowcount
    )
    return message


def test_a_source_takes_what_it_added_to_other_conversations_with_what_was_said_after_it(vault: Vault) -> None:
    talk = vault.conversations.start("talk", "")
    _, answer = exchange(vault, talk, None, "said here")
    first = added(vault, "import:late.json", talk, answer, f"{CANARY} one")
    second = added(vault, "import:late.json", talk, first, f"{CANARY} two")
    exchange(vault, talk, second, f"what of {CANARY}?", "file.txt", "late.json")
    beside = added(vault, "import:late.json", talk, answer, f"{CANARY} beside")
    added(vault, "import:other.json", talk, answer, "from another")
    plan = vault.erasure.of_source("late.json")
    assert (plan.sessions, plan.roots, plan.message_count, plan.file_count) == ((), (first.id, beside.id), 5, 2)
    assert erase(vault, plan).erased == Erased(messages=5, files=2)
    assert CANARY not in dump(vault)
    assert [message.text for message in vault.conversations.tree(talk.id)] == [
        "said here",
        "you said: said here",
        "from another",
    ]


def test_a_conversation_of_nothing_but_what_a_source_added_goes_as_a_whole(vault: Vault) -> None:
    talk, other = vault.conversations.start(f"{CANARY} one", ""), vault.conversations.start("other", "")
    exchange(vault, talk, added(vault, "import:late.json", talk, None, f"{CANARY} one"), "and then?")
    exchange(vault, other, None, "said here")
    plan = vault.erasure.of_source("late.json")
    assert ([session.id for session in plan.sessions], plan.messages) == ([talk.id], ())
    erase(vault, plan)
    assert titles(vault) == ["other"]
    assert CANARY not in dump(vault)


def test_the_first_messages_that_a_source_added_leave_no_words_in_the_title(vault: Vault) -> None:
    talk = vault.conversations.start(f"{CANARY} one", "")
    added(vault, "import:late.json", talk, None, f"{CANARY} one")
    added(vault, "import:late.json", talk, None, f"{CANARY} two")
    exchange(vault, talk, None, "said here")
    erase(vault, vault.erasure.of_source("late.json"))
    assert titles(vault) == ["said here"]
    assert CANARY not in dump(vault)


def test_a_fork_of_what_was_imported_goes_with_its_source(vault: Vault) -> None:
    talk = vault.conversations.start("talk", "")
    _, answer = exchange(vault, talk, None, "said here")
    vault.conversations.fork(talk.id, added(vault, "import:late.json", talk, answer, CANARY).id, "fork")
    assert erase(vault, vault.erasure.of_source("late.json")).erased == Erased(messages=2)
    assert titles(vault) == ["fork", "talk"]
    assert CANARY not in dump(vault)


def test_a_source_takes_what_a_tool_brought_in_from_a_file_of_that_name(vault: Vault) -> None:
    session = vault.conversations.start("own", "")
    names = "diagnosis.txt", "tool: read_file 1 from diagnosis.txt", "tool: read_file 2 from old diagnosis.txt"
    others = "tool: fetch_page 3", "tool: read_file 4 from a from diagnosis.txt", "notes from diagnosis.txt"
    exchange(vault, session, None, "words", *names, *others)
    erase(vault, vault.erasure.of_source("diagnosis.txt"))
    kept = vault.conversations.path(session.id)[0].attachments
    assert [file.name for file in kept] == [names[2], *others]


@pytest.mark.parametrize("name", ["nowhere.txt", ""])
def test_a_source_that_nothing_came_from_is_named(vault: Vault, name: str) -> None:
    exchange(vault, vault.conversations.start("own", ""), None, "words", "file.txt")
    with pytest.raises(NotFound):
        vault.erasure.of_source(name)


# What is said of it


def test_forks_that_hold_copies_are_named_before_anything_goes(vault: Vault) -> None:
    session = vault.conversations.start("origin", "")
    first, answer = exchange(vault, session, None, "first")
    fork = vault.conversations.fork(session.id, answer.id, "fork")
    again = vault.conversations.fork(fork.id, None, "fork of the fork")
    for plan in (vault.erasure.of_message(first.id), vault.erasure.of_sessions([session])):
        assert {copy.id for copy in plan.copies} == {fork.id, again.id}
    assert [copy.id for copy in vault.erasure.of_sessions([session, fork]).copies] == [again.id]


def test_the_receipt_stands_in_the_log_in_figures(vault: Vault) -> None:
    session = vault.conversations.start(CANARY, "")
    exchange(vault, session, None, CANARY, "file.txt")
    receipt = erase(vault, vault.erasure.of_sessions([session]))
    assert receipt.entry is not None
    entry = vault.log.entry(receipt.entry).entry
    assert entry is not None
    assert entry.description == "erased 1 conversation, 2 messages, 1 attached file"
    assert entry.data_class is DataClass.HIGHLY_SENSITIVE
    assert vault.log.verify().head.size == 1


def test_a_log_that_takes_no_receipt_keeps_nobody_from_erasing(vault: Vault) -> None:
    session = vault.conversations.start("gone", "")
    erase(vault, vault.erasure.of_sessions([vault.conversations.start("before", "")]))
    vault.database.write(lambda c: c.execute("UPDATE log_state SET size = 7").rowcount)
    receipt = erase(vault, vault.erasure.of_sessions([session]))
    assert receipt.entry is None
    assert titles(vault) == []


# Tombstones


def test_what_was_erased_has_a_tombstone_that_tells_nothing(vault: Vault) -> None:
    session = vault.conversations.start("talk", "")
    question, answer = exchange(vault, session, None, "first", "diagnosis.txt")
    second, _ = exchange(vault, session, answer, "second")
    for plan in (vault.erasure.of_message(second.id), vault.erasure.of_source("diagnosis.txt")):
        erase(vault, plan)
    erase(vault, vault.erasure.of_sessions([session]))
    stones = vault.database.read(lambda c: c.execute("SELECT kind, id FROM tombstones").fetchall())
    assert set(stones) == {
        (Buried.SESSION, session.id),
        (Buried.MESSAGE, second.id),
        (Buried.ATTACHMENT, attachment_id(question.id, "diagnosis.txt")),
    }
    assert "diagnosis" not in str(stones)


# Every table has a way


def foreign_keys(connection: Connection, table: str) -> list[tuple[str, str]]:
    rows = connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()
    return [(row[2], row[6]) for row in rows]


ROOTS = {"sessions", "messages", "attachments", "skill_examples", "skill_adapters"}
"""Tables from which `vault.erasure` deletes by itself."""
BY_THEIR_OWN_COMMAND = {
    "skills",
    "permissions",
    "notes",
    "federations",
    "consents",
    "participations",
    "federation_releases",
}
"""What `claw skill rm`, `permission set … default`, `memory forget` and `fl leave --forget` remove."""
WITH_THE_VAULT = {"secrets", "tombstones"}
"""What goes with the whole vault alone: keys of this device, and random ids of what is gone."""


@pytest.mark.parametrize("table", TABLES)
def test_every_table_with_personal_data_can_be_erased(vault: Vault, table: str) -> None:
    definition = TABLES[table]
    personal = set(definition.columns.values()) != {DataClass.GENERAL}
    if not personal or table in ROOTS | BY_THEIR_OWN_COMMAND | WITH_THE_VAULT:
        return
    if parent := definition.erased_with:
        assert parent in TABLES
        cascades = (parent, "CASCADE") in vault.database.read(lambda c: foreign_keys(c, table))
        assert cascades or has_trigger(vault, parent, table)
    else:
        assert definition.kind in KEPT_BY, f"{table} is erased by nothing, and its time never ends"


def has_trigger(vault: Vault, parent: str, table: str) -> bool:
    """Whether deleting a row of one table takes its entries out of another."""
    rows = vault.database.read(
        lambda c: c.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (parent,)
        ).fetchall()
    )
    return any(re.search(rf"AFTER DELETE ON {parent} BEGIN\s+INSERT INTO {table} ", sql) for (sql,) in rows)


@pytest.mark.parametrize("erases", ["session", "item", "source"])
def test_no_row_is_left_without_what_it_belonged_to(vault: Vault, erases: str) -> None:
    session = vault.conversations.start("talk", "")
    first, answer = exchange(vault, session, None, "first", "file.txt")
    exchange(vault, session, answer, "second")
    plans: dict[str, Callable[[], Plan]] = {
        "session": lambda: vault.erasure.of_sessions([session]),
        "item": lambda: vault.erasure.of_message(MessageId(first.id)),
        "source": lambda: vault.erasure.of_source("file.txt"),
    }
    erase(vault, plans[erases]())
    assert vault.database.read(lambda c: c.execute("PRAGMA foreign_key_check").fetchall()) == []
    vault.database.alone(
        lambda c: (
            c.execute("INSERT INTO messages_text (messages_text, rank) VALUES ('integrity-check', 1)").rowcount
        )
    )
