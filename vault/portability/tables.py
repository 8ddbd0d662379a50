"""The rows of a table as JSON lines, and back: an object a row, in the order of the primary key, always the same.

Numbers and text are JSON's own, blobs `{"base64": …}`. Sealed fields are opened on the way out (text where they are
text) and sealed on the way in. What comes in is checked against the schema and the inventory: whatever isn't a row
that the vault could have written itself is refused, with its place.
"""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import sqlcipher3

from vault.classes import HighlySensitive
from vault.connection import Connection, SqlValue
from vault.errors import ImportRefused
from vault.fields import FieldCipher
from vault.inventory import TABLES, sealed_columns
from vault.portability.checks import means_something

__all__ = ["MAX_LINE", "Field", "Rows"]

MAX_LINE = 48 * 2**20
"""Longest line in bytes. A file, or a question from a pipe, has 1 MiB (`agent.attachments`), a reply what a model's
window holds, some MiB. The longest row there can be is a message that was imported: the 16 MiB of an element
(`vault.portability.json_array`), and up to 29 bytes for each of its 2**20 values that is no text."""

Field = SqlValue | HighlySensitive[bytes]
"""A value of a row; a sealed field is held opened."""

_INT64 = 1 << 63


class _Blob(msgspec.Struct, forbid_unknown_fields=True):
    base64: str


_Value = None | bool | int | float | str | _Blob


class _Column(NamedTuple):
    name: str
    type: str
    nullable: bool
    optional: bool
    sealed: bool


class Rows:
    """Reads and writes one table.

    Args:
        connection: To the database; used by its thread alone.
        table: A table of the inventory.
        fields: Opens and seals.
    """

    def __init__(self, connection: Connection, table: str, fields: FieldCipher) -> None:
        self.table = table
        self._connection = connection
        self._fields = fields
        self._key = TABLES[table].key
        self._columns = _columns(connection, table)
        # Typed, so that nothing is made of what is no row, however much of it a line holds.
        fields_of_row = [(name, _Value | msgspec.UnsetType, msgspec.UNSET) for name in self._columns]
        self._row = msgspec.json.Decoder(msgspec.defstruct(table, fields_of_row, forbid_unknown_fields=True))

    def count(self) -> int:
        """How many rows there are."""
        row = self._connection.execute(f"SELECT count(*) FROM {self.table}").fetchone()
        return int(row[0]) if row else 0

    def values(self, condition: str = "", parameters: Sequence[SqlValue] = ()) -> Iterator[dict[str, Field]]:
        """The rows, in the order of the primary key.

        Args:
            condition: `WHERE …`, of our own words.
            parameters: What is bound to it.

        Raises:
            DatabaseDamaged: a sealed field isn't what was sealed there.
        """
        query = f"SELECT {', '.join(self._columns)} FROM {self.table} {condition} ORDER BY {', '.join(self._key)}"
        for row in self._connection.execute(query, parameters):
            values: dict[str, Field] = dict(zip(self._columns, row, strict=True))
            for column in self._columns.values():
                sealed = values[column.name]
                if column.sealed and isinstance(sealed, bytes):
                    values[column.name] = self._fields.open(self.table, self._place(values), column.name, sealed)
            yield values

    def lines(self) -> Iterator[bytes]:
        """The rows as JSON, each with the end of its line."""
        for values in self.values():
            yield msgspec.json.encode({name: _written(value) for name, value in values.items()}) + b"\n"

    def parse(self, line: bytes, place: str) -> dict[str, Field]:
        """Read a row that `lines` wrote.

        Args:
            line: The row.
            place: Where it stands, for the person.

        Raises:
            ImportRefused: it isn't one of this table.
        """
        try:
            row = self._row.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ImportRefused(f"{place}: that is no row of {self.table}.") from None
        found: dict[str, _Value] = {
            name: value for name in self._columns if (value := getattr(row, name)) is not msgspec.UNSET
        }
        for column in self._columns.values():
            if column.name not in found and not column.optional:
                raise ImportRefused(f"{place}: the column {column.name} is missing.")
        return {name: self._read(self._columns[name], value, place) for name, value in found.items()}

    def insert(self, values: Mapping[str, Field], place: str = "") -> None:
        """Add a row; a numbered one that has no number gets the next.

        Raises:
            ImportRefused: the schema forbids it, or one with its key is there.
        """
        row = dict(values)
        if self._key == ("n",) and "n" not in row:
            last = self._connection.execute(f"SELECT max(n) FROM {self.table}").fetchone()
            row["n"] = 1 + ((last and last[0]) or 0)
        bound: list[SqlValue] = []
        for name, value in row.items():
            if isinstance(value, HighlySensitive):
                bound.append(self._fields.seal(self.table, self._place(row), name, value))
            else:
                bound.append(value)
        statement = f"INSERT INTO {self.table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        try:
            self._connection.execute(statement, bound)
        except (sqlcipher3.IntegrityError, sqlcipher3.DataError) as error:
            raise ImportRefused(f"{place or self.table}: the row can't be kept: {error}.") from None

    def add(self, values: Mapping[str, Field]) -> bool:
        """Add a row unless one with its key is there; whether it was added."""
        condition = " AND ".join(f"{name} = ?" for name in self._key)
        key = [value for name in self._key if not isinstance(value := values[name], HighlySensitive)]
        if self._connection.execute(f"SELECT 1 FROM {self.table} WHERE {condition}", key).fetchone():
            return False
        self.insert(values)
        return True

    def _place(self, row: Mapping[str, Field]) -> str:
        return "/".join(str(row[name]) for name in self._key)

    def _read(self, column: _Column, found: _Value, place: str) -> Field:
        value = _value(column, found)
        if value is None and not (found is None and column.nullable):
            raise ImportRefused(f"{place}: {column.name} is no {'sealed field' if column.sealed else column.type}.")
        plain = value.reveal() if isinstance(value, HighlySensitive) else value
        if not means_something(self.table, column.name, plain):
            raise ImportRefused(f"{place}: {column.name} has a value that this program never writes.")
        return value


def _columns(connection: Connection, table: str) -> dict[str, _Column]:
    sealed, key = sealed_columns(table), TABLES[table].key
    found = {}
    for _, name, kind, not_null, default, _ in connection.execute(f"PRAGMA table_info({table})"):
        nullable = not not_null and name not in key
        found[name] = _Column(name, kind, nullable, nullable or default is not None, name in sealed)
    return {name: found[name] for name in TABLES[table].columns}


def _written(value: Field) -> object:
    if isinstance(value, HighlySensitive):
        data = value.reveal()
        try:
            return data.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(data).decode()}
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value


def _value(column: _Column, found: _Value) -> Field:
    """What a JSON value stands for in a column; `None` when it is null, or can't stand there."""
    if column.sealed:
        data = found.encode() if isinstance(found, str) else _blob(found)
        return None if data is None else HighlySensitive(data)
    match column.type:
        case "INTEGER" if isinstance(found, int) and not isinstance(found, bool) and -_INT64 <= found < _INT64:
            return found
        case "REAL" if isinstance(found, int | float) and not isinstance(found, bool):
            try:
                number = float(found)
            except OverflowError:
                return None
            return number if math.isfinite(number) else None
        case "TEXT" if isinstance(found, str):
            return found
        case "BLOB":
            return _blob(found)
    return None


def _blob(found: _Value) -> bytes | None:
    if not isinstance(found, _Blob):
        return None
    try:
        return base64.b64decode(found.base64, validate=True)
    except (binascii.Error, ValueError):
        return None
