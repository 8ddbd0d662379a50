"""Sessions and messages: trees of what was said, with where each reply came from.

A session has one root to leaf path in use, ending at its head. Editing or regenerating adds a sibling; nothing is
overwritten, and deleting removes rows and their index entries for good (`secure_delete`).
"""

import secrets
import time
from collections.abc import Sequence
from typing import cast

import msgspec

from vault.classes import HighlySensitive
from vault.connection import Cursor
from vault.database import Connection, Database, Row
from vault.deletion import below, delete_messages, delete_session
from vault.errors import NotFound
from vault.fields import FieldCipher
from vault.messages import Attachment, Generation, Hit, Message, MessageId, Role, Session, SessionId, Status

__all__ = ["Conversations"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: nothing that reads like something else

_SESSION = """
    SELECT s.id, s.title, s.system_prompt, s.created_ms, s.updated_ms, s.head, s.forked_from,
           s.archived_ms, s.source, (SELECT count(*) FROM messages m WHERE m.session_id = s.id)
    FROM sessions s
"""
_GENERATION_COLUMNS = (
    "model_name, model_sha256, adapter_sha256, sampling, finish, prompt_tokens, cached_tokens, "
    "completion_tokens, load_s, prefill_s, decode_s, first_token_s, tokens"
)
_SHELVES = {False: "s.archived_ms IS NULL", True: "s.archived_ms IS NOT NULL", None: "TRUE"}
_MESSAGE_COLUMNS = "id, session_id, parent_id, role, text, status, created_ms, source"


class Conversations:
    """The sessions of one vault. Every method that changes something is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fields = database.fields

    def start(self, title: str, system_prompt: str) -> Session:
        """Begin a session without messages."""
        session_id = SessionId(_new_id(10))
        now = _now_ms()

        def insert(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO sessions (id, title, system_prompt, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?)",
                (session_id, title, system_prompt, now, now),
            )

        self._database.write(insert)
        return Session(session_id, title, system_prompt, now, now)

    def sessions(self, limit: int = 1000, *, archived: bool | None = False) -> list[Session]:
        """Sessions, the one used last first.

        Args:
            limit: How many at most.
            archived: Whether those that were archived, or those that weren't; `None` for all.
        """
        shelf = f"WHERE {_SHELVES[archived]}"
        rows = self._database.read(
            lambda c: c.execute(
                f"{_SESSION} {shelf} ORDER BY s.updated_ms DESC, s.n DESC LIMIT ?", (limit,)
            ).fetchall()
        )
        return [Session(*row) for row in rows]

    def newest(self) -> Session | None:
        """The session used last, of those that weren't archived."""
        found = self.sessions(limit=1)
        return found[0] if found else None

    def find(self, wanted: str) -> Session:
        """The session with this id, the beginning of an id that is unique, or this exact title.

        Raises:
            NotFound: none, or more than one.
        """
        wanted = _bindable(wanted)

        def query(connection: Connection) -> list[Row]:
            exact = connection.execute(f"{_SESSION} WHERE s.id = ?", (wanted,)).fetchall()
            if exact:
                return exact
            by_title = connection.execute(f"{_SESSION} WHERE s.title = ? LIMIT 2", (wanted,)).fetchall()
            if by_title or len(wanted) < 3:
                return by_title
            return connection.execute(
                f"{_SESSION} WHERE substr(s.id, 1, ?) = ? LIMIT 2", (len(wanted), wanted)
            ).fetchall()

        rows = self._database.read(query)
        if len(rows) == 1:
            return Session(*rows[0])
        if rows:
            raise NotFound(f"More than one session is called {wanted!r}.", hint="Give more of its id.")
        raise NotFound(f"There is no session {wanted!r}.", hint="`claw chat list` shows them.")

    def rename(self, session_id: SessionId, title: str) -> None:
        """Give a session another title."""
        self._database.write(
            lambda c: c.execute("UPDATE sessions SET title = ? WHERE id = ?", (title, session_id)).rowcount
        )

    def set_system_prompt(self, session_id: SessionId, system_prompt: str) -> None:
        """Give a session another system prompt, from its next turn on."""
        self._database.write(
            lambda c: (
                c.execute(
                    "UPDATE sessions SET system_prompt = ? WHERE id = ?", (system_prompt, session_id)
                ).rowcount
            )
        )

    def delete(self, session_id: SessionId) -> None:
        """Remove a session with all its messages, attachments, provenance and index entries."""
        self._database.write(lambda c: delete_session(c, session_id))

    def fork(self, session_id: SessionId, at: MessageId | None, title: str) -> Session:
        """Copy the path that ends at a message (the head, if none is named) into a session of its own.

        Raises:
            NotFound: no such session, or no such message in it.
        """
        path = self.path(session_id, at)
        if at is not None and not path:
            raise NotFound(f"There is no message {at!r} in this session.", hint="`claw chat show` shows them.")
        return self.start_with(path, title, self.find(session_id).system_prompt)

    def start_with(self, path: Sequence[Message], title: str, system_prompt: str) -> Session:
        """Begin a session with copies of messages, oldest first, each the parent of the next."""
        session_id = SessionId(_new_id(10))
        now = _now_ms()

        def copy(connection: Connection) -> None:
            origin = path[-1].id if path else None
            connection.execute(
                "INSERT INTO sessions (id, title, system_prompt, created_ms, updated_ms, forked_from) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (session_id, title, system_prompt, now, now, origin),
            )
            parent: MessageId | None = None
            for message in path:
                copied = MessageId(_new_id(16))
                own = msgspec.structs.replace(message, id=copied, session_id=session_id, parent_id=parent)
                self._insert(connection, own)
                parent = copied
            connection.execute("UPDATE sessions SET head = ? WHERE id = ?", (parent, session_id))

        self._database.write(copy)
        return self.find(session_id)

    def append(
        self,
        session_id: SessionId,
        parent_id: MessageId | None,
        role: Role,
        text: str,
        *,
        status: Status = "complete",
        attachments: Sequence[Attachment] = (),
    ) -> Message:
        """Add a message under `parent_id` and make it the session's head; an archived session is in use again."""
        message = Message(
            MessageId(_new_id(16)), session_id, parent_id, role, text, status, _now_ms(), tuple(attachments)
        )

        def insert(connection: Connection) -> None:
            self._insert(connection, message)
            connection.execute(
                "UPDATE sessions SET head = ?, updated_ms = ?, archived_ms = NULL WHERE id = ?",
                (message.id, message.created_ms, session_id),
            )

        self._database.write(insert)
        return message

    def replace_attachments(self, message_id: MessageId, attachments: Sequence[Attachment]) -> None:
        """Keep other attachments with a message, such as ones that were cut to fit."""

        def replace(connection: Connection) -> None:
            connection.execute("DELETE FROM attachments WHERE message_id = ?", (message_id,))
            _insert_attachments(connection, self._fields, message_id, attachments)

        self._database.write(replace)

    def checkpoint(self, message_id: MessageId, text: str) -> None:
        """Keep the text of a reply that is still being written; one that is finished, or gone, isn't touched."""
        # The status too: another process that opened this session may have taken the reply for cut off.
        self._database.write(
            lambda c: (
                c.execute(
                    "UPDATE messages SET text = ?, status = 'streaming' "
                    "WHERE id = ? AND status IN ('streaming', 'interrupted')",
                    (text, message_id),
                ).rowcount
            )
        )

    def finish(self, message_id: MessageId, text: str, status: Status, generation: Generation | None) -> None:
        """Complete a reply with its last text, how it ended, and its provenance.

        Raises:
            NotFound: it was deleted in the meantime.
        """

        def update(connection: Connection) -> None:
            _must_exist(
                connection.execute(
                    "UPDATE messages SET text = ?, status = ? WHERE id = ?", (text, status, message_id)
                )
            )
            if generation is not None:
                _insert_generation(connection, message_id, generation)

        self._database.write(update)

    def discard(self, message_id: MessageId) -> None:
        """Remove a message and all below it; a head among them moves to the message's parent."""

        def remove(connection: Connection) -> None:
            row = connection.execute(
                "SELECT session_id, parent_id FROM messages WHERE id = ?", (message_id,)
            ).fetchone()
            if row is not None:
                delete_messages(connection, row, below(connection, message_id))

        self._database.write(remove)

    def set_head(self, session_id: SessionId, message_id: MessageId | None) -> None:
        """Continue from another message of the tree."""
        self._database.write(
            lambda c: c.execute("UPDATE sessions SET head = ? WHERE id = ?", (message_id, session_id)).rowcount
        )

    def path(self, session_id: SessionId, at: MessageId | None = None) -> list[Message]:
        """The messages from the root to `at` (the session's head, if not given), oldest first."""

        def query(connection: Connection) -> list[Message]:
            rows = connection.execute(
                f"""
                WITH RECURSIVE up (depth, mid) AS (
                    SELECT 0, coalesce(?, (SELECT head FROM sessions WHERE id = ?))
                    UNION ALL
                    SELECT depth + 1, m.parent_id FROM up JOIN messages m ON m.id = up.mid
                    WHERE m.parent_id IS NOT NULL
                )
                SELECT {_MESSAGE_COLUMNS} FROM up JOIN messages ON messages.id = up.mid
                WHERE session_id = ? ORDER BY up.depth DESC
                """,
                (at, session_id, session_id),
            ).fetchall()
            return [_with_parts(connection, self._fields, row) for row in rows]

        return self._database.read(query)

    def siblings(self, message: Message) -> list[MessageId]:
        """The message and its alternatives, oldest first."""
        rows = self._database.read(
            lambda c: c.execute(
                "SELECT id FROM messages WHERE session_id = ? AND parent_id IS ? AND role = ? ORDER BY n",
                (message.session_id, message.parent_id, message.role),
            ).fetchall()
        )
        return [MessageId(row[0]) for row in rows]

    def tree(self, session_id: SessionId) -> list[Message]:
        """Every message of a session, in the order they were made."""

        def query(connection: Connection) -> list[Message]:
            rows = connection.execute(
                f"SELECT {_MESSAGE_COLUMNS} FROM messages WHERE session_id = ? ORDER BY n", (session_id,)
            ).fetchall()
            return [_with_parts(connection, self._fields, row) for row in rows]

        return self._database.read(query)

    def search(self, words: str, limit: int = 20, *, archived: bool | None = False) -> list[Hit]:
        """Messages that hold all the words (the last may be a beginning), best match first.

        Args:
            words: What to look for.
            limit: How many at most.
            archived: In which sessions, as in `sessions`.
        """
        terms = _bindable(words).replace("\x00", " ").split()
        if not terms:
            return []
        # Quoted, so that nothing a person types is read as FTS5 query syntax. Side by side means AND, but passes
        # over a term without a letter or digit, which a written AND would look for in vain.
        quoted = ['"' + term.replace('"', '""') + '"' for term in terms]
        query = " ".join(quoted) + "*"
        rows = self._database.read(
            lambda c: c.execute(
                f"""
                SELECT s.id, s.title, m.id, m.role, m.created_ms,
                       snippet(messages_text, 0, '', '', '…', 16)
                FROM messages_text JOIN messages m ON m.n = messages_text.rowid
                JOIN sessions s ON s.id = m.session_id
                WHERE messages_text MATCH ? AND {_SHELVES[archived]} ORDER BY messages_text.rank LIMIT ?
                """,
                (query, limit),
            ).fetchall()
        )
        return [Hit(*row) for row in rows]

    def mark_interrupted(self, session_id: SessionId) -> int:
        """Mark replies that were cut off by a crash; returns how many.

        A reply that another process is still writing is marked so too, until that process next keeps its text.
        """
        return self._database.write(
            lambda c: (
                c.execute(
                    "UPDATE messages SET status = 'interrupted' WHERE session_id = ? AND status = 'streaming'",
                    (session_id,),
                ).rowcount
            )
        )

    def _insert(self, connection: Connection, message: Message) -> None:
        connection.execute(
            f"INSERT INTO messages ({_MESSAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                message.id,
                message.session_id,
                message.parent_id,
                message.role,
                message.text,
                message.status,
                message.created_ms,
                message.source,
            ),
        )
        _insert_attachments(connection, self._fields, message.id, message.attachments)
        if message.generation is not None:
            _insert_generation(connection, message.id, message.generation)


def _must_exist(updated: Cursor) -> None:
    if not updated.rowcount:
        raise NotFound("The conversation was deleted while its reply was being written.")


def _insert_attachments(
    connection: Connection, fields: FieldCipher, message_id: MessageId, attachments: Sequence[Attachment]
) -> None:
    for attachment in attachments:
        row = connection.execute("SELECT coalesce(max(n), 0) + 1 FROM attachments").fetchone()
        n = int(row[0]) if row else 1
        sealed = fields.seal("attachments", str(n), "text", HighlySensitive(attachment.text.encode()))
        connection.execute(
            "INSERT INTO attachments (n, message_id, name, text) VALUES (?, ?, ?, ?)",
            (n, message_id, attachment.name, sealed),
        )


def _insert_generation(connection: Connection, message_id: MessageId, generation: Generation) -> None:
    values = msgspec.structs.astuple(generation)
    connection.execute(
        f"INSERT INTO generations (message_id, {_GENERATION_COLUMNS}) VALUES (?{', ?' * len(values)})",
        (message_id, *(msgspec.json.encode(v).decode() if isinstance(v, dict) else v for v in values)),
    )


def _with_parts(connection: Connection, fields: FieldCipher, row: Row) -> Message:
    *said, source = row
    message_id = row[0]
    attachments = connection.execute(
        "SELECT n, name, text FROM attachments WHERE message_id = ? ORDER BY n", (message_id,)
    ).fetchall()
    generation = connection.execute(
        f"SELECT {_GENERATION_COLUMNS} FROM generations WHERE message_id = ?", (message_id,)
    ).fetchone()
    return Message(
        *cast("tuple[MessageId, SessionId, MessageId | None, Role, str, Status, int]", said),
        attachments=tuple(
            Attachment(name, fields.open("attachments", str(n), "text", sealed).reveal().decode())
            for n, name, sealed in attachments
        ),
        generation=_generation(generation) if generation else None,
        source=source,
    )


def _generation(row: Row) -> Generation:
    sampling = msgspec.json.decode(row[3], type=dict[str, object])
    return Generation(row[0], row[1], row[2], sampling, *row[4:])


def _bindable(text: str) -> str:
    # Arguments of a command that weren't UTF-8 hold lone surrogates, which SQLite refuses.
    return text.encode("utf-8", "replace").decode("utf-8")


def _new_id(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
