"""Adding what came from elsewhere to what is here: nothing that is here is changed, nothing erased comes back."""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from vault.connection import Connection
from vault.fields import FieldCipher
from vault.messages import Message, MessageId, SessionId
from vault.portability.tables import Field, Rows
from vault.portability.trees import Conversation, ConversationRows, Trees, derived_id
from vault.tombstones import Buried, attachment_id

__all__ = ["Merged", "Merger"]


class Merged(msgspec.Struct):
    """What became of it, in numbers.

    Attributes:
        added: Conversations that are new here.
        extended: Conversations that were here, and have more messages now.
        copied: Conversations whose ids were taken by other ones, and that got new ids.
        known: Conversations that were here already, whole.
        erased: Conversations and messages that were erased here on purpose, and stay away.
        messages: Messages that were added.
        models: Registrations of models that were added.
    """

    added: int = 0
    extended: int = 0
    copied: int = 0
    known: int = 0
    erased: int = 0
    messages: int = 0
    models: int = 0


class Merger:
    """Adds to one vault.

    Args:
        connection: In a transaction that writes.
        fields: Of the vault.

    Attributes:
        merged: What was done so far.
    """

    def __init__(self, connection: Connection, fields: FieldCipher) -> None:
        self._connection = connection
        self._fields = fields
        self._trees = Trees(connection, fields)
        self._buried = {(row[0], row[1]) for row in connection.execute("SELECT kind, id FROM tombstones")}
        self.untouched = not self._buried and not self._trees.ids()
        self.merged = Merged()
        connection.execute("PRAGMA defer_foreign_keys=ON")

    def add_rows(self, rows: ConversationRows) -> None:
        """Add a conversation with the numbers of its rows, to a vault that was `untouched` when this began."""
        self._trees.add_rows(rows)
        self.merged.added += 1
        self.merged.messages += len(rows.messages)

    def add(self, conversation: Conversation) -> None:
        """Add what is new of a conversation."""
        left = self._without_erased(conversation)
        if left is None:
            self.merged.erased += 1
        elif self._fits(left):
            self._join(left)
        else:
            copy = _copied(left)
            self.merged.copied += self._trees.get(copy.session.id) is None
            self._join(copy)

    def add_keyed(self, table: str, rows: Iterable[Mapping[str, Field]]) -> None:
        """Add the rows of a table whose keys aren't there yet."""
        target = Rows(self._connection, table, self._fields)
        for row in rows:
            if (table != "tombstones" or not self._is_here(row)) and target.add(row):
                self.merged.models += table == "models"

    def _without_erased(self, conversation: Conversation) -> Conversation | None:
        """It without what was erased here, and all that was said after that; `None` when nothing is left."""
        session, messages = conversation
        if (Buried.SESSION, session.id) in self._buried:
            return None
        above = {message.id: message.parent_id for message in messages}
        below: dict[str | None, list[MessageId]] = {}
        for message in messages:
            below.setdefault(message.parent_id, []).append(message.id)
        gone: set[str | None] = set()
        reached = [message.id for message in messages if (Buried.MESSAGE, message.id) in self._buried]
        while reached:
            gone.add(reached[-1])
            reached += below.get(reached.pop(), [])
        if gone and len(gone) == len(messages):
            return None
        self.merged.erased += len(gone)
        head = session.head
        while head in gone:
            head = above.get(head) if head else None
        kept = [self._without_erased_files(message) for message in messages if message.id not in gone]
        return Conversation(msgspec.structs.replace(session, head=head), kept)

    def _without_erased_files(self, message: Message) -> Message:
        kept = tuple(
            file
            for file in message.attachments
            if (Buried.ATTACHMENT, attachment_id(message.id, file.name)) not in self._buried
        )
        return msgspec.structs.replace(message, attachments=kept)

    def _fits(self, conversation: Conversation) -> bool:
        """Whether what is here under the same ids says the same."""
        here = self._trees.get(conversation.session.id)
        known = {message.id: message for message in here.messages} if here else {}
        return all(
            _says_the_same(known[message.id], message)
            if message.id in known
            else not self._trees.holds_message(message.id)
            for message in conversation.messages
        )

    def _join(self, conversation: Conversation) -> None:
        session, messages = conversation
        here = self._trees.get(session.id)
        if here is None:
            self._trees.add(conversation)
            self.merged.added += 1
            self.merged.messages += len(messages)
            return
        known = {message.id for message in here.messages}
        fresh = [message for message in messages if message.id not in known]
        if not fresh:
            self.merged.known += 1
            return
        self._trees.add_messages(fresh)
        self.merged.extended += 1
        self.merged.messages += len(fresh)
        # Whoever went on with the conversation here stays where they are.
        if here.session.head is None or here.session.head in conversation.branch():
            updated = max(here.session.updated_ms, session.updated_ms)
            self._trees.set_head(session.id, session.head, updated)

    def _is_here(self, tombstone: Mapping[str, Field]) -> bool:
        """Whether what was erased elsewhere is here: it stays, so it must have no tombstone."""
        kind, buried = tombstone["kind"], str(tombstone["id"])
        if kind == Buried.ATTACHMENT:
            files = self._connection.execute("SELECT message_id, name FROM attachments")
            return any(attachment_id(message_id, name) == buried for message_id, name in files)
        if kind == Buried.MESSAGE:
            return self._trees.holds_message(buried)
        return kind == Buried.SESSION and self._trees.get(buried) is not None


def _says_the_same(ours: Message, theirs: Message) -> bool:
    if (ours.role, ours.parent_id) != (theirs.role, theirs.parent_id):
        return False
    unfinished = theirs.status in ("streaming", "interrupted")
    return ours.text == theirs.text or (unfinished and ours.text.startswith(theirs.text))


def _copied(conversation: Conversation) -> Conversation:
    """The same under other ids, always the same ones, so that a second import finds the copy."""
    session, messages = conversation
    said = msgspec.json.encode([(m.id, m.parent_id, m.role, m.text) for m in messages])
    session_id = SessionId(derived_id(10, "copy", session.id, hashlib.sha256(said).hexdigest()))
    ids = {message.id: MessageId(derived_id(16, session_id, message.id)) for message in messages}
    head = ids.get(session.head) if session.head else None
    return Conversation(
        msgspec.structs.replace(session, id=session_id, head=head),
        [
            msgspec.structs.replace(
                message,
                id=ids[message.id],
                session_id=session_id,
                parent_id=ids[message.parent_id] if message.parent_id else None,
            )
            for message in messages
        ],
    )
