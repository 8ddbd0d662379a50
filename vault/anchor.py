"""The rollback anchor: what the newest state of the vault is, kept outside the file that it is about.

`vault/anchor` beside the database holds the epoch (transactions that wrote), the head of the transparency log, and
a MAC of the fingerprint of all pages (`vault.pages`). A transaction is durable in the write-ahead log before its
record is written here, so the database may be ahead of the anchor, after a crash, and never behind.

Three records take turns. The first is written and synced before the log is folded into the database; the other two
follow each commit, unsynced, alternating: a power cut that tears one leaves the others, and the frames since are
still there to be read. The file's lock keeps the writers of all processes apart.

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
from vault.errors import VaultError
from vault.pages import WalPosition

__all__ = ["Anchor", "AnchorRecord", "LogHead"]

_MAGIC = b"OCANCHR1"
_FIELDS = struct.Struct(">8sQ8sIIQ32s")
_MAC_BYTES = 32
_RECORD_BYTES = _FIELDS.size + 2 * _MAC_BYTES
_SLOT_BYTES = 4096  # apart, so that a torn write of one doesn't reach another
_SLOTS = 3
_LOCK_WITHIN_S = 10.0


class LogHead(NamedTuple):
    """Size and root of the transparency log."""

    size: int
    root: bytes


class AnchorRecord(NamedTuple):
    """One state of the vault.

    Attributes:
        epoch: Transactions that wrote, ever.
        position: Of the write-ahead log.
        log: Head of the transparency log.
        state_mac: Over all of this and the fingerprint of the pages.
    """

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
        self._turn = 1
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, path) from error

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock that every writer of every process takes.

        Raises:
            VaultError: another process held it for ten seconds.
        """
        deadline = time.monotonic() + _LOCK_WITHIN_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise VaultError(
                        "Another program holds the vault's database.", hint="Close it and try again."
                    ) from None
                time.sleep(0.001)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def newest(self) -> AnchorRecord | None:
        """The newest record that is whole; `None` when there is none."""
        data = os.pread(self._file, _SLOTS * _SLOT_BYTES, 0)
        found = [
            record
            for start in range(0, len(data), _SLOT_BYTES)
            if (record := self._parse(data[start : start + _RECORD_BYTES]))
        ]
        return max(found, key=lambda record: (record.epoch, record.position.frames), default=None)

    @property
    def empty(self) -> bool:
        """Whether nothing was ever written to it."""
        return os.fstat(self._file).st_size == 0

    def proves(self, record: AnchorRecord, fingerprint: bytes) -> bool:
        """Whether a fingerprint is the one that the record was made of."""
        return hmac.compare_digest(record.state_mac, self._state_mac(_packed(record), fingerprint))

    def write(
        self, epoch: int, position: WalPosition, log: LogHead, fingerprint: bytes, *, durable: bool = False
    ) -> AnchorRecord:
        """Write a record over the oldest of the two that take turns, or the durable one.

        Raises:
            DiskFull, VaultError: it could not be written; the others are whole.
        """
        record = AnchorRecord(epoch, position, log, b"")
        packed = _packed(record)
        record = record._replace(state_mac=self._state_mac(packed, fingerprint))
        data = packed + record.state_mac
        data += hmac.digest(self._key, b"record" + data, "sha256")
        try:
            os.pwrite(self._file, data, 0 if durable else self._turn * _SLOT_BYTES)
            if durable:
                os.fsync(self._file)
            else:
                self._turn = _SLOTS - self._turn
        except OSError as error:
            raise storage_error(error, self._path) from error
        return record

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _state_mac(self, packed: bytes, fingerprint: bytes) -> bytes:
        return hmac.digest(self._key, b"state" + packed + fingerprint, "sha256")

    def _parse(self, data: bytes) -> AnchorRecord | None:
        if len(data) < _RECORD_BYTES or not data.startswith(_MAGIC):
            return None
        expected = hmac.digest(self._key, b"record" + data[:-_MAC_BYTES], "sha256")
        if not hmac.compare_digest(expected, data[-_MAC_BYTES:]):
            return None
        _, epoch, salts, frames, pages, size, root = _FIELDS.unpack_from(data)
        state_mac = data[_FIELDS.size : _FIELDS.size + _MAC_BYTES]
        return AnchorRecord(epoch, WalPosition(salts, frames, pages), LogHead(size, root), state_mac)


def _packed(record: AnchorRecord) -> bytes:
    salts, frames, pages = record.position
    return _FIELDS.pack(_MAGIC, record.epoch, salts, frames, pages, *record.log)
