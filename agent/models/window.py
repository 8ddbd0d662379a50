"""Reading a file forwards through a bounded window, believing no length that the file states."""

import functools
import os
import struct
from collections.abc import Callable
from typing import Self

from agent.errors import ModelRefused

__all__ = ["Window"]

_WINDOW_BYTES = 2**20
_MAX_HEADER_BYTES = 64 * 2**20
"""Vocabularies of 260,000 tokens take 12 MB. The limit bounds the time that a hostile header can cost."""

_LENGTH = struct.Struct("<Q")


class Window:
    """A file's bytes from the first on, as far as a header may reach.

    Args:
        read: Gives so many bytes from a place on, or fewer where the file ends.
        size: The file's size; nothing is read beyond it.

    Attributes:
        size: As given.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self.size = size
        self._read = read
        self._limit = min(size, _MAX_HEADER_BYTES)
        self._start = 0  # of the buffer, in the file
        self._at = 0  # in the buffer
        self._buffer = b""

    @classmethod
    def of_file(cls, descriptor: int) -> Self:
        """Over a file that is open for reading; the descriptor's own position is neither used nor moved."""
        return cls(functools.partial(os.pread, descriptor), os.fstat(descriptor).st_size)

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        """Over a file that is in memory."""
        return cls(lambda count, at: data[at : at + count], len(data))

    @property
    def position(self) -> int:
        """The next byte's place in the file."""
        return self._start + self._at

    def peek(self, count: int) -> bytes:
        """The next bytes, without going on; fewer where the file ends."""
        if len(self._buffer) - self._at < count:
            self._refill(count)
        return self._buffer[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            ModelRefused: the file, or what a header may take of it, ends before.
        """
        self._require(count)
        data = self.peek(count)
        if len(data) < count:
            raise ModelRefused("The file became shorter while it was read.", hint="Try again.")
        self._at += count
        return data

    def skip(self, count: int) -> None:
        """Go on by `count` bytes; `ModelRefused` as for `take`."""
        self._require(count)
        self._at += count
        if self._at > len(self._buffer):
            self._start, self._at, self._buffer = self.position, 0, b""

    def integer(self, count: int) -> int:
        """An unsigned little-endian integer of `count` bytes."""
        return int.from_bytes(self.take(count), "little")

    def text(self, most: int, what: str) -> str:
        """A string: its length in 8 bytes, then UTF-8.

        Raises:
            ModelRefused: it is longer than `most` bytes, or not UTF-8.
        """
        length = self.integer(8)
        if length > most:
            raise ModelRefused(f"The GGUF header is damaged: {what} has {length} bytes.")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise ModelRefused(f"The GGUF header is damaged: {what} isn't UTF-8.") from None

    def skip_strings(self, count: int) -> None:
        """Go on by `count` strings; `ModelRefused` as for `take`."""
        self._require(count * _LENGTH.size)
        unpack, size = _LENGTH.unpack_from, _LENGTH.size
        while count:
            self.peek(size)  # fills the window
            buffer, at, last = self._buffer, self._at, len(self._buffer) - size
            # The hot loop (a vocabulary has some 100,000 strings): whole strings in the window, no calls of ours.
            while count and at <= last:
                after = at + size + unpack(buffer, at)[0]
                if after > len(buffer):
                    break
                at = after
                count -= 1
            self._at = at
            if count:
                self.skip(self.integer(size))
                count -= 1

    def _require(self, count: int) -> None:
        if count > self._limit - self.position:
            if self.position + count > self.size:
                raise ModelRefused(
                    f"The file is cut off, or damaged: its header goes beyond its {self.size:,} bytes.",
                    hint="Fetch or copy it again.",
                )
            raise ModelRefused(f"The GGUF header takes more than {_MAX_HEADER_BYTES:,} bytes; no model's does.")

    def _refill(self, count: int) -> None:
        self._start, self._at = self.position, 0
        wanted = min(max(count, _WINDOW_BYTES), self._limit - self._start)
        buffer = bytearray()
        while len(buffer) < wanted:
            part = self._read(wanted - len(buffer), self._start + len(buffer))
            if not part:
                break
            buffer += part
        self._buffer = bytes(buffer)
