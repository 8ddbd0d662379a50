"""How a database is opened: verified before anything may change it, and closed so that its anchor stays true.

SQLite folds the write-ahead log into the file when the last connection to it is closed, whatever the anchor says.
A second connection that only reads prevents that: it stays open until the anchor is known to be safe.
"""

import contextlib
import os
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import sqlcipher3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from vault.classes import HighlySensitive
from vault.connection import MEMORY, Connection, check_magic, connect
from vault.descriptors import Descriptors
from vault.durable import storage_error
from vault.errors import VaultError
from vault.fields import FieldCipher
from vault.guard import Guard, Newest, anchor_path
from vault.keys import KEY_BYTES
from vault.migrations import FIRST_ANCHORED, migrate, newest_version, schema_version

__all__ = ["Opened", "make", "make_in_memory", "open_verified", "own_fields"]


class Opened(NamedTuple):
    """A connection and what keeps its database honest.

    Attributes:
        connection: For everything.
        witness: Reads alone, and keeps SQLite from folding the log in when `connection` is closed.
        guard: Of the anchor; none for a database in memory.
        descriptors: What the guard reads the files with.
        alarm: What is wrong, when `connection` reads alone for that reason.
    """

    connection: Connection
    witness: Connection | None = None
    guard: Guard | None = None
    descriptors: Descriptors | None = None
    alarm: str = ""

    def close(self, *, settle: bool) -> None:
        """Close everything; the log is folded in if `settle`, and if no other process uses the database."""
        with contextlib.ExitStack() as closing:
            for part in (self.descriptors, self.guard, self.witness, self.connection):
                if part:
                    closing.callback(part.close)
            if settle and self.guard and self.witness:
                with (
                    contextlib.suppress(VaultError, OSError, sqlcipher3.Error),  # the database is whole without it
                    self.guard.closing(self.connection),
                ):
                    self.witness.close()
                    self.connection.close()


def make(path: Path, key: bytes, fields: FieldCipher) -> Opened:
    """Make a database and its anchor; errors as `Database.create` says."""
    if path.exists():
        raise VaultError(f"{path} already exists.")
    # An empty file of our own mode first: SQLite would make one that others can read, and gives the write-ahead
    # log and the shared memory the mode of the database.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise storage_error(error, path) from error
    with contextlib.ExitStack() as closing:
        descriptors = Descriptors(path)
        closing.callback(descriptors.close)
        connection = connect(path, key)
        closing.callback(connection.close)
        _know_fields(connection, fields)
        migrate(connection, path)
        guard = _guard(path, key, descriptors)
        closing.callback(guard.close)
        with guard.alone():
            guard.adopt(connection)
        witness = connect(path, key, read_only=True)
        closing.callback(witness.close)
        connection.execute("PRAGMA query_only=ON")
        closing.pop_all()
    return Opened(connection, witness, guard, descriptors)


def make_in_memory() -> tuple[FieldCipher, Callable[[], Opened]]:
    """The fields of a database in memory, and what makes it."""
    key = secrets.token_bytes(KEY_BYTES)
    fields = own_fields(key)

    def make() -> Opened:
        connection = connect(MEMORY, key)
        _know_fields(connection, fields)
        migrate(connection, MEMORY)
        connection.execute("PRAGMA query_only=ON")
        return Opened(connection)

    return fields, make


def open_verified(
    path: Path,
    key: bytes,
    fields: FieldCipher,
    at_least: Newest | None = None,
    *,
    accept: bool = False,
    anchored: bool = False,
) -> Opened:
    """Verify the files before anything may change them, then connect for writing; as `Database.open` says.

    The first connection reads alone: closing it leaves even a write-ahead log as it was found.
    """
    with contextlib.ExitStack() as closing:
        descriptors = Descriptors(path)
        closing.callback(descriptors.close)
        check_magic(path, descriptors)
        probe = connect(path, key, read_only=True)
        closing.callback(probe.close)
        anchored = anchored or schema_version(probe, path) >= FIRST_ANCHORED
        _know_fields(probe, fields)
        if anchored and not accept and not anchor_path(path).exists():
            closing.pop_all()
            missing = "The vault's anchor is missing, so nobody can say whether it is the newest."
            return Opened(probe, descriptors=descriptors, alarm=missing)
        guard = _guard(path, key, descriptors)
        closing.callback(guard.close)
        with guard.alone():
            version = schema_version(probe, path)  # another process may have migrated it until now
            # Of before there were anchors, perhaps killed while it got its first: there is nothing to compare.
            first = version < FIRST_ANCHORED and not (anchored or guard.begun or at_least)
            finding = "" if first or accept else guard.finding(probe, at_least)
            if finding:
                closing.pop_all()
                return Opened(probe, None, guard, descriptors, finding)
            connection = connect(path, key)
            closing.callback(connection.close)
            _know_fields(connection, fields)
            if first:
                guard.adopt(connection)
            if version < newest_version():
                migrate(connection, path, partial(guard.before_migration, connection))
                _know_fields(connection, fields)
            if accept:
                guard.accept(connection, at_least)
            elif version < newest_version():
                guard.adopt(connection)
            else:
                guard.renew(connection)
        connection.execute("PRAGMA query_only=ON")
        closing.pop_all()
    return Opened(connection, probe, guard, descriptors)


def own_fields(key: bytes) -> FieldCipher:
    """Fields of keys derived from the database's own."""
    return FieldCipher(lambda use: _subkey(key, use), "")


def _guard(path: Path, key: bytes, descriptors: Descriptors) -> Guard:
    return Guard(path, _subkey(key, "anchor"), _subkey(key, "pages"), descriptors)


def _know_fields(connection: Connection, fields: FieldCipher) -> None:
    """Let migrations seal, and seal with the epoch that this database is in."""

    def seal_field(table: str, row: str, column: str, value: bytes) -> bytes:
        return fields.seal(table, row, column, HighlySensitive(value))

    connection.create_function("seal_field", 4, seal_field)
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'vault_state'").fetchone():
        row = connection.execute("SELECT field_epoch FROM vault_state").fetchone()
        if row:
            fields.epoch = int(row[0])


def _subkey(key: bytes, use: str) -> bytes:
    # HKDF-Expand (RFC 5869, 2.3) alone: the key is uniform already.
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, b"openclaw-core/v1/database/" + use.encode()).derive(key)
