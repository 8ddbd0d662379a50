"""Keeps the rollback anchor beside a database true, and says what is wrong when the two disagree."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vault.anchor import Anchor, AnchorRecord, LogHead
from vault.connection import Connection
from vault.errors import PlaintextDatabase, RolledBack, VaultError
from vault.pages import Pages

__all__ = ["ACCEPT", "Guard", "anchor_path"]

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


def anchor_path(database: Path) -> Path:
    """Where the anchor of a database lies."""
    return database.with_suffix(".anchor")


class Guard:
    """The anchor and the pages of one open database. Used by the database's thread alone.

    Args:
        database: The file.
        anchor_key: For the anchor's MACs.
        pages_key: For the fingerprint.
    """

    def __init__(self, database: Path, anchor_key: bytes, pages_key: bytes) -> None:
        self._database = database
        self._anchor = Anchor(anchor_path(database), anchor_key)
        try:
            self._pages = Pages(database, pages_key)
        except BaseException:
            self._anchor.close()
            raise
        self._record: AnchorRecord | None = None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other writers away."""
        with self._anchor.alone():
            yield

    def finding(self, connection: Connection) -> str:
        """What is wrong with the database as it lies there; empty when it is what was last written.

        Args:
            connection: One that has read from it; the caller holds `alone`.
        """
        record = self._anchor.newest()
        if record is None:
            return "The vault's anchor is missing or damaged, so nobody can say whether the vault is the newest."
        epoch, _ = _state(connection)
        if epoch < record.epoch:
            missing = record.epoch - epoch
            return _OLDER.format(
                f"the last {missing} changes are missing" if missing > 1 else "a change is missing"
            )
        if not (self._pages.scan(record.position) and self._anchor.proves(record, self._pages.fingerprint)):
            return _REPLACED
        self._pages.follow()
        self._record = record
        return ""

    def accept(self, connection: Connection) -> None:
        """Take the database for the newest, in an epoch that no earlier one reached; the caller holds `alone`."""
        record = self._anchor.newest()
        connection.execute("UPDATE vault_state SET epoch = 1 + max(epoch, ?)", (record.epoch if record else 0,))
        self.adopt(connection)

    def adopt(self, connection: Connection) -> None:
        """Take the database as it lies there for what it should be; the caller holds `alone`.

        Raises:
            PlaintextDatabase: SQLCipher wrote it unencrypted.
        """
        if not self._pages.encrypted:
            raise PlaintextDatabase(f"{self._database} was about to be written unencrypted; nothing was stored.")
        self._pages.scan(self._pages.current())
        self._write(connection, durable=True)

    @contextlib.contextmanager
    def writing(self, connection: Connection) -> Iterator[None]:
        """Surround one transaction that writes.

        Raises:
            RolledBack: the files were put back to an older state while they were open.
        """
        with self._anchor.alone():
            self._catch_up()
            yield
            # The transaction is durable, whatever becomes of the record: the database may be ahead of it.
            with contextlib.suppress(VaultError):
                self._pages.follow()
                self._write(connection)
                if self._pages.position.frames >= _LONG_LOG:
                    self.fold(connection)

    def fold(self, connection: Connection, mode: str = "PASSIVE") -> None:
        """Fold the log into the file, after the anchor is safe; the caller holds `alone`."""
        self._write(connection, durable=True)
        connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

    def settle(self, connection: Connection) -> None:
        """Make the anchor durable, before the connection is closed."""
        with self._anchor.alone():
            self._catch_up()
            self._write(connection, durable=True)

    def close(self) -> None:
        """Close the files; after the connection, whose locks would go with them."""
        self._pages.close()
        self._anchor.close()

    def _catch_up(self) -> None:
        """Take in what other processes wrote."""
        record = self._anchor.newest()
        if record is None:
            raise RolledBack("The vault's anchor disappeared while the vault was open.", hint=ACCEPT)
        if record != self._record:
            if not (self._pages.scan(record.position) and self._anchor.proves(record, self._pages.fingerprint)):
                raise RolledBack(_REPLACED, hint=ACCEPT)
            self._record = record
        self._pages.follow()

    def _write(self, connection: Connection, *, durable: bool = False) -> None:
        epoch, head = _state(connection)
        self._record = self._anchor.write(
            epoch, self._pages.position, head, self._pages.fingerprint, durable=durable
        )


def _state(connection: Connection) -> tuple[int, LogHead]:
    """The epoch and the log's head, as the database has them; zeros before there was an anchor."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'vault_state'").fetchone():
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
