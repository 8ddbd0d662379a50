"""Restoring an encrypted backup: as a new vault, or by adding what is missing to the one that is there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vault.classes import DataClass
from vault.connection import Connection
from vault.database import Database
from vault.errors import BackupRefused, ImportRefused, LogDamaged
from vault.portability.age import Opener
from vault.portability.age_passphrase import Passphrase
from vault.portability.files import open_plain
from vault.portability.merge import Merged, Merger
from vault.portability.progress import Progress, Steps
from vault.portability.staging import merge_staged, staging_database
from vault.portability.stream import Contents, StreamReader
from vault.portability.verify import verify_contents

if TYPE_CHECKING:
    from vault.log.entries import Entry
    from vault.store import Vault

__all__ = ["fill_from_backup", "merge_backup", "read_backup"]


def fill_from_backup(
    file: Path, opener: Opener, progress: Progress | None = None
) -> Callable[[Database], Contents]:
    """What fills the database of a vault that is being made (`Vault.create`) with a backup's contents.

    The log that comes with them says so from then on, and the person is told when they next look. A backup for a
    recipient's key can be written by anybody: rules in it that open something are left out, skills switched off.

    Args:
        file: The backup.
        opener: Decrypts it.
        progress: Told how far it is, from the database's thread.
    """

    def fill(database: Database) -> Contents:
        from vault.log.transparency import TransparencyLog

        contents = read_backup(database, file, opener, progress)
        sessions, messages = (contents.tables[table].rows for table in ("sessions", "messages"))
        entry = _entry("a vault made of a backup", sessions, messages)
        log = TransparencyLog(database)

        def note(connection: Connection) -> None:
            if not isinstance(opener, Passphrase):  # anybody can write a backup for a recipient's key
                _close_what_others_opened(connection)
            log.record(connection, entry)
            _tell(database, connection, contents)

        database.write(note)
        return contents

    return fill


def _close_what_others_opened(connection: Connection) -> None:
    """Remove the rules that open something, and switch off the skills and adapters that were agreed to."""
    connection.execute("DELETE FROM permissions WHERE decision != 'deny'")
    connection.execute("UPDATE skills SET enabled = 0")
    connection.execute("UPDATE skill_adapters SET active = 0")


def merge_backup(vault: "Vault", file: Path, opener: Opener, progress: Progress | None = None) -> Merged:
    """Add what a backup holds and the vault doesn't. What was erased since stays away.

    The log of the device that was backed up isn't put in place, so it isn't verified: this is the way for whoever
    has nothing but a backup of a vault whose log was damaged.

    Raises:
        ImportRefused, WrongPassphrase, BackupRefused, VersionTooNew: as `read_backup` says; nothing was changed.
    """
    database, steps = vault.database, Steps(progress)
    with staging_database(vault.home) as staged:
        contents = read_backup(staged, file, opener, progress, with_log=False)

        def work(connection: Connection) -> Merged:
            merger = Merger(connection, database.fields)
            merge_staged(staged, merger, steps)
            merged = merger.merged
            entry = _entry("adding what a backup holds", merged.added, merged.messages)
            vault.log.record(connection, entry)
            _tell(database, connection, contents)
            return merged

        with steps.end_with(database) as stop:
            return database.write(work, stop)


def read_backup(
    database: Database, file: Path, opener: Opener, progress: Progress | None = None, *, with_log: bool = True
) -> Contents:
    """Put everything that a backup holds into a database that nobody uses yet, and verify all of it.

    A backup for a recipient's key can be written by anybody: what is in it is believed no more than an export.

    Args:
        database: It is filled.
        file: The backup.
        opener: Decrypts it.
        progress: Told how far it is, from the database's thread.
        with_log: Whether the transparency log has to verify too.

    Raises:
        ImportRefused: it can't be read.
        WrongPassphrase: another passphrase opens it.
        BackupRefused: it isn't whole, or its contents don't hold together. Nothing was kept.
        VersionTooNew: a newer version of OpenClaw Core made it.
    """
    steps = Steps(progress)

    def read(connection: Connection) -> Contents:
        reader = StreamReader(connection, database.fields)
        try:
            with open_plain(file) as encrypted:
                size = os.fstat(encrypted.fileno()).st_size

                def take(data: bytes) -> None:
                    steps.tell("Restoring", encrypted.tell(), size)
                    reader.feed(data)

                opener.open(encrypted, take)
        except OSError as error:
            raise ImportRefused(f"The backup {file} can't be read: {error.strerror}.") from error
        contents = reader.finish()
        try:
            verify_contents(connection)
        except ImportRefused as error:
            raise BackupRefused(f"The backup doesn't hold together. {error.message}") from None
        if with_log:
            _verify_log(database, connection)
        return contents

    with steps.end_with(database) as stop:
        contents = database.write(read, stop)
    if errors := database.integrity_errors():
        raise BackupRefused(f"What was restored can't be read back: {errors[0]}.", hint="Check the disk.")
    return contents


def _verify_log(database: Database, connection: Connection) -> None:
    from vault.log.transparency import TransparencyLog

    try:
        TransparencyLog(database).verify_alone(connection)
    except LogDamaged as error:
        raise BackupRefused(
            f"The transparency log in the backup doesn't verify. {error.message}",
            hint="Nothing was changed. `claw vault init`, then `claw vault restore --merge`, takes the rest of it.",
        ) from None


def _entry(purpose: str, sessions: int, messages: int) -> "Entry":
    from vault.log.entries import Action, Entry

    return Entry(
        action=Action.RESTORE,
        purpose=purpose,
        data_class=DataClass.HIGHLY_SENSITIVE,
        description=f"{sessions:,} conversations, {messages:,} messages",
        sensitive=True,
    )


def _tell(database: Database, connection: Connection, contents: Contents) -> None:
    from vault.notifications import Notifications, Restored

    Notifications(database).raise_(Restored(contents.made_ms), connection)
