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

from vault.descriptors import Descriptors
from vault.errors import DatabaseDamaged

__all__ = ["PAGE_BYTES", "Pages", "WalPosition"]

PAGE_BYTES = 4096
_VERSION_BYTES = 80  # 16 of IV and 64 of HMAC-SHA512, at the end of each page
_FRAME_HEADER = struct.Struct(">II")  # page, and pages of the database after a commit or 0
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

    Args:
        path: The database.
        key: 32 bytes, for the multiset hash.
        descriptors: To read the files with.
    """

    def __init__(self, path: Path, key: bytes, descriptors: Descriptors) -> None:
        self._path = path
        self._key = key
        self._descriptors = descriptors
        self._file = descriptors.open(path)
        self._wal = -1
        self._index = -1
        self._sum = 0
        self._newer: dict[int, int] = {}  # what the frames up to `position` hold
        self.position = WalPosition(bytes(8), 0, 0)

    @property
    def fingerprint(self) -> bytes:
        """The sum at `position`, 32 bytes."""
        return self._sum.to_bytes(32, "big")

    @property
    def in_place(self) -> bool:
        """Whether the file is still the one that lies at its path."""
        try:
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        except FileNotFoundError:
            return False

    @property
    def encrypted(self) -> bool:
        """Whether the file isn't that of an SQLite without encryption."""
        return self._read(self._file, len(_PLAINTEXT_MAGIC), 0) != _PLAINTEXT_MAGIC

    def current(self) -> WalPosition:
        """What is in effect now, as SQLite's wal-index says; the caller keeps writers away.

        Only after a connection of this process has read from the database: it mends the index after a crash.
        """
        if self._index < 0:
            try:
                self._wal = self._descriptors.open(self._path.with_name(f"{self._path.name}-wal"))
                self._index = self._descriptors.open(self._path.with_name(f"{self._path.name}-shm"))
            except FileNotFoundError:
                return WalPosition(bytes(8), 0, self._file_pages())
        header = self._read(self._index, _INDEX_HEADER.size, 0)
        if len(header) < _INDEX_HEADER.size:
            raise DatabaseDamaged(f"The shared memory of {self._path} is cut off.", hint="Start again.")
        frames, pages, salts = _INDEX_HEADER.unpack(header)
        return WalPosition(salts, frames, pages if frames else self._file_pages())

    def scan(self, moment: WalPosition) -> bool:
        """Compute the fingerprint of an earlier moment from the files; whether they still reach back to it.

        Args:
            moment: Pages in its frames count as they are there, the others as in the file.
        """
        now = self.current()
        frames = 0  # where the log is another one, that one was folded into the file
        if moment.salts == now.salts:
            if moment.frames > now.frames:
                return False
            frames = moment.frames
        if not now.frames and now.pages != moment.pages:
            return False
        self._newer, _ = self._frames(0, frames, moment.pages)
        self._sum = (sum(self._newer.values()) + self._file_sum(moment.pages, self._newer)) % _MODULUS
        self.position = WalPosition(now.salts, frames, moment.pages)
        return True

    def advance(self, moment: WalPosition) -> bool:
        """Bring the fingerprint up to a later moment; whether that one is of the log in effect.

        Faster than `scan`, and right unless another process folded frames into the file that this one hadn't seen.
        """
        now = self.current()
        known = self._known(now)
        if moment.salts != now.salts or not known.frames <= moment.frames <= now.frames:
            return False
        self._advance(known, moment)
        return True

    def follow(self) -> tuple[int, bytes]:
        """Bring the fingerprint up to date.

        Returns:
            How many transactions were committed since `position`, and the fingerprint before the last of them.
        """
        now = self.current()
        known = self._known(now)
        commits = 0
        if moment := self._last_but_one(known, now):
            commits = self._advance(known, moment)
            known = moment
        before = self.fingerprint
        return commits + self._advance(known, now), before

    def _last_but_one(self, known: WalPosition, now: WalPosition) -> WalPosition | None:
        """Where the last but one of the transactions since ended, if there are two."""
        for frame in range(now.frames - 1, known.frames, -1):
            header = self._read(self._wal, _FRAME_HEADER.size, _WAL_HEADER_BYTES + (frame - 1) * _FRAME_BYTES)
            if len(header) == _FRAME_HEADER.size and (pages := _FRAME_HEADER.unpack(header)[1]):
                return WalPosition(now.salts, frame, pages)
        return None

    def _known(self, now: WalPosition) -> WalPosition:
        if now.salts != self.position.salts:  # a new log was begun; what the old one held is in the file
            self._newer = {}
            return WalPosition(now.salts, 0, self.position.pages)
        return self.position

    def _advance(self, known: WalPosition, moment: WalPosition) -> int:
        changed, commits = self._frames(known.frames, moment.frames, moment.pages)
        total = self._sum
        for page, value in changed.items():
            total += value - self._value_before(page, known.pages)
        for page in range(moment.pages + 1, known.pages + 1):  # the database became shorter
            total -= self._value_before(page, known.pages)
        self._sum = total % _MODULUS
        self._newer.update(changed)
        self.position = moment
        return commits

    def _value_before(self, page: int, pages: int) -> int:
        if page > pages:
            return 0
        if page in self._newer:
            return self._newer[page]
        return self._value(page, self._read(self._file, _VERSION_BYTES, page * PAGE_BYTES - _VERSION_BYTES))

    def _frames(self, after: int, until: int, pages: int) -> tuple[dict[int, int], int]:
        """The newest version of each page in the frames `after + 1` to `until`, and how many commits they hold."""
        versions: dict[int, bytes] = {}
        commits = 0
        while after < until:
            count = min(until - after, _SCAN_PAGES)
            chunk = self._read(self._wal, count * _FRAME_BYTES, _WAL_HEADER_BYTES + after * _FRAME_BYTES)
            if len(chunk) < count * _FRAME_BYTES:
                break  # cut off: the fingerprint won't fit
            for start in range(0, len(chunk), _FRAME_BYTES):
                page, committed = _FRAME_HEADER.unpack_from(chunk, start)
                versions[page] = chunk[start + _FRAME_BYTES - _VERSION_BYTES : start + _FRAME_BYTES]
                commits += committed > 0
            after += count
        return {page: self._value(page, version) for page, version in versions.items() if page <= pages}, commits

    def _read(self, descriptor: int, length: int, at: int) -> bytes:
        try:
            return os.pread(descriptor, length, at)
        except OSError as error:
            raise DatabaseDamaged(f"{self._path} can't be read: {error.strerror}.") from error

    def _file_pages(self) -> int:
        return -(-os.fstat(self._file).st_size // PAGE_BYTES)

    def _file_sum(self, pages: int, overlay: dict[int, int]) -> int:
        total = 0
        for first in range(0, pages, _SCAN_PAGES):
            chunk = self._read(self._file, min(_SCAN_PAGES, pages - first) * PAGE_BYTES, first * PAGE_BYTES)
            for start in range(PAGE_BYTES - _VERSION_BYTES, len(chunk), PAGE_BYTES):
                page = first + start // PAGE_BYTES + 1
                if page not in overlay:
                    total += self._value(page, chunk[start : start + _VERSION_BYTES])
        return total

    def _value(self, page: int, version: bytes) -> int:
        if not version.strip(b"\0"):
            return 0  # never written, like the page at 1 GiB that SQLite leaves out: a hole, or beyond the end
        data = page.to_bytes(4, "big") + version
        return int.from_bytes(hashlib.blake2b(data, digest_size=32, key=self._key).digest(), "big")
