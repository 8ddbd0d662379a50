"""The transparency log as a file for other tools to verify. It isn't encrypted."""

from pathlib import Path
from typing import TYPE_CHECKING

from vault.errors import NotFound
from vault.portability.departure import Departure, Taken
from vault.portability.files import check_not_ours, staged_file

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["export_log"]


def export_log(vault: "Vault", file: Path) -> int:
    """Write the log to a new file. The last entry in it says that this was about to be done.

    Args:
        vault: Whose log.
        file: Where to.

    Returns:
        How many entries the file holds.

    Raises:
        NotFound: nothing was logged yet.
        VaultError: there is something already, or it can't be written; nothing of it is left.
        DiskFull: likewise.
    """
    from vault.log.entries import Action

    check_not_ours(file, vault.home)
    if not vault.log.entries(1):
        raise NotFound("Nothing was logged yet.")
    departure = Departure(vault, Action.EXPORT, "a copy of the log for others to verify, not encrypted")
    with departure, staged_file(file) as staged:
        departure.prepare("the transparency log")
        count = vault.log.export(staged)
        staged.sync()
        departure.finish(Taken(f"the transparency log: {count:,} records", count, staged.bytes, staged.sha256))
    return count
