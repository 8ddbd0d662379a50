"""What is written down of a change of the slots: in the transparency log before and after, and for the person."""

from pathlib import Path
from typing import NamedTuple, Protocol

from vault.classes import DataClass
from vault.connection import Connection
from vault.database import Database
from vault.log.entries import Action, Entry, Status
from vault.log.transparency import TransparencyLog
from vault.notifications import Notifications, SlotsChanged
from vault.slot_epoch import newest_epoch, remember_slots

__all__ = ["Journal", "SlotChange", "VaultJournal"]


class SlotChange(NamedTuple):
    """A way into the vault that is added or removed.

    Attributes:
        slot: Kind and id.
        added: Whether it comes; else it goes.
    """

    slot: str
    added: bool


class Journal(Protocol):
    """Where changes are written down."""

    def newest(self) -> int:
        """The epoch of the newest slots that is known."""
        ...

    def begin(self, change: SlotChange) -> int:
        """Note that a change is about to be made; returns its number."""
        ...

    def end(self, number: int, change: SlotChange, *, done: bool) -> None:
        """Note what became of it."""
        ...


class VaultJournal:
    """The journal of an open vault.

    Args:
        database: The vault's.
        log: The vault's.
        keyslots: The file that changes; the vault remembers which is the newest.
    """

    def __init__(self, database: Database, log: TransparencyLog, keyslots: Path) -> None:
        self._keyslots = keyslots
        self._database = database
        self._log = log

    def newest(self) -> int:
        """The epoch that the vault remembers."""
        return self._database.read(newest_epoch)

    def begin(self, change: SlotChange) -> int:
        """Log that a change is about to be made: one that a crash interrupts is in the log."""
        return self._log.append(_entry(change, Status.PREPARED))

    def end(self, number: int, change: SlotChange, *, done: bool) -> None:
        """Log what became of it, and tell the person."""

        def note(connection: Connection) -> None:
            self._log.record(connection, _entry(change, Status.DONE if done else Status.REFUSED, number))
            if done:
                remember_slots(connection, self._keyslots)
                told = SlotsChanged(added=(change.slot,)) if change.added else SlotsChanged(removed=(change.slot,))
                Notifications(self._database).raise_(told, connection)

        self._database.write(note)


def _entry(change: SlotChange, status: Status, about: int | None = None) -> Entry:
    return Entry(
        action=Action.SLOT,
        purpose="opening the vault",
        data_class=DataClass.TOP_SECRET,
        description=f"{change.slot} {'added' if change.added else 'removed'}",
        status=status,
        about=about,
    )
