"""The transparency log as a file for other tools to verify. It isn't encrypted."""

from pathlib import Path
from typing import TYPE_CHECKING

from vault.portability.departure import Departure, record_departure
from vault.portability.files import check_not_ours, staged_file

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["export_log"]


def export_log(vault: "Vault", file: Path) -> int:
    """Write the log to a new file. That this was done is logged as well, behind what the file holds.

    Args:
        vault: Whose log.
        file: Where to.

    Returns:
        How many entries the file holds.

    Raises:
        NotFound: nothing was logged yet.
        RolledBack: the vault is open for reading alone, so that it couldn't be logged.
        VaultError: there is something already, or it can't be written; nothing of it is left.
        DiskFull: likewise.
    """
    from vault.log.entries import Action

    check_not_ours(file, vault.home)
    with staged_file(file) as staged:
        count = vault.log.export(staged)
        staged.sync()
        purpose = "a copy of the log for others to verify, not encrypted"
        departure = Departure(purpose, count, staged.bytes, staged.sha256, what="the transparency log")
        record_departure(vault, Action.EXPORT, departure)
    return count
