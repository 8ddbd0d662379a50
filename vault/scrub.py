"""Writing all pages of the vault anew, so that no unused part of one keeps a copy of what was erased.

`secure_delete` zeroes a row where it lies. But SQLite moves rows when pages are split and merged, and the bytes
they were moved from stay, in the unused part of an encrypted page: no query finds them, yet whoever has the key
could. `VACUUM` leaves nothing of that, but can't be used on the vault itself: nothing would count its commit, and
a process killed then would leave what looks like somebody else's pages (`vault.guard`). So a vacuumed copy is made,
encrypted with the same key; it is given the number of the next transaction; and SQLite's backup interface
(https://www.sqlite.org/backup.html) writes its pages over the vault's, as one transaction like any other.
"""

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from vault.connection import Connection
from vault.durable import at_work_in, make_private_folder, remove_abandoned, storage_error
from vault.errors import VaultError

__all__ = ["has_remains", "scrub"]

_FOLDER = ".scrub."
_STEP_PAGES = 1024
_BUSY_FOR_S = 10.0


def has_remains(connection: Connection) -> bool:
    """Whether something went since all pages were last written anew."""
    row = connection.execute("SELECT remains FROM vault_state").fetchone()
    return row is not None and bool(row[0])


def scrub(
    connection: Connection, reader: Connection, database: Path, before: bytes, go_on: Callable[[], None]
) -> None:
    """Write all pages anew, in one transaction.

    Args:
        connection: For writing, in no transaction, while no other process writes.
        reader: Another one to the same database, for reading alone.
        database: The file.
        before: What the transaction is to hold of the state before it.
        go_on: Called now and then; what it raises ends this, and nothing was changed.

    Raises:
        DiskFull: there is no room for the copy, or for the pages; nothing was changed.
        VaultError: another program keeps the database from being written; nothing was changed.
    """
    for abandoned in database.parent.glob(f"{_FOLDER}*"):
        remove_abandoned(abandoned)  # a copy of what may have been erased since
    folder = database.with_name(f"{_FOLDER}{secrets.token_hex(6)}.new")
    make_private_folder(folder)
    try:
        with at_work_in(folder):
            copy = folder / database.name
            _make_copy(connection, copy, before)
            go_on()
            reader.execute("ATTACH DATABASE ? AS clean", (f"{copy.as_uri()}?mode=ro",))
            try:
                reader.backup(connection, pages=_STEP_PAGES, name="clean", progress=_Progress(go_on))
            finally:
                reader.execute("DETACH DATABASE clean")
    except OSError as error:
        raise storage_error(error, folder) from error
    finally:
        remove_abandoned(folder)


def _make_copy(connection: Connection, copy: Path, before: bytes) -> None:
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    connection.execute("VACUUM INTO ?", (str(copy),))
    # Without a key of its own, what is attached has the database's.
    connection.execute("ATTACH DATABASE ? AS clean", (str(copy),))
    try:
        connection.execute("PRAGMA clean.journal_mode=MEMORY").fetchall()
        connection.execute("UPDATE clean.vault_state SET epoch = epoch + 1, before = ?, remains = 0", (before,))
    finally:
        connection.execute("DETACH DATABASE clean")


class _Progress:
    """Ends a backup that somebody wants ended, or that can't go on: sqlcipher3 would try for ever."""

    def __init__(self, go_on: Callable[[], None]) -> None:
        self._go_on = go_on
        self._remaining = -1
        self._give_up = 0.0

    def __call__(self, _status: int, remaining: int, _total: int) -> None:
        self._go_on()
        if remaining != self._remaining:
            self._remaining, self._give_up = remaining, time.monotonic() + _BUSY_FOR_S
        elif time.monotonic() > self._give_up:
            raise VaultError("Another program holds the vault's database.", hint="Close it and try again.")
