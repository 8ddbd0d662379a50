"""Whole conversations, read from and added to a database inside a transaction: one at a time in memory."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from vault.classes import HighlySensitive
from vault.connection import Connection
from vault.fields import FieldCipher
from vault.messages import Attachment, Generation, Message, Session
from vault.portability.tables import Field, Rows

__all__ = ["Conversation", "ConversationRows", "Trees", "derived_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_OF_SESSION = "WHERE message_id IN (SELECT id FROM messages WHERE session_id = ?)"


class Conversation(NamedTuple):
    """A session with every message of its tree, parents first."""

    session: Session
    messages: list[Message]

    def branch(self) -> set[str]:
        """The ids of the messages from the head up: the branch in use."""
        above = {message.id: message.parent_id for message in self.messages}
        found: set[str] = set()
        at = self.session.head
        while at in above and at not in found:
            found.add(at)
            at = above[at]
        return found


class ConversationRows(NamedTuple):
    """The rows that make up a conversation."""

    sessions: list[dict[str, Field]]
    messages: list[dict[str, Field]]
    attachments: list[dict[str, Field]]
    generations: list[dict[str, Field]]


def derived_id(length: int, *parts: str) -> str:
    """An id that looks like one of ours and is always the same for the same parts."""
    number = int.from_bytes(hashlib.sha256(msgspec.json.encode(parts)).digest())
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in range(length))


class Trees:
    """The conversations of one database.

    Args:
        connection: To it, in a transaction.
        fields: Opens and seals the attached files.
    """

    def __init__(self, connection: Connection, fields: FieldCipher) -> None:
        self._connection = connection
        self._sessions = Rows(connection, "sessions", fields)
        self._messages = Rows(connection, "messages", fields)
        self._attachments = Rows(connection, "attachments", fields)
        self._generations = Rows(connection, "generations", fields)
        self._parts = (self._attachments, self._generations)

    def ids(self) -> list[str]:
        """Of every session, in the order in which they were begun or added."""
        return [str(row["id"]) for row in self._sessions.values()]

    def all(self) -> Iterator[Conversation]:
        """Every conversation, in that order."""
        for row in self._sessions.values():
            yield self._whole(row)

    def get(self, session_id: str) -> Conversation | None:
        """One of them, if it is there."""
        for row in self._sessions.values("WHERE id = ?", (session_id,)):
            return self._whole(row)
        return None

    def rows(self, session_id: str) -> ConversationRows:
        """One of them as it lies there, numbers included."""
        of_messages = [list(table.values(_OF_SESSION, (session_id,))) for table in self._parts]
        return ConversationRows(
            list(self._sessions.values("WHERE id = ?", (session_id,))),
            list(self._messages.values("WHERE session_id = ?", (session_id,))),
            *of_messages,
        )

    def add_rows(self, rows: ConversationRows) -> None:
        """Add one as it lay elsewhere; the foreign keys are checked at the transaction's end."""
        for table, values in zip((self._sessions, self._messages, *self._parts), rows, strict=True):
            for row in values:
                table.insert(row)

    def holds_message(self, message_id: str) -> bool:
        """Whether there is a message of this id in any conversation."""
        return any(self._messages.values("WHERE id = ?", (message_id,)))

    def set_head(self, session_id: str, head: str | None, updated_ms: int) -> None:
        """Go on from another message."""
        self._connection.execute(
            "UPDATE sessions SET head = ?, updated_ms = ? WHERE id = ?", (head, updated_ms, session_id)
        )

    def add(self, conversation: Conversation) -> None:
        """Add a conversation whose ids are new here."""
        row = msgspec.structs.asdict(conversation.session)
        del row["messages"]
        self._sessions.insert(row)
        self.add_messages(conversation.messages)

    def add_messages(self, messages: list[Message]) -> None:
        """Add messages to a conversation that is there, parents first."""
        for message in messages:
            row = msgspec.structs.asdict(message)
            del row["attachments"], row["generation"]
            self._messages.insert(row)
            for attachment in message.attachments:
                text = HighlySensitive(attachment.text.encode())
                self._attachments.insert({"message_id": message.id, "name": attachment.name, "text": text})
            if message.generation is not None:
                made = msgspec.structs.asdict(message.generation)
                made["sampling"] = msgspec.json.encode(message.generation.sampling).decode()
                self._generations.insert({"message_id": message.id, **made})

    def _whole(self, row: dict[str, Field]) -> Conversation:
        attachments: dict[Field, list[Attachment]] = {}
        for found in self._attachments.values(_OF_SESSION, (str(row["id"]),)):
            text = found["text"]
            assert isinstance(text, HighlySensitive)
            attachment = Attachment(str(found["name"]), text.reveal().decode())
            attachments.setdefault(found["message_id"], []).append(attachment)
        generations = {
            found.pop("message_id"): _generation(found)
            for found in self._generations.values(_OF_SESSION, (str(row["id"]),))
        }
        messages = [
            msgspec.convert(
                {
                    **found,
                    "attachments": tuple(attachments.get(found["id"], ())),
                    "generation": generations.get(found["id"]),
                },
                Message,
            )
            for found in self._messages.values("WHERE session_id = ?", (str(row["id"]),))
        ]
        return Conversation(msgspec.convert({**row, "messages": len(messages)}, Session), messages)


def _generation(row: dict[str, Field]) -> Generation:
    return msgspec.convert({**row, "sampling": msgspec.json.decode(str(row["sampling"]))}, Generation)
