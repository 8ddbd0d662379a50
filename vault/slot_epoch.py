"""Which `keyslots.json` is the newest: an older one, put back, would bring back a slot that was taken away."""

from pathlib import Path

from vault.connection import Connection
from vault.database import Database
from vault.keys import MasterKey
from vault.keyslots import Keyslots

__all__ = ["remember_slots", "slots_finding"]


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
    row = database.read(lambda c: c.execute("SELECT slots_epoch FROM vault_state").fetchone())
    known = int(row[0]) if row else 0
    if slots.epoch < known and not accept:
        return (
            f"{keyslots.name} is older than the vault's newest: "
            "a passphrase, share or token that was taken away may open the vault again."
        )
    if slots.epoch != known:
        database.write(lambda connection: _remember(connection, slots.epoch))
    return ""


def remember_slots(connection: Connection, keyslots: Path) -> None:
    """Remember the file that lies there, in the transaction that tells of its change."""
    _remember(connection, Keyslots.read(keyslots).epoch)


def _remember(connection: Connection, epoch: int) -> None:
    connection.execute("UPDATE vault_state SET slots_epoch = ?", (epoch,))
