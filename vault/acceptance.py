"""Taking a vault for the newest though its rollback anchor disagrees, because a person said so."""

from typing import TYPE_CHECKING

from vault.classes import DataClass
from vault.connection import Connection
from vault.errors import LogDamaged
from vault.log.entries import Action, Entry
from vault.notifications import RollbackAccepted

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["note_acceptance"]


def note_acceptance(vault: "Vault", finding: str) -> bool:
    """Log it, and have the person told of it wherever they look next.

    Args:
        vault: As it was accepted, open for writing.
        finding: What was wrong with it.

    Returns:
        Whether the transparency log took it: one that was damaged takes nothing.
    """
    entry = Entry(
        action=Action.ACCEPT,
        purpose="the person's wish",
        data_class=DataClass.HIGHLY_SENSITIVE,
        description=f"taken for the newest, though: {finding}",
    )

    def note(connection: Connection) -> bool:
        vault.notifications.raise_(RollbackAccepted(finding), connection)
        try:
            vault.log.record(connection, entry)
        except LogDamaged:  # raised before anything is written
            return False
        return True

    return vault.database.write(note)
