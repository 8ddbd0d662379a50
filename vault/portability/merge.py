"""Adding what came from elsewhere to what is here: nothing that is here is changed, nothing erased comes back."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from vault.connection import Connection
from vault.errors import ImportRefused
from vault.fields import FieldCipher
from vault.messages import Message, MessageId, SessionId
from vault.note_store import MOST_NOTES
from vault.portability.tables import Field, Rows
from vault.portability.trees import Conversation, ConversationRows, Trees, derived_id
from vault.tombstones import Buried, attachment_id

__all__ = ["Merged", "Merger"]

_NOTE = "SELECT 1 FROM notes WHERE id = ?"


class Merged(msgspec.Struct):
    """What became of it, in numbers.

    Attributes:
        added: Conversations that are new here.
        extended: Conversations that were here, and have more messages now.
        copied: Conversations whose ids were taken by other ones, and that got new ids.
        known: Conversations that were here already, whole.
        erased: Conversations, messages and examples that were erased here on purpose, and stay away.
        messages: Messages that were added.
        models: Registrations of models that were added.
        examples: Training examples that were added.
        notes: Notes that were added.
        buried: What was erased where it came from, and is to stay away from here too.
    """

    added: int = 0
    extended: int = 0
    copied: int = 0
    known: int = 0
    erased: int = 0
    messages: int = 0
    models: int = 0
    examples: int = 0
    notes: int = 0
    buried: int = 0


class Merger:
    """Adds to one vault.

    Args:
        connection: In a transaction that writes.
        fields: Of the vault.
        believed: Whether what was erased there is to stay away here too, though something is here already. Whoever
            writes tombstones decides what a backup can't bring back.

    Attributes:
        untouched: Whether nothing was here when this began, nor had been erased.
        merged: What was done so far.
    """

    def __init__(self, connection: Connection, fields: FieldCipher, *, believed: bool = True) -> None:
        self._connection = connection
        self._fields = fields
        self._believed = believed
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
        """Add what is new of a conversation.

        Where it can't have its own ids it becomes a copy under others, and what was erased of that copy stays away
        as well: also later, when its own ids are free again.
        """
        left = self._without_erased(conversation)
        if left is None:
            self.merged.erased += 1
            return
        fits = self._fits(left)
        if fits and self._trees.get(left.session.id):
            self._join(left)
            return
        copy = _copied(left, conversation)
        kept = self._without_erased(copy)
        if kept is None:
            self.merged.erased += 1
        elif fits and kept == copy:
            self._join(left)
        else:
            self.merged.copied += self._trees.get(kept.session.id) is None
            self._join(kept)

    def add_keyed(self, table: str, rows: Iterable[Mapping[str, Field]]) -> None:
        """Add the rows of a table whose keys aren't there yet."""
        if table == "tombstones":
            rows = self._absent(rows) if self.untouched or self._believed else ()
        if table == "notes":
            rows = self._without_erased_notes(rows)
        if table == "skill_examples":
            rows = self._without_erased_examples(rows)
        target = Rows(self._connection, table, self._fields)
        added = sum(target.add(row) for row in rows)
        self.merged.models += added * (table == "models")
        self.merged.notes += added * (table == "notes")
        self.merged.examples += added * (table == "skill_examples")
        self.merged.buried += added * (table == "tombstones")

    def _without_erased_notes(self, rows: Iterable[Mapping[str, Field]]) -> list[Mapping[str, Field]]:
        """Notes that weren't erased here; among others' they say that they were brought in.

        Raises:
            ImportRefused: there would be more than are kept.
        """
        here = {str(row[0]) for row in self._connection.execute("SELECT id FROM notes")}
        fresh = [row for row in rows if (Buried.NOTE, row["id"]) not in self._buried and row["id"] not in here]
        if len(here) + len(fresh) > MOST_NOTES:
            raise ImportRefused(f"There would be more than {MOST_NOTES:,} notes.", hint="Nothing was taken.")
        return fresh if self.untouched or self._believed else [{**row, "source": "an import"} for row in fresh]

    def _without_erased(self, conversation: Conversation) -> Conversation | None:
        """It without what was erased here, and all that was said after that; `None` when nothing is left."""
        session, messages = conversation
        if (Buried.SESSION, session.id) in self._buried:
            return None
        above = {message.id: message.parent_id for message in messages}
        below = _answers(messages)
        gone: set[str | None] = set()
        reached = [message for message in messages if (Buried.MESSAGE, message.id) in self._buried]
        while reached:
            gone.add(reached[-1].id)
            reached += below.get(reached.pop().id, ())
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

    def _without_erased_examples(self, rows: Iterable[Mapping[str, Field]]) -> Iterator[Mapping[str, Field]]:
        for row in rows:
            if (Buried.EXAMPLE, str(row["id"])) in self._buried:
                self.merged.erased += 1
            else:
                yield row

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

    def _absent(self, tombstones: Iterable[Mapping[str, Field]]) -> Iterator[Mapping[str, Field]]:
        """Those of what isn't here: what was erased elsewhere and is here stays, so it must have no tombstone."""
        files = self._connection.execute("SELECT message_id, name FROM attachments")
        attached = {attachment_id(message_id, name) for message_id, name in files}
        examples = {row[0] for row in self._connection.execute("SELECT id FROM skill_examples")}
        for tombstone in tombstones:
            kind, buried = tombstone["kind"], str(tombstone["id"])
            here = (
                (kind == Buried.ATTACHMENT and buried in attached)
                or (kind == Buried.EXAMPLE and buried in examples)
                or (kind == Buried.MESSAGE and self._trees.holds_message(buried))
                or (kind == Buried.SESSION and self._trees.get(buried) is not None)
                or (kind == Buried.NOTE and self._connection.execute(_NOTE, (buried,)).fetchone() is not None)
            )
            if not here:
                yield tombstone


def _says_the_same(ours: Message, theirs: Message) -> bool:
    if (ours.role, ours.parent_id) != (theirs.role, theirs.parent_id):
        return False
    unfinished = theirs.status in ("streaming", "interrupted")
    return ours.text == theirs.text or (unfinished and ours.text.startswith(theirs.text))


def _copied(conversation: Conversation, whole: Conversation) -> Conversation:
    """The same under other ids, made of what was said up to each message.

    What says the same after the same has the same id each time, however much was said since: so a second import
    finds the copy, and a tombstone what it stands for.

    Args:
        conversation: What is left of it.
        whole: As it came, with what was erased.
    """
    session, messages = conversation
    said = _said(whole)
    begun = said[whole.messages[0].id] if whole.messages else ""
    session_id = SessionId(derived_id(10, "copy", session.id, begun))
    ids = {message.id: MessageId(derived_id(16, session_id, said[message.id])) for message in messages}
    return Conversation(
        msgspec.structs.replace(session, id=session_id, head=ids.get(session.head) if session.head else None),
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


def _said(conversation: Conversation) -> dict[str | None, str]:
    """Of each message, a digest of what was said up to it."""
    below = _answers(conversation.messages)
    said: dict[str | None, str] = {None: ""}
    reached = list(below.get(None, ()))
    while reached:
        message = reached.pop()
        path = [said[message.parent_id], message.id, message.role, message.text]
        said[message.id] = hashlib.sha256(msgspec.json.encode(path)).hexdigest()
        reached += below.get(message.id, ())
    return said


def _answers(messages: Iterable[Message]) -> dict[str | None, list[Message]]:
    """The messages by what they answer."""
    found: dict[str | None, list[Message]] = {}
    for message in messages:
        found.setdefault(message.parent_id, []).append(message)
    return found
