"""Erasing a message, a conversation or all that came from one source, with everything that was derived from it.

Rows and index entries are overwritten in the file (`secure_delete`), and the write-ahead log, which holds older
versions of pages, is emptied. What is left says only that something was erased: a tombstone with its random id, and
a receipt in the transparency log, in figures. Backups made earlier still hold it, encrypted; restoring one keeps
to the tombstones. Destroying the whole vault is `vault.shred`.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from vault.adapter_store import AdapterRecord, adapters_learned_from, remove_adapters
from vault.classes import DataClass
from vault.connection import Connection
from vault.database import Database
from vault.deletion import below, delete_messages, delete_session
from vault.errors import DiskFull, LogDamaged, NotFound
from vault.example_store import remove_examples
from vault.messages import BROUGHT_FROM, TOOL_RESULT, MessageId, Session
from vault.sanitize import sanitize_line
from vault.tombstones import Buried, attachment_id, bury

if TYPE_CHECKING:
    from vault.log.transparency import TransparencyLog

__all__ = ["AttachedFile", "Erased", "Erasure", "Plan", "Receipt", "erase", "find_examples", "find_sessions"]

_SESSION = "SELECT id, title, system_prompt, created_ms, updated_ms FROM sessions"
_FORK_SUFFIX = " (fork)"
_SECURE_DELETE = "INSERT INTO messages_text (messages_text, rank) VALUES ('secure-delete', {})"
_REBUILD_FACTOR = 32
"""Indexing a text takes about a fiftieth of the time of taking it out of the index without a trace."""


class AttachedFile(NamedTuple):
    """One attachment."""

    n: int
    message_id: str
    name: str


class Plan(msgspec.Struct, frozen=True):
    """What an erasure would take, for the person to see before it is done.

    Attributes:
        sessions: Conversations that go as a whole.
        messages: Messages that go from conversations that stay.
        roots: Those of them that the others were said after.
        files: Attachments that go from messages that stay.
        examples: Training examples that go, by their ids.
        adapters: Trained adapters that go: they learned from what came from a source.
        source: All that came from here goes.
        message_count: Of all messages that go.
        file_count: Of all attachments that go.
        copies: Conversations that were forked from what goes: they hold copies of it, and stay.
    """

    sessions: tuple[Session, ...] = ()
    messages: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    files: tuple[AttachedFile, ...] = ()
    examples: tuple[str, ...] = ()
    adapters: tuple[AdapterRecord, ...] = ()
    source: str = ""
    message_count: int = 0
    file_count: int = 0
    copies: tuple[Session, ...] = ()


class Erased(msgspec.Struct, frozen=True):
    """How much went."""

    sessions: int = 0
    messages: int = 0
    files: int = 0
    examples: int = 0
    adapters: int = 0

    def __add__(self, other: "Erased") -> "Erased":
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Erased(*(ours + theirs for ours, theirs in pairs))

    def __str__(self) -> str:
        names = "conversation", "message", "attached file", "training example", "trained adapter"
        kinds = zip(names, msgspec.structs.astuple(self), strict=True)
        parts = [f"{count:,} {name}{'s' * (count != 1)}" for name, count in kinds if count]
        return ", ".join(parts) or "nothing"


class Receipt(msgspec.Struct, frozen=True):
    """What an erasure did.

    Attributes:
        erased: How much went.
        entry: The receipt's number in the transparency log; `None` where that log is damaged and takes none.
        gone: Whether nothing of it is left in the files.
        left: If not, where encrypted copies of it lie still, and until when.
    """

    erased: Erased
    entry: int | None
    gone: bool
    left: str = ""


class Erasure:
    """Plans and carries out erasures in one vault.

    Args:
        database: Its database.
        log: Its transparency log.
        make_room: Gives a nearly full disk what was set aside for this; whether there was need, and anything.
    """

    def __init__(
        self, database: Database, log: "Callable[[], TransparencyLog]", make_room: Callable[[], bool]
    ) -> None:
        self._database = database
        self._log = log
        self._make_room = make_room

    def of_sessions(self, sessions: list[Session]) -> Plan:
        """Erase conversations with all that belongs to them."""
        return self._database.read(lambda c: _with_figures(c, Plan(sessions=tuple(sessions))))

    def of_message(self, message_id: str) -> Plan:
        """Erase a message and all that was said after it; its conversation too, if nothing remains of it.

        Raises:
            NotFound: there is no such message.
        """
        return self._database.read(lambda c: _of_message(c, message_id))

    def of_source(self, name: str) -> Plan:
        """Erase all that was imported from a source, and files and examples of this name.

        Files are those that were attached, and what a tool brought in from them.

        That is conversations, and in others the messages that came from there, with what was said after them; and
        training examples that came from there, with the adapters that learned from them, gone as they may be.

        Raises:
            NotFound: nothing came from there.
        """
        return self._database.read(lambda c: _of_source(c, name))

    def carry_out(self, plan: Plan) -> Receipt:
        """Erase.

        Raises:
            RolledBack: the vault isn't the newest; nothing was erased.
            DiskFull: there is no room to note it; nothing was erased.
        """

        def work(connection: Connection) -> tuple[Erased, int | None]:
            erased = erase(connection, plan, _now_ms())
            return erased, self._receipt(connection, erased)

        # What goes is overwritten with zeros, in the write-ahead log first: that takes as much room as it had.
        if self._make_room():
            with contextlib.suppress(DiskFull):
                self._database.fold()
        erased, entry = self._database.write(work)
        left = self._database.clear_away()
        return Receipt(erased, entry, not left, left)

    def _receipt(self, connection: Connection, erased: Erased) -> int | None:
        from vault.log.entries import Action, Entry

        sensitive = erased.files or erased.examples or erased.adapters
        entry = Entry(
            action=Action.ERASE,
            purpose="the person's wish",
            data_class=DataClass.HIGHLY_SENSITIVE if sensitive else DataClass.MEDIUM,
            description=f"erased {erased}",
        )
        try:
            return self._log().record(connection, entry)
        except LogDamaged:  # raised before anything is written; a person's data still go when they say so
            return None


def erase(connection: Connection, plan: Plan, now_ms: int) -> Erased:
    """Remove what a plan names, leave tombstones, and clean the index.

    Args:
        connection: In a transaction that writes.
        plan: What goes. What is gone already is passed over.
        now_ms: For the tombstones.
    """
    before = _count(connection)
    rebuilding = _is_much(connection, plan)
    if rebuilding:
        connection.execute(_SECURE_DELETE.format(0))
    for session in plan.sessions:
        delete_session(connection, session.id)
        bury(connection, Buried.SESSION, session.id, now_ms)
    for root in plan.roots:
        place = connection.execute(
            "SELECT session_id, parent_id, text FROM messages WHERE id = ?", (root,)
        ).fetchone()
        if place:
            # Anew: somebody may have answered since.
            delete_messages(connection, place[:2], below(connection, root))
            _retitle(connection, *place)
        bury(connection, Buried.MESSAGE, root, now_ms)
    for file in plan.files:
        connection.execute("DELETE FROM attachments WHERE n = ? AND message_id = ?", (file.n, file.message_id))
        bury(connection, Buried.ATTACHMENT, attachment_id(file.message_id, file.name), now_ms)
    adapters = {adapter.id for adapter in plan.adapters}
    if plan.source:  # anew: one may have been trained since
        adapters |= {adapter.id for adapter in adapters_learned_from(connection, plan.examples, plan.source)}
    removed = remove_adapters(connection, adapters)
    examples = remove_examples(connection, plan.examples, now_ms)
    after = _count(connection)
    if after.messages < before.messages and (rebuilding or _separators_tell(connection)):
        connection.execute("INSERT INTO messages_text (messages_text) VALUES ('rebuild')")
    if rebuilding:
        connection.execute(_SECURE_DELETE.format(1))
    return Erased(
        before.sessions - after.sessions,
        before.messages - after.messages,
        before.files - after.files,
        examples,
        removed,
    )


def _of_message(connection: Connection, message_id: str) -> Plan:
    row = connection.execute("SELECT session_id FROM messages WHERE id = ?", (message_id,)).fetchone()
    if row is None:
        raise NotFound(
            f"There is no message {message_id!r}.", hint="`claw chat show SESSION --json` lists their ids."
        )
    gone = tuple(below(connection, message_id))
    others = connection.execute("SELECT count(*) FROM messages WHERE session_id = ?", row).fetchone()
    if others and others[0] == len(gone):
        return _with_figures(connection, Plan(sessions=find_sessions(connection, "id = ?", row[0])))
    return _with_figures(connection, Plan(messages=gone, roots=(message_id,)))


def _of_source(connection: Connection, name: str) -> Plan:
    plan = _imported_from(connection, name) if name else Plan()
    files = connection.execute(
        """
        SELECT a.n, a.message_id, a.name, m.session_id
        FROM attachments a JOIN messages m ON m.id = a.message_id
        WHERE a.name = ?1 OR (?1 <> '' AND instr(a.name, ?2) = 1
            AND substr(a.name, nullif(instr(a.name, ?3), 0) + length(?3)) = ?1)
        """,
        (name, TOOL_RESULT, BROUGHT_FROM),
    ).fetchall()
    sessions, messages = {session.id for session in plan.sessions}, set(plan.messages)
    staying = [AttachedFile(*row[:3]) for row in files if row[3] not in sessions and row[1] not in messages]
    examples = find_examples(connection, "source IN (?1, 'import:' || ?1)", name) if name else ()
    adapters = adapters_learned_from(connection, examples, name)
    plan = msgspec.structs.replace(plan, files=tuple(staying), examples=examples, adapters=adapters, source=name)
    if not (plan.sessions or plan.messages or plan.files or plan.examples or plan.adapters):
        raise NotFound(
            f"Nothing came from {name!r}.",
            hint="A source is a file that was attached, read or imported, by the last part of its path.",
        )
    return _with_figures(connection, plan)


def _imported_from(connection: Connection, name: str) -> Plan:
    """Conversations that came from a file, those that nothing else is left of, and what it added to others."""
    reached = connection.execute(
        """
        WITH RECURSIVE gone (mid) AS (
            SELECT m.id FROM messages m JOIN sessions s ON s.id = m.session_id
            WHERE m.source IN (?1, 'import:' || ?1) AND s.source NOT IN (?1, 'import:' || ?1)
            UNION
            SELECT m.id FROM gone JOIN messages m ON m.parent_id = gone.mid
        )
        SELECT id, session_id, parent_id FROM messages WHERE id IN gone ORDER BY n
        """,
        (name,),
    ).fetchall()
    going = Counter(row[1] for row in reached)
    sizes = connection.execute(
        "SELECT session_id, count(*) FROM messages WHERE session_id IN (SELECT value FROM json_each(?)) GROUP BY 1",
        (_json(list(going)),),
    )
    emptied = {session_id for session_id, count in sizes.fetchall() if going[session_id] == count}
    rows = [row for row in reached if row[1] not in emptied]
    messages = {row[0] for row in rows}
    return Plan(
        sessions=find_sessions(
            connection,
            "source IN (?1, 'import:' || ?1) OR id IN (SELECT value FROM json_each(?2))",
            name,
            _json(list(emptied)),
        ),
        messages=tuple(row[0] for row in rows),
        roots=tuple(row[0] for row in rows if row[2] not in messages),
    )


def _with_figures(connection: Connection, plan: Plan) -> Plan:
    ids = _json([session.id for session in plan.sessions])
    belong = (
        "(SELECT id FROM messages WHERE session_id IN (SELECT value FROM json_each(?1)) "
        "OR id IN (SELECT value FROM json_each(?2)))"
    )
    counts = connection.execute(
        f"SELECT (SELECT count(*) FROM {belong}), (SELECT count(*) FROM attachments WHERE message_id IN {belong})",
        (ids, _json(list(plan.messages))),
    ).fetchone()
    messages, files = counts or (0, 0)
    copies = find_sessions(
        connection,
        f"""
        id NOT IN (SELECT value FROM json_each(?1)) AND id IN (
            WITH RECURSIVE copies (copy) AS (
                SELECT id FROM sessions WHERE forked_from IN {belong}
                UNION
                SELECT s.id FROM copies
                JOIN messages m ON m.session_id = copy JOIN sessions s ON s.forked_from = m.id
            )
            SELECT copy FROM copies
        )
        """,
        ids,
        _json(list(plan.messages)),
    )
    return msgspec.structs.replace(plan, message_count=messages, file_count=files + len(plan.files), copies=copies)


def _retitle(connection: Connection, session_id: str, parent_id: MessageId | None, text: str) -> None:
    """Take the words of an erased first message out of its conversation's title."""
    row = connection.execute("SELECT title FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if parent_id is None and row and _unforked(row[0]) == _unforked(sanitize_line(text, 60)):
        first = connection.execute(
            "SELECT text FROM messages WHERE session_id = ? AND parent_id IS NULL ORDER BY n LIMIT 1", (session_id,)
        ).fetchone()
        title = sanitize_line(first[0], 60) if first else ""
        connection.execute("UPDATE sessions SET title = ? WHERE id = ?", (title or "Untitled", session_id))


def _unforked(title: str) -> str:
    """A title without what forks append to it: each once more, also a fork of a fork."""
    while title.endswith(_FORK_SUFFIX):
        title = title.removesuffix(_FORK_SUFFIX)
    return title


def _is_much(connection: Connection, plan: Plan) -> bool:
    """Whether making the full-text index anew is faster than taking all that goes out of it, word by word."""
    row = connection.execute(
        """
        SELECT total(octet_length(text)), total(octet_length(text)) FILTER (
            WHERE session_id IN (SELECT value FROM json_each(?1)) OR id IN (SELECT value FROM json_each(?2))
        )
        FROM messages
        """,
        (_json([session.id for session in plan.sessions]), _json(list(plan.messages))),
    ).fetchone()
    everything, going = row or (0, 0)
    return bool(going * _REBUILD_FACTOR > everything - going)


def _separators_tell(connection: Connection) -> bool:
    """Whether the full-text index still holds a word that no message has.

    FTS5's secure-delete takes words out of the pages of the index, but leaves what separates the pages: beginnings
    of words, each long enough to tell the first of a page from the last of the one before.
    """
    connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, messages_text, row)")
    try:
        for (separator,) in connection.execute("SELECT DISTINCT term FROM messages_text_idx").fetchall():
            beginning = bytes(separator[1:])  # the first byte says which index
            row = connection.execute(
                "SELECT term FROM temp.words WHERE term >= CAST(? AS TEXT) LIMIT 1", (beginning,)
            ).fetchone()
            if beginning and not (row and row[0].encode().startswith(beginning)):
                return True
        return False
    finally:
        connection.execute("DROP TABLE temp.words")


def find_sessions(connection: Connection, condition: str, *values: str | int) -> tuple[Session, ...]:
    """The sessions for which an SQL condition holds."""
    return tuple(Session(*row) for row in connection.execute(f"{_SESSION} WHERE {condition}", values))


def find_examples(connection: Connection, condition: str, *values: str | int) -> tuple[str, ...]:
    """The ids of the training examples for which an SQL condition holds."""
    rows = connection.execute(f"SELECT id FROM skill_examples WHERE {condition} ORDER BY rowid", values)
    return tuple(row[0] for row in rows)


def _count(connection: Connection) -> Erased:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM messages), "
        "(SELECT count(*) FROM attachments)"
    ).fetchone()
    return Erased(*row) if row else Erased()


def _json(ids: list[str]) -> str:
    return msgspec.json.encode(ids).decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
