"""Keeps the rollback anchor beside a database true, and says what is wrong when the two disagree."""

import contextlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import sqlcipher3

from vault.anchor import Anchor, AnchorRecord, LogHead
from vault.connection import Connection
from vault.descriptors import Descriptors
from vault.durable import storage_error, sync_folder
from vault.errors import PlaintextDatabase, RolledBack, VaultError
from vault.migrations import FIRST_ANCHORED
from vault.pages import Pages

__all__ = ["ACCEPT", "Guard", "Newest", "anchor_path"]

ACCEPT = (
    "Nothing was changed, and the vault opens for reading alone. If you put older files there yourself, "
    "`claw vault accept` takes them as they are; otherwise restore your newest backup."
)
_LONG_LOG = 1000
"""Frames after which the write-ahead log is folded into the file."""

_OLDER = "The vault is older than what was last written here: {}."
_REPLACED = (
    "A part of the vault's file is older than the rest of it, or was altered: it isn't what was last written."
)
_ADDED = "The vault's write-ahead log holds pages that this vault didn't put there."


class Newest(NamedTuple):
    """What is remembered of the newest state.

    Attributes:
        epoch: As in the anchor.
        log: Head of the transparency log.
        state: MAC of all pages then; empty where that isn't known.
        ours: Whether this vault's key wrote it; if not, the rest says nothing.
    """

    epoch: int
    log: LogHead
    state: bytes = b""
    ours: bool = True


def anchor_path(database: Path) -> Path:
    """Where the anchor of a database lies."""
    return database.with_suffix(".anchor")


class Guard:
    """The anchor and the pages of one open database. Used by the database's thread alone.

    Args:
        database: The file.
        anchor_key: For the anchor's MACs.
        pages_key: For the fingerprint.
        descriptors: To read the files with.
    """

    def __init__(self, database: Path, anchor_key: bytes, pages_key: bytes, descriptors: Descriptors) -> None:
        self._database = database
        self._pages = Pages(database, pages_key, descriptors)
        self._anchor = Anchor(anchor_path(database), anchor_key)
        self._epoch = 0  # of the database at the pages' position
        self.record: AnchorRecord | None = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other writers away."""
        with self._anchor.alone():
            yield

    @property
    def begun(self) -> bool:
        """Whether the anchor was ever told of a transaction; not while the schema is older than anchors are."""
        record = self._anchor.newest()
        return record is not None and record.epoch > 0

    def finding(self, connection: Connection, at_least: Newest | None = None) -> str:
        """What is wrong with the database as it lies there; empty when it is what was last written.

        Args:
            connection: One that has read from it; the caller holds `alone`.
            at_least: What is known from elsewhere of the newest state.
        """
        record = self._anchor.newest()
        if record is None:
            return "The vault's anchor is missing or damaged, so nobody can say whether the vault is the newest."
        if at_least and not at_least.ours:
            return (
                "The keychain remembers this vault under another key: these files are older than its last "
                "rotation, or the keychain's item was altered."
            )
        epoch, _ = _state(connection)
        newest = max(record.epoch, at_least.epoch if at_least else 0)
        if epoch < newest:
            missing = newest - epoch
            return _OLDER.format(
                f"the last {missing} changes are missing" if missing > 1 else "a change is missing"
            )
        if not self._agrees(record):
            return _REPLACED
        if at_least and not _holds(connection, at_least.log):
            return "The transparency log isn't the one that the keychain remembers: it was cut or rewritten."
        if not self._follows(connection, record.epoch, epoch):
            return _ADDED
        if at_least and at_least.state and at_least.epoch == epoch and at_least.state != self._state_mac(epoch):
            return _REPLACED
        self.record, self._epoch = record, epoch
        return ""

    def accept(self, connection: Connection, at_least: Newest | None = None) -> None:
        """Take the database for the newest, in an epoch that no earlier one reached; the caller holds `alone`."""
        record = self._anchor.newest()
        reached = max(record.epoch if record else 0, at_least.epoch if at_least else 0)
        connection.execute("UPDATE vault_state SET epoch = 1 + max(epoch, ?)", (reached,))
        self.adopt(connection)

    def adopt(self, connection: Connection) -> None:
        """Take the database as it lies there for what it should be; the caller holds `alone`.

        Raises:
            PlaintextDatabase: SQLCipher wrote it unencrypted.
        """
        if not self._pages.encrypted:
            raise PlaintextDatabase(f"{self._database} was about to be written unencrypted; nothing was stored.")
        self._anchor.newest()
        self._pages.scan(self._pages.current())
        self._write(connection)
        try:
            sync_folder(self._database.parent)
        except OSError as error:
            raise storage_error(error, self._database.parent) from error

    def renew(self, connection: Connection) -> None:
        """Take in what a crash left that the anchor doesn't know of; the caller holds `alone`."""
        frames, position = self._pages.position.frames, self.record and self.record.position
        if frames and self._pages.position != position:
            with contextlib.suppress(VaultError):  # the database may be ahead
                self._write(connection)

    @contextlib.contextmanager
    def writing(self, connection: Connection) -> Iterator[None]:
        """Surround one transaction that writes.

        Raises:
            RolledBack: the files were put back to an older state while they were open.
        """
        with self._anchor.alone():
            self._catch_up(connection)
            log = self._pages.position.salts
            yield
            # The transaction is durable, whatever becomes of the record: the database may be ahead of it.
            with contextlib.suppress(VaultError, OSError, sqlcipher3.Error):
                self._write(connection)
                if self._pages.position.salts != log:  # SQLite passes over it when a new log's name can't be synced
                    sync_folder(self._database.parent)
                if self._pages.position.frames >= _LONG_LOG:
                    self.fold(connection)

    def fold(self, connection: Connection, mode: str = "PASSIVE") -> None:
        """Fold the log into the file, after the anchor is safe; the caller holds `alone`."""
        self._write(connection)
        connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

    @contextlib.contextmanager
    def closing(self, connection: Connection) -> Iterator[None]:
        """Surround the closing of a connection, which may fold the log into the file, with a safe anchor.

        Raises:
            VaultError, sqlcipher3.Error: the anchor isn't safe, and nothing may be folded.
        """
        with self._anchor.alone():
            self._catch_up(connection)
            if self._pages.position.frames:  # else there is nothing to fold, and the anchor is safe already
                self._write(connection)
            yield

    def close(self) -> None:
        """Close the anchor."""
        self._anchor.close()

    def _catch_up(self, connection: Connection) -> None:
        """Take in what other processes wrote."""
        if not self._pages.in_place:
            raise VaultError("The vault was taken away while it was open.", hint="Start again.")
        record = self._anchor.newest()
        if record is None:
            raise RolledBack("The vault's anchor disappeared while the vault was open.", hint=ACCEPT)
        row = connection.execute("SELECT epoch FROM vault_state").fetchone()  # mends SQLite's index after a crash
        epoch = int(row[0]) if row else 0
        if record != self.record:
            if not self._agrees(record):
                raise RolledBack(_REPLACED, hint=ACCEPT)
            self.record, self._epoch = record, record.epoch
        if not self._follows(connection, self._epoch, epoch):
            raise RolledBack(_ADDED, hint=ACCEPT)
        self._epoch = epoch

    def _agrees(self, record: AnchorRecord) -> bool:
        return any(
            compute(record.position) and self._anchor.proves(record, self._pages.fingerprint)
            for compute in (self._pages.advance, self._pages.scan)
        )

    def _follows(self, connection: Connection, known: int, epoch: int) -> bool:
        """Bring the fingerprint up to date; whether what was committed since is ours.

        Each transaction of ours counts one up: an old page that is brought in as a new one doesn't. Each also holds
        a MAC of all pages before it, so that nothing can be taken out of those before the last. Frames that change
        nothing are a log that was folded in long ago, and that a power cut brought back.
        """
        known_pages = self._pages.fingerprint
        commits, before_last = self._pages.follow()
        if self._pages.fingerprint == known_pages:
            return True
        row = connection.execute("SELECT before FROM vault_state").fetchone()
        expected = self._anchor.state_mac(epoch - 1, before_last)
        return known + commits == epoch and row is not None and hmac.compare_digest(bytes(row[0]), expected)

    @property
    def before(self) -> bytes:
        """What the next transaction is to hold of the state before it; within `writing`."""
        return self._state_mac(self._epoch)

    def before_migration(self, connection: Connection) -> bytes:
        """The same for a transaction that changes the schema, within it; the caller holds `alone`."""
        self._pages.follow()
        return self._state_mac(_state(connection)[0])

    @property
    def newest(self) -> Newest | None:
        """The state that the anchor was last told of."""
        if self.record is None:
            return None
        return Newest(self.record.epoch, self.record.log, self._state_mac(self.record.epoch))

    def _state_mac(self, epoch: int) -> bytes:
        return self._anchor.state_mac(epoch, self._pages.fingerprint)

    def _write(self, connection: Connection) -> None:
        epoch, head = _state(connection)
        self._pages.follow()
        self._epoch = epoch
        self.record = self._anchor.write(epoch, self._pages.position, head, self._pages.fingerprint)


def _holds(connection: Connection, log: LogHead) -> bool:
    """Whether the log has, or once had, this head."""
    if not log.size:
        return True
    row = connection.execute("SELECT root FROM log_entries WHERE seq = ?", (log.size - 1,)).fetchone()
    return row is not None and bytes(row[0]) == log.root


def _state(connection: Connection) -> tuple[int, LogHead]:
    """The epoch and the log's head, as the database has them; zeros before there was an anchor."""
    version = connection.execute("PRAGMA user_version").fetchone()
    if version is None or version[0] < FIRST_ANCHORED:
        return 0, LogHead(0, bytes(32))
    row = connection.execute(
        """
        SELECT epoch, coalesce((SELECT size FROM log_state), 0),
               (SELECT root FROM log_entries WHERE seq = (SELECT size FROM log_state) - 1)
        FROM vault_state
        """
    ).fetchone()
    if row is None:
        return 0, LogHead(0, bytes(32))
    return int(row[0]), LogHead(int(row[1]), row[2] or bytes(32))
