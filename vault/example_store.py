"""What the vault keeps of training examples: what went into a skill, and what should have come out."""

import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import msgspec

from vault.classes import HighlySensitive
from vault.database import Connection, Database, Row
from vault.errors import NotFound
from vault.fields import OVERHEAD_BYTES, FieldCipher
from vault.run_store import RunStore, training_of
from vault.tombstones import Buried, bury

__all__ = [
    "Example",
    "ExampleKind",
    "ExampleRecord",
    "ExampleStore",
    "examples_there",
    "is_skill_name",
    "remove_examples",
]

_TABLE = "skill_examples"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 10
_AT_ONCE = 64
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NAME_LENGTH = 64
_RECORD = f"id, skill, kind, source, created_ms, octet_length(input) - {OVERHEAD_BYTES}, " + (
    f"octet_length(output) - {OVERHEAD_BYTES}"
)
_ORDER = "ORDER BY created_ms, rowid"


class ExampleKind(StrEnum):
    """How an example came to be."""

    ACCEPTED = "accepted"
    """The person accepted a result."""
    CORRECTED = "corrected"
    """The person corrected a result; what they made of it is the output."""
    ADDED = "added"
    """The person gave it."""
    IMPORTED = "imported"
    """It came with others, from a file."""


class ExampleRecord(msgspec.Struct, frozen=True):
    """What can be said of an example without opening it.

    Attributes:
        id: Ten letters and digits.
        skill: The name of the skill that it is for.
        kind: How it came to be.
        source: The name of the file that it came from, with `import:` before that of a file of many; or empty.
        created_ms: When it was kept, in milliseconds since 1970.
        input_bytes: Of what went in, as UTF-8.
        output_bytes: Of what should have come out.
    """

    id: str
    skill: str
    kind: ExampleKind
    source: str
    created_ms: int
    input_bytes: int
    output_bytes: int


class Example(msgspec.Struct, frozen=True):
    """One example. Attributes as in `ExampleRecord`, and its texts.

    Attributes:
        input: What went in.
        output: What should have come out.
    """

    id: str
    skill: str
    kind: ExampleKind
    source: str
    created_ms: int
    input: str
    output: str

    def __repr__(self) -> str:
        return f"<Example {self.id} of {self.skill}>"


class ExampleStore:
    """The vault's table of examples. What changes it is done in the transactions of `skills.examples`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def records(self, skill: str | None = None) -> list[ExampleRecord]:
        """Every example of a skill, or of all of them, the oldest first."""
        query = f"SELECT {_RECORD} FROM {_TABLE} WHERE ?1 IS NULL OR skill = ?1 {_ORDER}"
        rows = self._database.read(lambda c: c.execute(query, (skill,)).fetchall())
        return [_record(row) for row in rows]

    def get(self, example_id: str) -> Example:
        """One example.

        Raises:
            NotFound: there is none of that id.
            DatabaseDamaged: it was altered.
        """
        found = next(self._read([example_id]), None)
        if found is None:
            raise _unknown(example_id)
        return found

    def all(self, skill: str) -> Iterator[Example]:
        """The examples of a skill, the oldest first, a few of them opened at a time.

        Raises:
            DatabaseDamaged: one was altered.
        """
        query = f"SELECT id FROM {_TABLE} WHERE skill = ? {_ORDER}"
        ids = [row[0] for row in self._database.read(lambda c: c.execute(query, (skill,)).fetchall())]
        for start in range(0, len(ids), _AT_ONCE):
            yield from self._read(ids[start : start + _AT_ONCE])

    def put(
        self, connection: Connection, skill: str, kind: ExampleKind, texts: tuple[str, str], source: str = ""
    ) -> str:
        """Keep an example, in a transaction that writes.

        Args:
            connection: Of that transaction.
            skill: The name of the skill that it is for.
            kind: How it came to be.
            texts: What went in, and what should have come out.
            source: As in `ExampleRecord`.

        Returns:
            Its id.
        """
        example_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
        sealed = [
            self._database.fields.seal(_TABLE, example_id, column, HighlySensitive(text.encode()))
            for column, text in zip(("input", "output"), texts, strict=True)
        ]
        connection.execute(
            f"INSERT INTO {_TABLE} (id, skill, kind, source, created_ms, input, output) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (example_id, skill, kind, source, time.time_ns() // 1_000_000, *sealed),
        )
        return example_id

    def texts(self, connection: Connection, skill: str) -> Iterator[tuple[str, str]]:
        """What went in and what should have come out, of every example of a skill, within a transaction."""
        query = f"SELECT id, skill, kind, source, created_ms, input, output FROM {_TABLE} WHERE skill = ?"
        for row in connection.execute(query, (skill,)):
            example = _opened(self._database.fields, row)
            yield example.input, example.output

    def _read(self, ids: list[str]) -> Iterator[Example]:
        query = (
            f"SELECT id, skill, kind, source, created_ms, input, output FROM {_TABLE} "
            f"WHERE id IN (SELECT value FROM json_each(?)) {_ORDER}"
        )
        given = msgspec.json.encode(ids).decode()
        for row in self._database.read(lambda c: c.execute(query, (given,)).fetchall()):
            yield _opened(self._database.fields, row)


def remove_examples(connection: Connection, ids: Iterable[str], now_ms: int) -> int:
    """Remove examples, and remember that they were, in a transaction that writes; how many were there.

    What unfinished trainings of their skills have learned goes too.
    """
    removed = 0
    for example_id in ids:
        row = connection.execute(f"SELECT skill FROM {_TABLE} WHERE id = ?", (example_id,)).fetchone()
        if row is not None:
            RunStore.remove_all(connection, training_of(row[0]))
        if connection.execute(f"DELETE FROM {_TABLE} WHERE id = ?", (example_id,)).rowcount:
            removed += 1
            bury(connection, Buried.EXAMPLE, example_id, now_ms)
    return removed


def examples_there(connection: Connection, ids: Sequence[str]) -> bool:
    """Whether all of these examples are still there, within a transaction."""
    given = msgspec.json.encode(list(ids)).decode()
    query = f"SELECT count(*) FROM {_TABLE} WHERE id IN (SELECT value FROM json_each(?))"
    row = connection.execute(query, (given,)).fetchone()
    return row is not None and row[0] == len(set(ids))


def is_skill_name(name: str) -> bool:
    """Whether a skill can have this name."""
    return len(name) <= _NAME_LENGTH and _NAME.fullmatch(name) is not None


def _opened(fields: FieldCipher, row: Row) -> Example:
    example_id, skill, kind, source, created_ms, *sealed = row
    given, wanted = (
        fields.open(_TABLE, example_id, column, bytes(value)).reveal().decode()
        for column, value in zip(("input", "output"), sealed, strict=True)
    )
    return Example(example_id, skill, ExampleKind(kind), source, created_ms, given, wanted)


def _record(row: Row) -> ExampleRecord:
    example_id, skill, kind, *rest = row
    return ExampleRecord(example_id, skill, ExampleKind(kind), *rest)


def _unknown(example_id: str) -> NotFound:
    return NotFound(
        f"There is no example {example_id!r}.", hint="`claw skill examples list` shows those there are."
    )
