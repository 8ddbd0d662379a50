"""What an encrypted backup holds once it is opened: JSON lines, readable without this program.

    ["openclaw-core backup", {"version": 1, "app": "0.1.0", "schema": 2, "made_ms": 1700000000000}]
    ["table", "sessions"]
    {"n": 1, "id": …}
    …
    ["end", {"sessions": {"rows": 1, "bytes": 123, "sha256": …}, …}]

Every table that travels has its line, in the order in which they can be filled; the digests are of the rows' lines.
"""

import time
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec

from vault.connection import Connection
from vault.errors import BackupRefused, ImportRefused, VersionTooNew
from vault.fields import FieldCipher
from vault.inventory import TABLES, Travels
from vault.migrations import newest_version
from vault.portability.checks import YEAR_10000_MS
from vault.portability.digests import Digest, Tally
from vault.portability.progress import Steps, Walk, size_of
from vault.portability.tables import MAX_LINE, Rows

__all__ = ["FORMAT", "Contents", "StreamReader", "StreamWriter", "tables_in_backups"]

FORMAT = "openclaw-core backup"
_VERSION = 1


class _About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    app: str
    schema: Annotated[int, msgspec.Meta(ge=1)]
    made_ms: Annotated[int, msgspec.Meta(ge=0, lt=YEAR_10000_MS)]


class _Begin(msgspec.Struct, tag=FORMAT, array_like=True, forbid_unknown_fields=True):
    about: _About


class _Table(msgspec.Struct, tag="table", array_like=True, forbid_unknown_fields=True):
    name: str


class _End(msgspec.Struct, tag="end", array_like=True, forbid_unknown_fields=True):
    digests: dict[str, Digest]


_MARK = msgspec.json.Decoder(_Begin | _Table | _End)


def tables_in_backups() -> list[str]:
    """The tables that encrypted backups hold."""
    return [name for name, table in TABLES.items() if table.travels is not Travels.NOWHERE]


class StreamWriter:
    """Everything that travels, line by line.

    Args:
        connection: In a transaction, so that all of it is of one moment.
        fields: Opens the sealed fields.
        app: Version of this program.
        steps: Whom to tell how far it is.

    Attributes:
        rows: How many there are.
    """

    def __init__(self, connection: Connection, fields: FieldCipher, app: str, steps: Steps) -> None:
        self._app = app
        self._tables = [Rows(connection, name, fields) for name in tables_in_backups()]
        self.rows = sum(table.count() for table in self._tables)
        self._walk = Walk("Backing up", self.rows, size_of(connection), steps)

    def lines(self) -> Iterator[bytes]:
        """The lines, each with its end."""
        yield _line(_Begin(_About(_VERSION, self._app, newest_version(), time.time_ns() // 1_000_000)))
        digests = {}
        for rows in self._tables:
            yield _line(_Table(rows.table))
            tally = Tally()
            for line in rows.lines():
                self._walk.step()
                tally.add(line)
                yield line
            digests[rows.table] = tally.digest
        yield _line(_End(digests))


class Contents(NamedTuple):
    """What a backup held.

    Attributes:
        made_ms: When it was made, in milliseconds since 1970.
        tables: Of each, what was in it.
    """

    made_ms: int
    tables: dict[str, Digest]


class StreamReader:
    """Fills a database with what `StreamWriter` made, piece by piece as it is decrypted.

    The tables are emptied first: what they hold is the beginnings of the new vault itself.

    Args:
        connection: In a transaction that is undone unless `finish` returns.
        fields: Seals.
    """

    def __init__(self, connection: Connection, fields: FieldCipher) -> None:
        self._connection = connection
        self._fields = fields
        self._pieces: list[bytes] = []
        self._length = 0
        self._begun = self._ended = False
        self._schema = 0
        self._made_ms = 0
        self._rows: Rows | None = None
        self._tally = Tally()
        self._digests: dict[str, Digest] = {}

    def feed(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            BackupRefused: it isn't what was backed up.
            VersionTooNew: a newer version of OpenClaw Core made it.
        """
        first, *others = data.split(b"\n")
        self._keep(first)
        for piece in others:
            line = b"".join(self._pieces)
            self._pieces, self._length = [], 0
            self._take(line)
            self._keep(piece)

    def finish(self) -> Contents:
        """The stream has ended: what was in it.

        Raises:
            BackupRefused: the end is missing, or isn't that of these lines.
        """
        if not self._ended or self._length:
            raise BackupRefused("The backup ends before its end.", hint="Nothing was changed.")
        return Contents(self._made_ms, self._digests)

    def _keep(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._length += len(piece)
        if self._length > MAX_LINE:
            raise BackupRefused(f"A line of the backup has more than {MAX_LINE} bytes.")

    def _take(self, line: bytes) -> None:
        try:
            if line.startswith(b"["):
                self._mark(line)
            elif self._rows is None or self._ended:
                raise ImportRefused("The backup has a row that belongs to no table.")
            else:
                self._tally.add(line + b"\n")
                place = f"{self._rows.table}, row {self._tally.rows}"
                self._rows.insert(self._rows.parse(line, place), place)
        except ImportRefused as error:
            raise BackupRefused(error.message, hint="Nothing was changed.") from None

    def _mark(self, line: bytes) -> None:
        try:
            mark = _MARK.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ImportRefused("The backup isn't laid out as this program's are.") from None
        match mark:
            case _Begin(about) if not self._begun:
                self._begin(about)
            case _Table(name) if self._begun and not self._ended:
                self._begin_table(name)
            case _End(digests) if self._begun and not self._ended:
                self._end(digests)
            case _:
                raise ImportRefused("The backup isn't in order.")

    def _begin(self, about: _About) -> None:
        if about.version > _VERSION or about.schema > newest_version():
            raise VersionTooNew(
                f"A newer version of OpenClaw Core ({about.app[:40]}) made this backup.",
                hint="Update OpenClaw Core. Nothing was changed.",
            )
        self._begun, self._made_ms = True, about.made_ms
        self._schema = about.schema
        self._connection.execute("PRAGMA defer_foreign_keys=ON")
        for name in reversed(tables_in_backups()):
            self._connection.execute(f"DELETE FROM {name}")

    def _begin_table(self, name: str) -> None:
        if name not in tables_in_backups() or name in self._digests:
            raise ImportRefused(f"The backup has a table {name[:40]!r} that can't be there.")
        self._end_table()
        self._rows = Rows(self._connection, name, self._fields)
        self._tally = Tally()
        self._digests[name] = self._tally.digest

    def _end_table(self) -> None:
        if self._rows:
            self._digests[self._rows.table] = self._tally.digest

    def _end(self, digests: dict[str, Digest]) -> None:
        self._end_table()
        if digests != self._digests:
            raise ImportRefused("The backup's rows aren't those that its end names.")
        if any(TABLES[name].since <= self._schema for name in set(tables_in_backups()) - digests.keys()):
            raise ImportRefused("The backup lacks a table.")
        self._ended = True


def _line(mark: _Begin | _Table | _End) -> bytes:
    return msgspec.json.encode(mark) + b"\n"
