"""Rotation: a new master key, a database encrypted anew under it, and the same slots opening it.

Whoever learnt the old master key, from a stolen backup of the slots and a passphrase changed since, say, can't read
what is written after. The slots' own secrets stay: the new master key is sealed to each slot's public key.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vault.connection import Connection, SqlValue
from vault.creation import DATABASE_USE
from vault.database import UNLOCK, Database
from vault.durable import storage_error
from vault.errors import DatabaseDamaged, Locked, VaultError
from vault.fields import FieldCipher
from vault.home import Home
from vault.inventory import TABLES, sealed_columns
from vault.keys import MasterKey
from vault.keyslots import Keyslots
from vault.mirror import Mirror
from vault.scrub import remove_copies
from vault.slot_epoch import check_newest, newest_epoch
from vault.swap import Presence

__all__ = ["rotate"]

Progress = Callable[[str], None]
_Content = tuple[dict[str, int], tuple[SqlValue, ...] | None]
"""The rows of each table, and the head of the log."""


def rotate(
    home: Home,
    master: MasterKey,
    database: Database,
    presence: Presence,
    mirror: Mirror | None,
    progress: Progress,
) -> MasterKey:
    """Make the new vault beside the old one, verify it, and put it in its place.

    Args:
        home: Where the vault lies.
        master: Its key now.
        database: Its database; closed when this returns.
        presence: Ours.
        mirror: Of the anchor, in the keychain.
        progress: Told each step, in a word or two.

    Returns:
        The new master key.

    Raises:
        VaultError: another program has the vault open, this one wrote meanwhile, or a slot can't be sealed to;
            nothing was changed.
        Locked: the vault was locked meanwhile; nothing was changed.
        RolledBack: the key slots are older than the vault's newest; nothing was changed.
        DiskFull: there is no room for a second copy; nothing was changed.
        DatabaseDamaged: the copy isn't equal to the original; nothing was changed.
        KeychainError: the keychain holds the anchor's mirror, and didn't take the new one; nothing was changed.
    """
    fresh = MasterKey.generate(master.vault_id)
    with presence.alone():
        slots = Keyslots.read(home.keyslots)  # alone: or a slot added now would be lost
        check_newest(slots, database.read(newest_epoch))
        renewed = slots.rewrapped(master, fresh)
        remove_copies(home.database)
        with presence.staging() as folder:
            copy = folder / home.database.name
            old = database.fields
            new = FieldCipher(fresh.derive, fresh.vault_id, old.epoch + 1)
            progress("encrypting anew")
            key = fresh.derive(DATABASE_USE)
            content, exported = database.alone(lambda c: (_export(c, copy, key, old, new), database.newest()))
            progress("verifying")
            _verify(copy, key, new, content)
            if copy.with_name(f"{copy.name}-wal").exists():  # the swap leaves it behind
                raise VaultError("The copy under the new key could not be completed.", hint="Check the disk.")
            renewed.write(folder / home.keyslots.name)
            database.close()
            newest = database.newest()
            if newest is None or exported is None or newest.epoch != exported.epoch:
                raise VaultError("The vault was written to while its keys were renewed.", hint="Try again.")
            if presence.leaving:  # it isn't for us to decide under which key a locked vault lies
                raise Locked(
                    "The vault was locked while its keys were renewed; they are the old ones.", hint=UNLOCK
                )
            if mirror:
                mirror.write(newest, also=mirror.of(fresh))
            presence.commit()
    return fresh


def _export(connection: Connection, copy: Path, key: bytes, old: FieldCipher, new: FieldCipher) -> "_Content":
    """Copy everything into a new file under a new key; what the copy has to hold."""
    try:
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise storage_error(error, copy) from error
    connection.execute("ATTACH DATABASE ? AS fresh KEY ?", (str(copy), f"x'{key.hex()}'"))
    try:
        connection.execute("SELECT sqlcipher_export('fresh')").fetchall()
        for pragma in ("user_version", "application_id"):
            row = connection.execute(f"PRAGMA main.{pragma}").fetchone()
            connection.execute(f"PRAGMA fresh.{pragma}={row[0] if row else 0}")
        connection.execute("BEGIN")
        for table in TABLES:
            for column in sealed_columns(table):
                _reseal(connection, table, column, old, new)
        connection.execute(
            "UPDATE fresh.vault_state SET field_epoch = ?, rotated_ms = ?, remains = 0",
            (new.epoch, time.time_ns() // 1_000_000),
        )
        connection.execute("COMMIT")
        return _content(connection)
    finally:
        connection.execute("DETACH DATABASE fresh")


def _reseal(connection: Connection, table: str, column: str, old: FieldCipher, new: FieldCipher) -> None:
    where = " AND ".join(f"{name} = ?" for name in TABLES[table].key)
    for row, place, sealed in _sealed(connection, table, column):
        value = old.open(table, place, column, sealed)
        connection.execute(
            f"UPDATE fresh.{table} SET {column} = ? WHERE {where}", (new.seal(table, place, column, value), *row)
        )


def _sealed(connection: Connection, table: str, column: str) -> "Iterator[tuple[list[SqlValue], str, bytes]]":
    """The key of each row, its place as the cipher binds it, and what is sealed there."""
    names = ", ".join(TABLES[table].key)
    for *row, sealed in connection.execute(f"SELECT {names}, {column} FROM main.{table}").fetchall():
        yield row, "/".join(str(value) for value in row), bytes(sealed)


def _content(connection: Connection) -> _Content:
    head = connection.execute(
        "SELECT size, (SELECT root FROM main.log_entries WHERE seq = size - 1) FROM main.log_state"
    ).fetchone()
    return _counts(connection), head


def _open_all(connection: Connection, fields: FieldCipher) -> None:
    for table in TABLES:
        for column in sealed_columns(table):
            for _row, place, sealed in _sealed(connection, table, column):
                fields.open(table, place, column, sealed)


def _counts(connection: Connection) -> dict[str, int]:
    counts = {}
    for table in TABLES:
        row = connection.execute(f"SELECT count(*) FROM main.{table}").fetchone()
        counts[table] = int(row[0]) if row else 0
    return counts


def _verify(copy: Path, key: bytes, fields: FieldCipher, content: _Content) -> None:
    """Open the copy as the next start will: its pages, rows, sealed fields, its log's head, and its own anchor.

    Raises:
        DatabaseDamaged: it isn't equal to the original.
    """
    database = Database.open(copy, key, fields, accept=True)
    try:
        errors = database.integrity_errors()
        if errors or database.read(_content) != content:
            raise DatabaseDamaged(
                f"The copy under the new key isn't equal to the original{': ' + errors[0] if errors else ''}.",
                hint="Nothing was changed. Check the disk, then `claw vault check`.",
            )
        database.read(lambda connection: _open_all(connection, fields))
    finally:
        database.close()
