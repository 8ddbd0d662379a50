"""The SQLCipher database: used by one thread, migrated by number, guarded by an anchor outside its file.

Several threads on one connection lose rows, so all statements of a process go through one thread; several processes
are kept apart by SQLite's own locks and the anchor's.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import sqlcipher3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from vault.classes import HighlySensitive
from vault.connection import MEMORY, Connection, Row, SqlValue, check_length, check_magic, connect, guarded
from vault.durable import storage_error
from vault.errors import RolledBack, VaultError
from vault.fields import FieldCipher
from vault.guard import ACCEPT, Guard, anchor_path
from vault.keys import KEY_BYTES
from vault.migrations import FIRST_ANCHORED, migrate, newest_version, schema_version

__all__ = ["Connection", "Database", "Row", "SqlValue"]

Result = TypeVar("Result")


class _Opened(NamedTuple):
    connection: Connection
    guard: Guard | None
    alarm: str


class Database:
    """One process's connection to the encrypted database.

    Methods may be called from any thread; the work is done by one. A transaction that returned is on the disk.

    Attributes:
        fields: Seals and opens the highly sensitive fields.
        alarm: What is wrong when the database isn't the one that was last written; it is then open for reading
            alone. Empty otherwise.
    """

    def __init__(self, opened: _Opened, worker: ThreadPoolExecutor, path: Path, fields: FieldCipher) -> None:
        self._connection, self._guard, self.alarm = opened
        self._worker = worker
        self._path = path
        self.fields = fields

    @classmethod
    def create(cls, path: Path, key: bytes, fields: FieldCipher | None = None) -> "Database":
        """Make a new encrypted database with the newest schema, and its anchor beside it.

        Args:
            path: The file.
            key: The raw 32-byte database key.
            fields: For the highly sensitive fields; of keys derived from `key` if not given.

        Raises:
            VaultError: something already lies at `path`, or it can't be written.
        """
        check_length(key)
        if path.exists():
            raise VaultError(f"{path} already exists.")
        # An empty file of our own mode first: SQLite would make one that others can read, and gives the write-ahead
        # log and the shared memory the mode of the database.
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise storage_error(error, path) from error
        fields = fields or _own_fields(key)
        return cls._start(path, fields, lambda: _make(path, key, fields))

    @classmethod
    def in_memory(cls) -> "Database":
        """A database of its own that never touches the disk: for conversations that leave no trace."""
        key = secrets.token_bytes(KEY_BYTES)
        fields = _own_fields(key)

        def make() -> _Opened:
            connection = connect(MEMORY, key)
            _know_fields(connection, fields)
            migrate(connection, MEMORY)
            return _Opened(connection, None, "")

        return cls._start(MEMORY, fields, make)

    @classmethod
    def open(cls, path: Path, key: bytes, fields: FieldCipher | None = None, *, accept: bool = False) -> "Database":
        """Open an existing database, verify that it is the newest, and bring its schema up to date.

        Args:
            path: The file.
            key: The raw 32-byte database key.
            fields: As in `create`.
            accept: Take the files as they are for the newest.

        Raises:
            DatabaseDamaged: the file is missing, empty, damaged, or of another key.
            PlaintextDatabase: an unencrypted SQLite file lies there; it is not touched.
            VersionTooNew: a newer version of OpenClaw Core wrote it.
        """
        check_length(key)
        check_magic(path)
        fields = fields or _own_fields(key)
        return cls._start(path, fields, lambda: _open(path, key, fields, accept=accept))

    @classmethod
    def _start(cls, path: Path, fields: FieldCipher, open_it: Callable[[], _Opened]) -> "Database":
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vault")
        try:
            opened = worker.submit(guarded, open_it, path).result()
        except BaseException:
            worker.shutdown()
            raise
        return cls(opened, worker, path, fields)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run queries; they see one consistent state."""
        connection = self._connection

        def transaction() -> Result:
            connection.execute("BEGIN")
            with _rolled_back_on_error(connection):
                result = work(connection)
                connection.execute("COMMIT")
            return result

        return self._worker.submit(guarded, transaction, self._path).result()

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Run statements as one transaction: durable when this returns, undone when `work` raises.

        Raises:
            RolledBack: the files aren't those that were last written; nothing was changed.
            DiskFull: the disk is full; nothing of the transaction remains.
            DatabaseDamaged: SQLCipher found a page that isn't what it wrote.
            VaultError: anything else that SQLite refused.
        """
        if self.alarm:
            raise RolledBack(self.alarm, hint=ACCEPT)
        connection = self._connection

        def transaction() -> Result:
            with self._guard.writing(connection) if self._guard else contextlib.nullcontext():
                connection.execute("BEGIN IMMEDIATE")
                with _rolled_back_on_error(connection):
                    result = work(connection)
                    connection.execute("UPDATE vault_state SET epoch = epoch + 1")
                    connection.execute("COMMIT")
            return result

        try:
            return self._worker.submit(guarded, transaction, self._path).result()
        except RolledBack as error:
            self.alarm = error.message
            raise

    def integrity_errors(self) -> list[str]:
        """What `cipher_integrity_check` and `integrity_check` find; empty when the file is whole.

        The write-ahead log is folded in first: SQLCipher's check reads the main file only and would otherwise
        report pages that are merely not there yet.
        """

        def check() -> list[str]:
            if self._guard and not self.alarm:
                with self._guard.writing(self._connection):
                    self._guard.fold(self._connection, "TRUNCATE")
            found = [str(row[0]) for row in self._connection.execute("PRAGMA cipher_integrity_check").fetchall()]
            if found:
                return found  # SQLite's own check would stumble over those pages
            rows = self._connection.execute("PRAGMA integrity_check").fetchall()
            return [str(row[0]) for row in rows if row[0] != "ok"]

        return self._worker.submit(guarded, check, self._path).result()

    def close(self) -> None:
        """Close the connection; the write-ahead log is folded in where no other process uses it."""

        def close() -> None:
            try:
                if self._guard and not self.alarm:
                    with contextlib.suppress(VaultError):  # the database is whole without it
                        self._guard.settle(self._connection)
            finally:
                self._connection.close()
                if self._guard:
                    self._guard.close()

        try:
            self._worker.submit(guarded, close, self._path).result()
        finally:
            self._worker.shutdown()


@contextlib.contextmanager
def _rolled_back_on_error(connection: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlcipher3.Error):  # SQLite has rolled back by itself after a full disk
            connection.execute("ROLLBACK")
        raise


def _make(path: Path, key: bytes, fields: FieldCipher) -> _Opened:
    connection = connect(path, key)
    guard = None
    try:
        _know_fields(connection, fields)
        migrate(connection, path)
        guard = _guard(path, key)
        with guard.alone():
            guard.adopt(connection)
    except BaseException:
        connection.close()
        if guard:
            guard.close()
        raise
    return _Opened(connection, guard, "")


def _open(path: Path, key: bytes, fields: FieldCipher, *, accept: bool) -> _Opened:
    """Verify the files before anything may change them, then connect for writing.

    The first connection reads alone: closing it leaves even a write-ahead log as it was found.
    """
    probe = connect(path, key, read_only=True)
    connection: Connection | None = None
    guard: Guard | None = None
    try:
        version = schema_version(probe, path)
        anchored = anchor_path(path).exists()
        if not anchored and version >= FIRST_ANCHORED and not accept:
            _know_fields(probe, fields)
            return _Opened(
                probe, None, "The vault's anchor is missing, so nobody can say whether it is the newest."
            )
        guard = _guard(path, key)
        with guard.alone():
            finding = guard.finding(probe) if anchored and not accept else ""
            if finding:
                _know_fields(probe, fields)
                return _Opened(probe, guard, finding)
            connection = connect(path, key)
            probe.close()
            if accept:
                guard.accept(connection)
            elif not anchored:
                guard.adopt(connection)
            _know_fields(connection, fields)
            if version < newest_version():
                migrate(connection, path)
                guard.adopt(connection)
    except BaseException:
        for opened in (probe, connection, guard):
            if opened:
                opened.close()
        raise
    return _Opened(connection, guard, "")


def _guard(path: Path, key: bytes) -> Guard:
    return Guard(path, _subkey(key, "anchor"), _subkey(key, "pages"))


def _know_fields(connection: Connection, fields: FieldCipher) -> None:
    """Let migrations seal, and seal with the epoch that this database is in."""

    def seal_field(table: str, row: str, column: str, value: bytes) -> bytes:
        return fields.seal(table, row, column, HighlySensitive(value))

    connection.create_function("seal_field", 4, seal_field)
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'vault_state'").fetchone():
        row = connection.execute("SELECT field_epoch FROM vault_state").fetchone()
        if row:
            fields.epoch = int(row[0])


def _own_fields(key: bytes) -> FieldCipher:
    return FieldCipher(lambda use: _subkey(key, use), "")


def _subkey(key: bytes, use: str) -> bytes:
    # HKDF-Expand (RFC 5869, 2.3) alone: the key is uniform already.
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, b"openclaw-core/v1/database/" + use.encode()).derive(key)
