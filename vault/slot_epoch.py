"""Which `keyslots.json` is the newest: an older one, put back, would bring back a slot that was taken away."""

import contextlib
from pathlib import Path

from vault.connection import Connection
from vault.database import Database
from vault.errors import DiskFull, RolledBack
from vault.keys import MasterKey
from vault.keyslots import Keyslots

__all__ = ["check_newest", "newest_epoch", "remember_slots", "slots_finding"]


def slots_finding(keyslots: Path, master: MasterKey, database: Database, *, accept: bool = False) -> str:
    """What is wrong with the slots' file beside an open database; empty when it is the newest.

    Args:
        keyslots: The file.
        master: The key that the database opened with.
        database: What remembers the newest.
        accept: Take the file as it lies there for the newest.

    Raises:
        KeyslotsDamaged: the file can't be read, or isn't the one that this vault wrote.
    """
    slots = Keyslots.read(keyslots)
    slots.prove(master)
    known = database.read(newest_epoch)
    if slots.epoch < known and not accept:
        return (
            f"{keyslots.name} is older than the vault's newest: "
            "a passphrase, share or token that was taken away may open the vault again."
        )
    if slots.epoch != known:
        with contextlib.suppress(DiskFull):  # the next opening remembers it; it keeps nobody from reading
            database.write(lambda connection: _remember(connection, slots.epoch))
    return ""


def remember_slots(connection: Connection, keyslots: Path) -> None:
    """Remember the file that lies there, in the transaction that tells of its change.

    Raises:
        RolledBack: it is older than the newest.
    """
    slots = Keyslots.read(keyslots)
    check_newest(slots, newest_epoch(connection))
    _remember(connection, slots.epoch)


def newest_epoch(connection: Connection) -> int:
    """The epoch of the newest slots that the vault remembers."""
    row = connection.execute("SELECT slots_epoch FROM vault_state").fetchone()
    return int(row[0]) if row else 0


def check_newest(slots: Keyslots, newest: int) -> None:
    """Check that slots aren't older than the newest, before anything is made of them.

    Raises:
        RolledBack: they are.
    """
    if slots.epoch < newest:
        raise RolledBack(
            "keyslots.json is older than the vault's newest: it was put back while the vault was open.",
            hint="Put the newest copy in its place, or open the vault again and accept this one: claw vault accept",
        )


def _remember(connection: Connection, epoch: int) -> None:
    connection.execute("UPDATE vault_state SET slots_epoch = ?", (epoch,))
