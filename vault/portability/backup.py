"""Encrypted backups: everything that the vault holds and its keys don't, of one moment, in one file."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vault.connection import Connection
from vault.portability.age import Sealer
from vault.portability.departure import Departure, Taken
from vault.portability.files import StagedFile, check_not_ours, check_replaceable, staged_file
from vault.portability.progress import Progress, Steps
from vault.portability.stream import StreamWriter

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["BackedUp", "back_up"]


class BackedUp(NamedTuple):
    """What was written.

    Attributes:
        rows: Of all tables.
        bytes: Of the file.
        sha256: Of the file, in hex.
    """

    rows: int
    bytes: int
    sha256: str


def back_up(
    vault: "Vault", file: Path, sealer: Sealer, *, replace: bool = False, progress: Progress | None = None
) -> BackedUp:
    """Write a backup. The plaintext never touches the disk, and memory doesn't grow with the vault.

    Args:
        vault: To be backed up.
        file: Where to.
        sealer: Encrypts it.
        replace: Whether a backup that is there may go.
        progress: Told how far it is, from the database's thread.

    Raises:
        VaultError: something is there, the place is the vault's own, or can't be written; nothing of it is left.
        DiskFull: likewise.
    """
    from vault.log.entries import Action

    check_not_ours(file, vault.home)
    if replace:
        check_replaceable(file)
    database, steps = vault.database, Steps(progress)

    def write(connection: Connection, staged: StagedFile) -> int:
        stream = StreamWriter(connection, database.fields, version("openclaw-core"), steps)
        sealer.seal(stream.lines(), staged)
        return stream.rows

    purpose = "a copy of the vault, to restore it from"
    departure = Departure(vault, Action.BACKUP, purpose, encryption=sealer.described)
    with departure, staged_file(file, replace=replace) as staged:
        departure.prepare("everything")
        with steps.end_with(database) as stop:
            rows = database.read(lambda connection: write(connection, staged), stop)
        staged.sync()
        done = BackedUp(rows, staged.bytes, staged.sha256)
        departure.finish(Taken(f"everything: {rows:,} records", *done))
    return done
