"""One connection to an SQLCipher file, with every silent trap closed, and its errors turned into ours.

The traps (each has its test in `tests/vault/test_connection.py`): without a key SQLCipher writes plaintext; a key
of other than 64 hex digits is silently taken for a passphrase; a wrong key shows only at the first read; a pragma
that isn't understood is ignored.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import quote

import sqlcipher3

from vault.descriptors import Descriptors
from vault.errors import DatabaseDamaged, DiskFull, InUse, PlaintextDatabase, VaultError
from vault.keys import KEY_BYTES

__all__ = [
    "MEMORY",
    "Connection",
    "Cursor",
    "Row",
    "SqlValue",
    "check_length",
    "check_magic",
    "connect",
    "guarded",
]

MEMORY = Path(":memory:")
PLAINTEXT_MAGIC = b"SQLite format 3\x00"
_BUSY_TIMEOUT_MS = 10_000
_SHARED_MEMORY_STEP = 32 * 1024  # SQLite's -shm file grows by this

# SQLite result codes (https://www.sqlite.org/rescode.html); the low byte is the primary code.
_FULL, _CORRUPT, _NOTADB, _READONLY, _IOERR, _CANTOPEN, _BUSY = 13, 11, 26, 8, 10, 14, 5

SqlValue = str | int | float | bytes | None
"""What a statement takes. The guarded types of `vault.classes` are none of it."""

Row = tuple[Any, ...]
Result = TypeVar("Result")


class Cursor(Protocol):
    """The part of a DB-API cursor that we use."""

    rowcount: int

    def fetchone(self) -> Row | None:
        """The next row."""
        ...

    def fetchall(self) -> list[Row]:
        """The rows that are left."""
        ...

    def __iter__(self) -> Iterator[Row]:
        """The rows that are left, one by one."""
        ...


class Connection(Protocol):
    """The part of a DB-API connection that we use."""

    def execute(self, sql: str, parameters: Sequence[SqlValue] = ..., /) -> Cursor:
        """Run one statement."""
        ...

    def create_function(self, name: str, arguments: int, function: Callable[..., SqlValue], /) -> None:
        """Make a Python function known to SQL."""
        ...

    def set_key(self, key: str, /) -> None:
        """Give SQLCipher its key."""
        ...

    def backup(
        self,
        target: "Connection",
        *,
        pages: int,
        name: str,
        progress: Callable[[int, int, int], None],
    ) -> None:
        """Write one of its databases over the main database of another connection, as one transaction."""
        ...

    def interrupt(self) -> None:
        """End the statement that runs, from another thread."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


def connect(path: Path, key: bytes, *, read_only: bool = False) -> Connection:
    """Connect, prove the key, and set what the vault relies on.

    Args:
        path: The file, or `MEMORY`.
        key: The raw 32-byte database key.
        read_only: Leave the file, its log included, exactly as it is.

    Raises:
        sqlcipher3.Error: as SQLCipher says; `guarded` turns it into ours.
        VaultError: this build of SQLCipher can't be relied on.
    """
    check_length(key)
    target = f"file:{quote(str(path))}?mode=ro" if read_only else str(path)
    connection = cast(
        Connection, sqlcipher3.connect(target, isolation_level=None, cached_statements=128, uri=read_only)
    )
    try:
        # First, or SQLCipher writes to the terminal on a wrong key.
        connection.execute("PRAGMA cipher_log_level=NONE")
        if not connection.execute("PRAGMA cipher_version").fetchone():
            raise VaultError(
                "This build of sqlcipher3 has no encryption, and nothing is stored without it.",
                hint="Reinstall it: pip install --force-reinstall sqlcipher3",
            )
        connection.set_key(f"x'{key.hex()}'")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # proves the key
        if read_only:
            connection.execute("PRAGMA temp_store=MEMORY")
        else:
            _configure(connection, "memory" if path == MEMORY else "wal")
    except BaseException:
        connection.close()
        raise
    return connection


def check_length(key: bytes) -> None:
    """Refuse what SQLCipher would silently take for a passphrase."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a database key has {KEY_BYTES} bytes, not {len(key)}")


def check_magic(path: Path, descriptors: Descriptors) -> None:
    """Look at a file's first bytes, and for what SQLite would bring back of it, before SQLCipher does.

    Raises:
        DatabaseDamaged: it is missing, cut off, or can't be read; or a rollback journal lies beside it.
        PlaintextDatabase: it is an unencrypted SQLite file.
    """
    try:
        magic = os.pread(descriptors.open(path), len(PLAINTEXT_MAGIC), 0)
    except FileNotFoundError:
        raise DatabaseDamaged(
            f"The vault's database {path} is missing, though its key slots are there.",
            hint="Restore the file from a backup. Nothing was changed.",
        ) from None
    except OSError as error:
        raise DatabaseDamaged(f"{path} can't be read: {error.strerror}.") from error
    if magic == PLAINTEXT_MAGIC:
        raise PlaintextDatabase(
            f"{path} is an unencrypted SQLite file, not this vault's database; it was not opened.",
            hint="Move it away and restore the vault's own file from a backup.",
        )
    if len(magic) < len(PLAINTEXT_MAGIC):
        raise DatabaseDamaged(
            f"{path} is cut off ({len(magic)} bytes).",
            hint="Restore the file from a backup. Nothing was changed.",
        )
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists():
        raise DatabaseDamaged(
            f"{journal} isn't this vault's, which keeps no such journal: SQLite would put the pages in it back.",
            hint="Move it away. Nothing was changed.",
        )


def guarded(work: Callable[[], Result], path: Path) -> Result:
    """Run database work, turning SQLCipher's errors (which aren't `sqlite3`'s) into ours."""
    try:
        return work()
    except sqlcipher3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if isinstance(code, int) else _code_from_text(str(error))
        if primary == _FULL or (primary == _IOERR and _has_no_room(path)):
            raise DiskFull(
                f"The disk that holds {path} is full.",
                hint="Free some room and try again; nothing that was saved before is lost.",
            ) from error
        if primary in (_CORRUPT, _NOTADB):
            raise DatabaseDamaged(
                f"{path} is damaged, or was encrypted with another key.",
                hint="Restore it from a backup; `claw doctor` says more. Nothing was changed.",
            ) from error
        if primary in (_READONLY, _CANTOPEN):
            raise VaultError(
                f"{path} can't be written.",
                hint="Make the folder writable, or point CLAW_HOME at one that is.",
            ) from error
        if primary == _BUSY:
            raise InUse("Another program holds the vault's database.", hint="Close it and try again.") from error
        raise VaultError(f"The vault's database refused: {error}.") from error


def _has_no_room(path: Path) -> bool:
    # A -shm file that can't grow is reported as an I/O error, whatever the reason was.
    try:
        status = os.statvfs(path.parent)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < _SHARED_MEMORY_STEP


def _code_from_text(text: str) -> int | None:
    # sqlcipher3 0.6 gives its exceptions no result code; these texts are SQLite's own, fixed in sqlite3ErrStr().
    known = {
        "database or disk is full": _FULL,
        "database disk image is malformed": _CORRUPT,
        "file is not a database": _NOTADB,
        "attempt to write a readonly database": _READONLY,
        "unable to open database file": _CANTOPEN,
        "disk I/O error": _IOERR,
        "database is locked": _BUSY,
    }
    return known.get(text)


def _configure(connection: Connection, journal: str) -> None:
    expected: dict[str, tuple[str, object]] = {
        "busy_timeout": (str(_BUSY_TIMEOUT_MS), _BUSY_TIMEOUT_MS),
        "journal_mode": (journal, journal),
        "synchronous": ("FULL", 2),
        "foreign_keys": ("ON", 1),
        "trusted_schema": ("OFF", 0),
        "secure_delete": ("ON", 1),
        "temp_store": ("MEMORY", 2),
        # `vault.guard` folds the log in itself, when its anchor is safe.
        "wal_autocheckpoint": ("0", 0),
        "cache_size": ("-64000", -64000),
    }
    for name, (value, meaning) in expected.items():
        connection.execute(f"PRAGMA {name}={value}").fetchall()
        row = connection.execute(f"PRAGMA {name}").fetchone()
        if row is None or row[0] != meaning:
            raise VaultError(f"SQLCipher did not take {name}={value}; the vault stays closed.")
