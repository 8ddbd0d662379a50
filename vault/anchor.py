"""The rollback anchor: what the newest state of the vault is, kept outside the file that it is about.

`vault.anchor` beside the database holds the epoch (transactions that wrote), the head of the transparency log, and
a MAC of the fingerprint of all pages (`vault.pages`). A transaction is durable in the write-ahead log before its
record is written here, so the database may be ahead of the anchor, after a crash, and never behind.

Two records take turns, each synced before its transaction is acknowledged. A power cut that tears the newest leaves
the one before, and the frames since are still there to be read. (Unsynced records, which a power cut may take away,
could be taken away by anybody.) The file's lock keeps the writers of all processes apart.

Whoever can put back *all* files of the vault puts back this one as well; `vault.mirror` therefore keeps the epoch
in the OS keychain too, where there is one.
"""

import contextlib
import fcntl
import hmac
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vault.durable import storage_error
from vault.errors import InUse, VaultError
from vault.pages import WalPosition

__all__ = ["Anchor", "AnchorRecord", "LogHead"]

_MAGIC = b"OCANCHR1"
_FIELDS = struct.Struct(">8sQQ8sIIQ32s")
_MAC_BYTES = 32
_RECORD_BYTES = _FIELDS.size + 2 * _MAC_BYTES
_SLOT_BYTES = 4096  # apart, so that a torn write of one doesn't reach another
_SLOTS = 2
_LOCK_WITHIN_S = 60.0
"""An import or a restoration is one transaction, and may take its time."""


class LogHead(NamedTuple):
    """Size and root of the transparency log."""

    size: int
    root: bytes


class AnchorRecord(NamedTuple):
    """One state of the vault.

    Attributes:
        turn: Which record this is; the newest has the highest.
        epoch: Transactions that wrote, ever.
        position: Of the write-ahead log.
        log: Head of the transparency log.
        state_mac: Over all of this and the fingerprint of the pages.
    """

    turn: int
    epoch: int
    position: WalPosition
    log: LogHead
    state_mac: bytes


class Anchor:
    """The anchor's file, open for as long as the database is.

    Args:
        path: The file.
        key: 32 bytes, for the MACs.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self._turn = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, path) from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock that every writer of every process takes.

        Raises:
            InUse: another process held it for a minute.
        """
        deadline = time.monotonic() + _LOCK_WITHIN_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InUse(
                        "Another program holds the vault's database.",
                        hint="One of yours may be importing or restoring: wait for it or close it, and try again.",
                    ) from None
                time.sleep(0.001)
            except OSError as error:  # a file system without locks
                raise storage_error(error, self._path) from error
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def newest(self) -> AnchorRecord | None:
        """The newest record that is whole; `None` when there is none."""
        try:
            data = os.pread(self._file, _SLOTS * _SLOT_BYTES, 0)
        except OSError as error:
            raise VaultError(f"{self._path} can't be read: {error.strerror}.") from error
        starts = range(0, len(data), _SLOT_BYTES)
        records = [record for at in starts if (record := self._parse(data[at : at + _RECORD_BYTES]))]
        newest = max(records, key=_turn, default=None)
        self._turn = _turn(newest)
        return newest

    def proves(self, record: AnchorRecord, fingerprint: bytes) -> bool:
        """Whether a fingerprint is the one that the record was made of."""
        return hmac.compare_digest(record.state_mac, self._state_mac(_packed(record), fingerprint))

    def write(self, epoch: int, position: WalPosition, log: LogHead, fingerprint: bytes) -> AnchorRecord:
        """Write a record over the older of the two, durably.

        The caller holds `alone`, and knows the `newest`.

        Raises:
            DiskFull, VaultError: it could not be written; the others are whole.
        """
        record = AnchorRecord(self._turn + 1, epoch, position, log, b"")
        packed = _packed(record)
        record = record._replace(state_mac=self._state_mac(packed, fingerprint))
        data = packed + record.state_mac
        data += hmac.digest(self._key, b"record" + data, "sha256")
        try:
            if not os.fstat(self._file).st_size:  # a disk that fills up has room for every record from now on
                os.pwrite(self._file, bytes(_SLOTS * _SLOT_BYTES), 0)
            older = min(range(_SLOTS), key=lambda slot: _turn(self._parse(self._read(slot))))
            os.pwrite(self._file, data, older * _SLOT_BYTES)
            self._turn = record.turn
            os.fsync(self._file)
        except OSError as error:
            raise storage_error(error, self._path) from error
        return record

    def state_mac(self, epoch: int, fingerprint: bytes) -> bytes:
        """What stands for a state elsewhere, without a word about where in the files it lies."""
        return hmac.digest(self._key, b"moment" + epoch.to_bytes(8, "big") + fingerprint, "sha256")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self, slot: int) -> bytes:
        return os.pread(self._file, _RECORD_BYTES, slot * _SLOT_BYTES)

    def _state_mac(self, packed: bytes, fingerprint: bytes) -> bytes:
        return hmac.digest(self._key, b"state" + packed + fingerprint, "sha256")

    def _parse(self, data: bytes) -> AnchorRecord | None:
        if len(data) < _RECORD_BYTES or not data.startswith(_MAGIC):
            return None
        expected = hmac.digest(self._key, b"record" + data[:-_MAC_BYTES], "sha256")
        if not hmac.compare_digest(expected, data[-_MAC_BYTES:]):
            return None
        _, turn, epoch, salts, frames, pages, size, root = _FIELDS.unpack_from(data)
        state_mac = data[_FIELDS.size : _FIELDS.size + _MAC_BYTES]
        return AnchorRecord(turn, epoch, WalPosition(salts, frames, pages), LogHead(size, root), state_mac)


def _turn(record: AnchorRecord | None) -> int:
    return record.turn if record else 0


def _packed(record: AnchorRecord) -> bytes:
    salts, frames, pages = record.position
    return _FIELDS.pack(_MAGIC, record.turn, record.epoch, salts, frames, pages, *record.log)
