"""Which version of every page makes up the database: the fingerprint that an old page put back can't keep.

SQLCipher encrypts each page with a fresh random IV and authenticates it together with its number, so the last 80
bytes of a page (IV and HMAC) name one version of one page. It doesn't notice an *older* version of a page put back,
nor frames cut from the write-ahead log. The fingerprint is a keyed multiset hash over (page number, those bytes) of
all pages in effect: MSet-Add-Hash (Clarke et al., "Incremental Multiset Hash Functions and Their Application to
Memory Integrity Checking", ASIACRYPT 2003), which a commit updates by its changed pages alone. The sum itself is
never stored, only a MAC of it (`vault.anchor`): sums that were seen could be combined.

File formats: https://www.sqlite.org/fileformat2.html#the_write_ahead_log and https://www.sqlite.org/walformat.html.
"""

import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

from vault.errors import DatabaseDamaged

__all__ = ["PAGE_BYTES", "Pages", "WalPosition"]

PAGE_BYTES = 4096
_VERSION_BYTES = 80  # 16 of IV and 64 of HMAC-SHA512, at the end of each page
_FRAME_HEADER = struct.Struct(">IIII")  # page, pages of the database after a commit or 0, salts
_WAL_HEADER_BYTES, _FRAME_BYTES = 32, 24 + PAGE_BYTES
_INDEX_HEADER = struct.Struct("=16xII8x8s")  # of the wal-index: newest frame, pages of the database, salts
_PLAINTEXT_MAGIC = b"SQLite format 3\x00"
_MODULUS = 1 << 256
_SCAN_PAGES = 256


class WalPosition(NamedTuple):
    """How much of which write-ahead log is in effect.

    Attributes:
        salts: 8 bytes that name one generation of the log; zeros when there is none.
        frames: How many of its frames.
        pages: Pages of the database then.
    """

    salts: bytes
    frames: int
    pages: int


class Pages:
    """The pages of one database, as they lie in its file and its write-ahead log.

    A process that closes any descriptor of a file loses all its POSIX locks on it, SQLite's included. So the
    descriptors are kept until `close`, which must come after the database's connection was closed.

    Args:
        path: The database.
        key: 32 bytes, for the multiset hash.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self._path = path
        self._key = key
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._wal = -1
        self._index = -1
        self._sum = 0
        self._newer: dict[int, int] = {}
        self.position = WalPosition(bytes(8), 0, 0)

    @property
    def fingerprint(self) -> bytes:
        """The sum at `position`, 32 bytes."""
        return self._sum.to_bytes(32, "big")

    @property
    def encrypted(self) -> bool:
        """Whether the file isn't that of an SQLite without encryption."""
        return os.pread(self._file, len(_PLAINTEXT_MAGIC), 0) != _PLAINTEXT_MAGIC

    def current(self) -> WalPosition:
        """What is in effect now, as SQLite's wal-index says; the caller keeps writers away.

        Only while a connection of this process has read from the database.
        """
        if self._index < 0:
            try:
                self._index = os.open(f"{self._path}-shm", os.O_RDONLY | os.O_CLOEXEC)
                self._wal = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return WalPosition(bytes(8), 0, os.fstat(self._file).st_size // PAGE_BYTES)
        header = os.pread(self._index, _INDEX_HEADER.size, 0)
        if len(header) < _INDEX_HEADER.size:
            raise DatabaseDamaged(f"The shared memory of {self._path} is cut off.", hint="Start again.")
        frames, pages, salts = _INDEX_HEADER.unpack(header)
        if not frames:
            return WalPosition(salts, 0, os.fstat(self._file).st_size // PAGE_BYTES)
        return WalPosition(salts, frames, pages)

    def scan(self, position: WalPosition) -> bool:
        """Compute the fingerprint of an earlier moment from the files; whether they still reach back to it.

        Args:
            position: The moment: pages in its frames count as they are there, the others as in the file.
        """
        now = self.current()
        frames = 0  # where the log is another one, that one was folded into the file
        if position.salts == now.salts:
            if position.frames > now.frames:
                return False
            frames = position.frames
        self._newer = self._frames(0, frames, position.pages)
        total = sum(self._newer.values()) + self._file_sum(position.pages, self._newer)
        self._sum = total % _MODULUS
        self.position = WalPosition(now.salts, frames, position.pages)
        return True

    def follow(self) -> None:
        """Bring the fingerprint up to date with what was committed since `position`."""
        now = self.current()
        known = self.position
        if now.salts != known.salts:  # a new log was begun; what the old one held is in the file
            known = WalPosition(now.salts, 0, known.pages)
            self._newer = {}
        changed = self._frames(known.frames, now.frames, now.pages)
        for page, value in changed.items():
            self._sum += value - self._value_before(page, known.pages)
        for page in range(now.pages + 1, known.pages + 1):  # the database became shorter
            self._sum -= self._value_before(page, known.pages)
        self._sum %= _MODULUS
        self._newer.update(changed)
        self.position = now

    def close(self) -> None:
        """Close the descriptors; after the connection."""
        for descriptor in (self._file, self._wal, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._wal = self._index = -1

    def _value_before(self, page: int, pages: int) -> int:
        if page > pages:
            return 0
        if page in self._newer:
            return self._newer[page]
        return self._value(page, os.pread(self._file, _VERSION_BYTES, page * PAGE_BYTES - _VERSION_BYTES))

    def _frames(self, after: int, until: int, pages: int) -> dict[int, int]:
        """The newest version of each page in the frames `after + 1` to `until`."""
        versions: dict[int, bytes] = {}
        while after < until:
            count = min(until - after, _SCAN_PAGES)
            chunk = os.pread(self._wal, count * _FRAME_BYTES, _WAL_HEADER_BYTES + after * _FRAME_BYTES)
            if len(chunk) < count * _FRAME_BYTES:
                break  # cut off: the fingerprint won't fit
            for start in range(0, len(chunk), _FRAME_BYTES):
                page = _FRAME_HEADER.unpack_from(chunk, start)[0]
                versions[page] = chunk[start + _FRAME_BYTES - _VERSION_BYTES : start + _FRAME_BYTES]
            after += count
        return {page: self._value(page, version) for page, version in versions.items() if page <= pages}

    def _file_sum(self, pages: int, overlay: dict[int, int]) -> int:
        total = 0
        for first in range(0, pages, _SCAN_PAGES):
            chunk = os.pread(self._file, min(_SCAN_PAGES, pages - first) * PAGE_BYTES, first * PAGE_BYTES)
            for start in range(PAGE_BYTES - _VERSION_BYTES, len(chunk), PAGE_BYTES):
                page = first + start // PAGE_BYTES + 1
                if page not in overlay:
                    total += self._value(page, chunk[start : start + _VERSION_BYTES])
        return total

    def _value(self, page: int, version: bytes) -> int:
        data = page.to_bytes(4, "big") + version
        return int.from_bytes(hashlib.blake2b(data, digest_size=32, key=self._key).digest(), "big")
