"""What the person had the assistant remember: short notes, searched by their words."""

import re
import secrets
import time
from typing import NamedTuple

from vault.connection import Connection
from vault.database import Database, Row
from vault.errors import NoteRefused, NotFound
from vault.sanitize import sanitize
from vault.tombstones import Buried, bury

__all__ = ["LONGEST_NOTE", "MOST_NOTES", "Note", "NoteStore"]

LONGEST_NOTE = 4_000
"""Characters of one note."""
MOST_NOTES = 10_000
_WORD = re.compile(r"\w+")
_ID_BYTES = 8


class Note(NamedTuple):
    """One note.

    Attributes:
        id: Names it.
        text: What is remembered; sanitized.
        source: Who wrote it down.
        created_ms: When, in milliseconds since 1970.
    """

    id: str
    text: str
    source: str
    created_ms: int


class NoteStore:
    """The notes of one vault."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, text: str, source: str) -> Note:
        """Remember something.

        Raises:
            NoteRefused: it is empty or too long, or there are too many notes.
        """
        text = sanitize(text).strip()
        if not text:
            raise NoteRefused("An empty note says nothing; it was not kept.")
        if len(text) > LONGEST_NOTE:
            raise NoteRefused(f"A note may have {LONGEST_NOTE:,} characters, and this one has {len(text):,}.")
        note = Note(secrets.token_hex(_ID_BYTES), text, source, time.time_ns() // 1_000_000)

        def work(connection: Connection) -> None:
            count = connection.execute("SELECT count(*) FROM notes").fetchone()
            if count and int(count[0]) >= MOST_NOTES:
                raise NoteRefused(
                    f"There are {MOST_NOTES:,} notes, and no more fit.", hint="`claw memory forget ID`"
                )
            connection.execute("INSERT INTO notes VALUES (?, ?, ?, ?)", note)

        self._database.write(work)
        return note

    def all(self) -> list[Note]:
        """Every note, the newest first."""
        rows = self._database.read(
            lambda c: c.execute("SELECT * FROM notes ORDER BY created_ms DESC, id").fetchall()
        )
        return [_note(row) for row in rows]

    def get(self, note_id: str) -> Note:
        """One note.

        Raises:
            NotFound: there is no such note.
        """
        row = self._database.read(lambda c: c.execute("SELECT * FROM notes WHERE id = ?", (note_id,)).fetchone())
        if row is None:
            raise _unknown(note_id)
        return _note(row)

    def search(self, words: str, limit: int = 20) -> list[Note]:
        """Notes that hold some of the words, those with most of them first, then the newest."""
        wanted = {word.casefold() for word in _WORD.findall(words)}
        found = [
            (len(wanted & {word.casefold() for word in _WORD.findall(note.text)}), note) for note in self.all()
        ]
        return [note for score, note in sorted(found, key=lambda pair: -pair[0]) if score][:limit]

    def forget(self, note_id: str) -> str:
        """Erase a note; a backup made before doesn't bring it back.

        Returns:
            Where encrypted copies of it lie still, and until when; empty where nothing is left.

        Raises:
            NotFound: there is no such note.
        """

        def work(connection: Connection) -> None:
            if not connection.execute("DELETE FROM notes WHERE id = ?", (note_id,)).rowcount:
                raise _unknown(note_id)
            bury(connection, Buried.NOTE, note_id, time.time_ns() // 1_000_000)

        self._database.write(work)
        return self._database.clear_away()


def _note(row: Row) -> Note:
    return Note(row[0], row[1], row[2], row[3])


def _unknown(note_id: str) -> NotFound:
    return NotFound(f"There is no note {note_id!r}.", hint="`claw memory list` shows those there are.")
