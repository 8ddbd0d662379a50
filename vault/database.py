"""The SQLCipher database: opened with every silent trap closed, used by one thread, migrated by number.

The traps (each has its test in `tests/vault/test_database.py`): without a key SQLCipher writes plaintext; a key of
other than 64 hex digits is silently taken for a passphrase; a wrong key shows only at the first read; a pragma
that isn't understood is ignored. Several threads on one connection lose rows, so all statements of a process go
through one thread; several processes are kept apart by SQLite's own locks.
"""

import contextlib
import importlib.resources
import os
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import sqlcipher3

from vault.durable import storage_error
from vault.errors import DatabaseDamaged, DiskFull, PlaintextDatabase, VaultError, VersionTooNew
from vault.keys import KEY_BYTES

__all__ = ["Connection", "Database", "Row"]

APPLICATION_ID = 0x4F434C57  # "OCLW"
_PLAINTEXT_MAGIC = b"SQLite format 3\x00"
_MEMORY = Path(":memory:")
_BUSY_TIMEOUT_MS = 10_000
_SHARED_MEMORY_STEP = 32 * 1024  # SQLite's -shm file grows by this

# SQLite result codes (https://www.sqlite.org/rescode.html); the low byte is the primary code.
_FULL, _CORRUPT, _NOTADB, _READONLY, _IOERR, _CANTOPEN, _BUSY = 13, 11, 26, 8, 10, 14, 5

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


class Connection(Protocol):
    """The part of a DB-API connection that we use."""

    def execute(self, sql: str, parameters: tuple[Any, ...] = ..., /) -> Cursor:
        """Run one statement."""
        ...

    def set_key(self, key: str, /) -> None:
        """Give SQLCipher its key."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Database:
    """One process's connection to the encrypted database.

    Methods may be called from any thread; the work is done by one. A transaction that returned is on the disk.
    """

    def __init__(self, connection: Connection, worker: ThreadPoolExecutor, path: Path) -> None:
        self._connection = connection
        self._worker = worker
        self._path = path

    @classmethod
    def create(cls, path: Path, key: bytes) -> "Database":
        """Make a new encrypted database with the newest schema.

        Raises:
            VaultError: something already lies at `path`, or it can't be written.
        """
        _check_length(key)
        if path.exists():
            raise VaultError(f"{path} already exists.")
        # An empty file of our own mode first: SQLite would make one that others can read, and gives the write-ahead
        # log and the shared memory the mode of the database.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise storage_error(error, path) from error
        return cls._start(path, key)

    @classmethod
    def in_memory(cls) -> "Database":
        """A database of its own that never touches the disk: for conversations that leave no trace."""
        return cls._start(_MEMORY, secrets.token_bytes(KEY_BYTES))

    @classmethod
    def open(cls, path: Path, key: bytes) -> "Database":
        """Open an existing database, and bring its schema up to date.

        Args:
            path: The file.
            key: The raw 32-byte database key.

        Raises:
            DatabaseDamaged: the file is missing, empty, damaged, or of another key.
            PlaintextDatabase: an unencrypted SQLite file lies there; it is not touched.
            VersionTooNew: a newer version of OpenClaw Core wrote it.
        """
        try:
            magic = _first_bytes(path)
        except FileNotFoundError:
            raise DatabaseDamaged(
                f"The vault's database {path} is missing, though its key slots are there.",
                hint="Restore the file from a backup. Nothing was changed.",
            ) from None
        except OSError as error:
            raise DatabaseDamaged(f"{path} can't be read: {error.strerror}.") from error
        if magic == _PLAINTEXT_MAGIC:
            raise PlaintextDatabase(
                f"{path} is an unencrypted SQLite file, not this vault's database; it was not opened.",
                hint="Move it away and restore the vault's own file from a backup.",
            )
        if len(magic) < len(_PLAINTEXT_MAGIC):
            raise DatabaseDamaged(
                f"{path} is cut off ({len(magic)} bytes).",
                hint="Restore the file from a backup. Nothing was changed.",
            )
        return cls._start(path, key)

    @classmethod
    def _start(cls, path: Path, key: bytes) -> "Database":
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vault")
        try:
            connection = worker.submit(_guarded, lambda: _connect(path, key), path).result()
        except BaseException:
            worker.shutdown()
            raise
        return cls(connection, worker, path)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run queries; they see one consistent state."""
        return self._run(work, "BEGIN")

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run statements as one transaction: durable when this returns, undone when `work` raises.

        Raises:
            DiskFull: the disk is full; nothing of the transaction remains.
            DatabaseDamaged: SQLCipher found a page that isn't what it wrote.
            VaultError: anything else that SQLite refused.
        """
        return self._run(work, "BEGIN IMMEDIATE")

    def _run(self, work: Callable[[Connection], Result], begin: str) -> Result:
        connection = self._connection

        def transaction() -> Result:
            connection.execute(begin)
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlcipher3.Error):  # SQLite has rolled back by itself after a full disk
                    connection.execute("ROLLBACK")
                raise
            return result

        return self._worker.submit(_guarded, transaction, self._path).result()

    def integrity_errors(self) -> list[str]:
        """What `cipher_integrity_check` and `integrity_check` find; empty when the file is whole.

        The write-ahead log is folded in first: SQLCipher's check reads the main file only and would otherwise
        report pages that are merely not there yet.
        """

        def check() -> list[str]:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            found = [str(row[0]) for row in self._connection.execute("PRAGMA cipher_integrity_check").fetchall()]
            if found:
                return found  # SQLite's own check would stumble over those pages
            rows = self._connection.execute("PRAGMA integrity_check").fetchall()
            return [str(row[0]) for row in rows if row[0] != "ok"]

        return self._worker.submit(_guarded, check, self._path).result()

    def close(self) -> None:
        """Close the connection; the write-ahead log is folded in where no other process uses it."""
        try:
            self._worker.submit(_guarded, self._connection.close, self._path).result()
        finally:
            self._worker.shutdown()


def _guarded(work: Callable[[], Result], path: Path) -> Result:
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
            raise VaultError(
                "Another program holds the vault's database.", hint="Close it and try again."
            ) from error
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


def _connect(path: Path, key: bytes) -> Connection:
    _check_length(key)
    connection = cast(Connection, sqlcipher3.connect(str(path), isolation_level=None, cached_statements=128))
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
        _configure(connection, "memory" if path == _MEMORY else "wal")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    if path != _MEMORY and _first_bytes(path) == _PLAINTEXT_MAGIC:
        connection.close()
        raise PlaintextDatabase(f"{path} was about to be written unencrypted; nothing was stored.")
    return connection


def _check_length(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a database key has {KEY_BYTES} bytes, not {len(key)}")


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_PLAINTEXT_MAGIC))


def _configure(connection: Connection, journal: str) -> None:
    expected: dict[str, tuple[str, object]] = {
        "busy_timeout": (str(_BUSY_TIMEOUT_MS), _BUSY_TIMEOUT_MS),
        "journal_mode": (journal, journal),
        "synchronous": ("FULL", 2),
        "foreign_keys": ("ON", 1),
        "trusted_schema": ("OFF", 0),
        "secure_delete": ("ON", 1),
        "temp_store": ("MEMORY", 2),
        "cache_size": ("-64000", -64000),
    }
    for name, (value, meaning) in expected.items():
        connection.execute(f"PRAGMA {name}={value}").fetchall()
        row = connection.execute(f"PRAGMA {name}").fetchone()
        if row is None or row[0] != meaning:
            raise VaultError(f"SQLCipher did not take {name}={value}; the vault stays closed.")


def _migrations() -> list[tuple[int, str]]:
    folder = importlib.resources.files("vault") / "schema"
    found = []
    for entry in folder.iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            found.append((int(match[1]), entry.read_text(encoding="utf-8")))
    return sorted(found)


def _migrate(connection: Connection, path: Path) -> None:
    """Run the migrations that this database hasn't seen, each in one transaction with its number."""
    row = connection.execute("PRAGMA user_version").fetchone()
    version = int(row[0]) if row else 0
    migrations = _migrations()
    newest = migrations[-1][0]
    if version > newest:
        raise VersionTooNew(
            f"{path} was written by a newer version of OpenClaw Core (schema {version}; this one knows {newest}).",
            hint="Update OpenClaw Core. Nothing was changed.",
        )
    for number, script in migrations:
        if number <= version:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have migrated while this one waited for the lock.
            row = connection.execute("PRAGMA user_version").fetchone()
            if row and int(row[0]) >= number:
                connection.execute("ROLLBACK")
                continue
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlcipher3.Error):
                connection.execute("ROLLBACK")
            raise


def _statements(script: str) -> list[str]:
    """Split a migration into statements (`executescript` would commit the transaction around it)."""
    import sqlite3

    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    if pending.strip():
        raise ValueError("a migration ends inside a statement")
    return statements
