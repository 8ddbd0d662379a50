"""SQLite's write-ahead log as an attacker sees it, whose checksums anybody can make.

https://www.sqlite.org/fileformat2.html#the_write_ahead_log, and 4.2 there for the checksum.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["FRAME_BYTES", "HEADER_BYTES", "Frame", "Wal"]

HEADER_BYTES = 32
PAGE_BYTES = 4096
FRAME_BYTES = 24 + PAGE_BYTES
_BIG_ENDIAN = 1  # lowest bit of the magic number


class Frame(NamedTuple):
    """One page in the log.

    Attributes:
        page: Its number.
        commit: Pages of the database after the commit that this frame ends; 0 within one.
        content: 4096 bytes.
    """

    page: int
    commit: int
    content: bytes


class Wal:
    """A log, read from its bytes.

    Attributes:
        frames: Those in effect: of this generation, with good checksums, up to the last commit.
    """

    def __init__(self, data: bytes) -> None:
        self._header = data[:24]
        magic, self._salts = struct.unpack_from(">I", data)[0], data[16:24]
        self._words = (">" if magic & _BIG_ENDIAN else "<") + "II"
        self.frames: list[Frame] = []
        total = self._checksum(self._header)
        frames: list[Frame] = []
        for start in range(HEADER_BYTES, len(data) - FRAME_BYTES + 1, FRAME_BYTES):
            page, commit, salts, *expected = struct.unpack_from(">II8sII", data, start)
            content = data[start + 24 : start + FRAME_BYTES]
            total = self._checksum(content, self._checksum(data[start : start + 8], total))
            if salts != self._salts or tuple(expected) != total:
                break
            frames.append(Frame(page, commit, content))
            if commit:
                self.frames = list(frames)

    def written(self, frames: Sequence[Frame]) -> bytes:
        """The bytes of a log of this generation with other frames, every checksum good."""
        total = self._checksum(self._header)
        data = self._header + struct.pack(">II", *total)
        for frame in frames:
            start = struct.pack(">II", frame.page, frame.commit)
            total = self._checksum(frame.content, self._checksum(start, total))
            data += start + self._salts + struct.pack(">II", *total) + frame.content
        return data

    def _checksum(self, data: bytes, before: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        first, second = before
        for one, other in struct.iter_unpack(self._words, data):
            first = (first + one + second) & 0xFFFFFFFF
            second = (second + other + first) & 0xFFFFFFFF
        return first, second
