"""Taking a vault for the newest though its rollback anchor disagrees, because a person said so."""

from typing import TYPE_CHECKING

from vault.classes import DataClass
from vault.connection import Connection
from vault.errors import LogDamaged
from vault.keys import MasterKey
from vault.log.entries import Action, Entry
from vault.notifications import RollbackAccepted

if TYPE_CHECKING:
    from vault.keychain import Keychain
    from vault.store import Vault

__all__ = ["accept"]


def accept(vault: "Vault", master: MasterKey, keychain: "Keychain | None") -> "Vault":
    """Close a vault that has an alarm, and open it for writing, as it lies there.

    Args:
        vault: The vault.
        master: Its key.
        keychain: Where its anchor is mirrored, if anywhere.

    Returns:
        The vault as it was accepted; that is logged, and the person told wherever they look next.
    """
    finding, slot_id = vault.alarm, vault.slot_id
    copy = MasterKey(master.expose(), master.vault_id)
    vault.close()
    accepted = type(vault).open_with_master(vault.home, copy, vault.opened_by, keychain=keychain, accept=True)
    accepted.slot_id = slot_id
    try:
        _note(accepted, finding)
    except BaseException:
        accepted.close()
        raise
    return accepted


def _note(vault: "Vault", finding: str) -> None:
    entry = Entry(
        action=Action.ACCEPT,
        purpose="the person's wish",
        data_class=DataClass.HIGHLY_SENSITIVE,
        description=f"taken for the newest, though: {finding}",
    )

    def note(connection: Connection) -> None:
        vault.notifications.raise_(RollbackAccepted(finding), connection)
        try:
            vault.log.record(connection, entry)
        except LogDamaged:  # raised before anything is written; the notification tells it all the same
            return

    vault.database.write(note)
