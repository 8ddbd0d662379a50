"""Rotation: a new master key, a database encrypted anew under it, and the same slots opening it.

Whoever learnt the old master key, from a stolen backup of the slots and a passphrase changed since, say, can't read
what is written after. The slots' own secrets stay: the new master key is sealed to each slot's public key.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from vault.connection import Connection
from vault.creation import DATABASE_USE
from vault.database import Database
from vault.errors import DatabaseDamaged
from vault.fields import FieldCipher
from vault.home import Home
from vault.inventory import TABLES, sealed_columns
from vault.keys import MasterKey
from vault.keyslots import Keyslots
from vault.mirror import Mirror
from vault.swap import Presence

__all__ = ["rotate"]

Progress = Callable[[str], None]


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
        VaultError: another program has the vault open, or a slot can't be sealed to; nothing was changed.
        DiskFull: there is no room for a second copy; nothing was changed.
        DatabaseDamaged: the copy isn't equal to the original; nothing was changed.
        KeychainError: the keychain holds the anchor's mirror, and didn't take the new one; nothing was changed.
    """
    fresh = MasterKey.generate(master.vault_id)
    with presence.alone():
        renewed = Keyslots.read(home.keyslots).rewrapped(master, fresh)  # alone: or a slot added now would be lost
        folder = presence.stage()
        copy = folder / home.database.name
        old = database.fields
        new = FieldCipher(fresh.derive, fresh.vault_id, old.epoch + 1)
        progress("encrypting anew")
        key = fresh.derive(DATABASE_USE)
        counts = database.alone(lambda connection: _export(connection, copy, key, old, new))
        progress("verifying")
        _verify(copy, key, new, counts)
        renewed.write(folder / home.keyslots.name)
        newest = database.newest()
        database.close()
        if mirror and newest:
            mirror.write(newest, also=mirror.of(fresh))
        presence.commit()
    return fresh


def _export(connection: Connection, copy: Path, key: bytes, old: FieldCipher, new: FieldCipher) -> dict[str, int]:
    """Copy everything into a new file under a new key; the rows of each table."""
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
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
            "UPDATE fresh.vault_state SET field_epoch = ?, rotated_ms = ?", (new.epoch, time.time_ns() // 1_000_000)
        )
        connection.execute("COMMIT")
        return _counts(connection, "main")
    finally:
        connection.execute("DETACH DATABASE fresh")


def _reseal(connection: Connection, table: str, column: str, old: FieldCipher, new: FieldCipher) -> None:
    key = TABLES[table].key
    names = ", ".join(key)
    where = " AND ".join(f"{name} = ?" for name in key)
    for *row, sealed in connection.execute(f"SELECT {names}, {column} FROM main.{table}").fetchall():
        place = "/".join(str(value) for value in row)
        value = old.open(table, place, column, sealed)
        connection.execute(
            f"UPDATE fresh.{table} SET {column} = ? WHERE {where}", (new.seal(table, place, column, value), *row)
        )


def _counts(connection: Connection, schema: str) -> dict[str, int]:
    counts = {}
    for table in TABLES:
        row = connection.execute(f"SELECT count(*) FROM {schema}.{table}").fetchone()
        counts[table] = int(row[0]) if row else 0
    return counts


def _verify(copy: Path, key: bytes, fields: FieldCipher, counts: dict[str, int]) -> None:
    """Open the copy as the next start will: its pages, its rows, its log's head, and its own anchor.

    Raises:
        DatabaseDamaged: it isn't equal to the original.
    """
    database = Database.open(copy, key, fields, accept=True)
    try:
        errors = database.integrity_errors()
        if errors or database.read(lambda connection: _counts(connection, "main")) != counts:
            raise DatabaseDamaged(
                f"The copy under the new key isn't equal to the original{': ' + errors[0] if errors else ''}.",
                hint="Nothing was changed. Check the disk, then `claw vault check`.",
            )
    finally:
        database.close()
