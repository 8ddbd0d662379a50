"""Writing all pages of the vault anew, so that no unused part of one keeps a copy of what was erased.

`secure_delete` zeroes a row where it lies. But SQLite moves rows when pages are split and merged, and the bytes
they were moved from stay, in the unused part of an encrypted page: no query finds them, yet whoever has the key
could. `VACUUM` leaves nothing of that, but can't be used on the vault itself: nothing would count its commit, and
a process killed then would leave what looks like somebody else's pages (`vault.guard`). So a vacuumed copy is made,
encrypted with the same key; it is given the number of the next transaction; and SQLite's backup interface
(https://www.sqlite.org/backup.html) writes its pages over the vault's, as one transaction like any other.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vault.connection import Connection
from vault.durable import at_work_in, make_private_folder, remove_abandoned, storage_error
from vault.errors import InUse

__all__ = ["copy_into", "epoch_of", "has_remains", "remove_copies", "staging", "write_over"]

_FOLDER = ".scrub."
_STEP_PAGES = 1024
_BUSY_FOR_S = 10.0


def has_remains(connection: Connection) -> bool:
    """Whether something went since all pages were last written anew."""
    row = connection.execute("SELECT remains FROM vault_state").fetchone()
    return row is not None and bool(row[0])


def epoch_of(connection: Connection) -> int:
    """How many transactions have changed the vault."""
    row = connection.execute("SELECT epoch FROM vault_state").fetchone()
    return int(row[0]) if row else 0


def remove_copies(database: Path) -> None:
    """Remove copies that a crash left behind; what somebody is at work on stays."""
    for abandoned in database.parent.glob(f"{_FOLDER}*"):
        remove_abandoned(abandoned)


@contextlib.contextmanager
def staging(database: Path) -> Iterator[Path]:
    """Where the copy of a database is to lie; gone in the end. Begun while nobody else begins one."""
    remove_copies(database)
    folder = database.with_name(f"{_FOLDER}{secrets.token_hex(6)}.new")
    make_private_folder(folder)
    try:
        with at_work_in(folder):
            yield folder / database.name
    except OSError as error:
        raise storage_error(error, folder) from error
    finally:
        remove_abandoned(folder)


def copy_into(copy: Path, connection: Connection) -> int:
    """Make a copy of all that is in use of a database, with its key.

    Args:
        copy: Where it is to lie; one that lies there is replaced.
        connection: To the database, in no transaction.

    Returns:
        The epoch that it is of.
    """
    copy.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    connection.execute("VACUUM INTO ?", (str(copy),))
    with _attached(connection, str(copy)):
        row = connection.execute("SELECT epoch FROM clean.vault_state").fetchone()
    return int(row[0]) if row else 0


def write_over(
    connection: Connection, copy: Path, reader: Connection, before: bytes, go_on: Callable[[], None]
) -> None:
    """Write a copy's pages over the database's, in one transaction.

    Args:
        connection: To the database, in no transaction, while no other process writes.
        copy: Of its newest state.
        reader: Another connection to the database, for reading alone.
        before: What the transaction is to hold of the state before it.
        go_on: Called now and then; what it raises ends this, and nothing was changed.

    Raises:
        InUse: another program keeps the database from being written; nothing was changed.
    """
    with _attached(connection, str(copy)):
        connection.execute("PRAGMA clean.journal_mode=MEMORY").fetchall()
        connection.execute("UPDATE clean.vault_state SET epoch = epoch + 1, before = ?, remains = 0", (before,))
    with _attached(reader, f"{copy.as_uri()}?mode=ro"):
        reader.backup(connection, pages=_STEP_PAGES, name="clean", progress=_Progress(go_on))


@contextlib.contextmanager
def _attached(connection: Connection, copy: str) -> Iterator[None]:
    # Without a key of its own, what is attached has the database's.
    connection.execute("ATTACH DATABASE ? AS clean", (copy,))
    try:
        yield
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
            raise InUse("Another program holds the vault's database.", hint="Close it and try again.")
