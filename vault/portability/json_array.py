"""The objects of a JSON array, one at a time: a file of gigabytes takes no more memory than its largest element.

Nothing is parsed here, only taken apart, with bounds on how long and how deeply nested an element may be and of how
much it consists, so that what parses the elements never meets one that exhausts it. Every byte is looked at once.
"""

import re
from collections.abc import Iterable, Iterator

from vault.errors import ImportRefused

__all__ = ["MAX_DEPTH", "MAX_ELEMENT", "MAX_VALUES", "elements"]

MAX_ELEMENT = 16 * 2**20
"""Longest element in bytes: some three million words. A conversation of years comes to a few MiB."""

MAX_VALUES = 2**20
"""Most objects, lists and strings (names included) in an element. Three bytes may spell a value that takes a
hundred in memory; where people talk, a value has more than the sixteen bytes that these bounds leave for each."""

MAX_DEPTH = 100
"""Deepest nesting, the array itself included."""

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"


def elements(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Take an array of objects apart.

    Args:
        chunks: The file, in pieces of any length.

    Raises:
        ImportRefused: it is no array of objects, or one of them is too long or too deeply nested.
    """
    splitter = _Splitter()
    for chunk in chunks:
        yield from splitter.feed(chunk)
    splitter.finish()


class _Splitter:
    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._depth = 0
        self._start = -1
        self._values = 0
        self._in_string = False
        self._found = 0
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        self._buffer += chunk
        while match := (_INSIDE if self._in_string else _OUTSIDE).search(self._buffer, self._position):
            self._position = match.end()
            token = match[0]
            if token == b"\\":
                self._position += 1  # whatever is escaped ends no string
            elif self._depth == 0:
                self._open_array(token)
            elif token == b'"':
                if self._depth == 1:
                    raise _no_array()
                self._in_string = not self._in_string
                self._count(self._in_string)
            elif token in b"{[":
                self._open(token)
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._close_array(token)
                elif self._depth == 1:
                    yield self._taken()
        self._position = max(self._position, len(self._buffer))  # there is nothing more in what was looked at
        if len(self._buffer) - max(self._start, 0) > MAX_ELEMENT:
            raise ImportRefused(f"Element {self._found + 1} has more than {MAX_ELEMENT} bytes.")

    def finish(self) -> None:
        if not self._ended or self._buffer.strip(_BLANK):
            raise (
                _no_array() if not self._found else ImportRefused("The file is cut off, or goes on after its end.")
            )

    def _open_array(self, token: bytes) -> None:
        before = bytes(self._buffer[: self._position - 1])
        if token != b"[" or self._ended or before.removeprefix(_BYTE_ORDER_MARK).strip(_BLANK):
            raise _no_array()
        del self._buffer[: self._position]
        self._position, self._depth = 0, 1

    def _close_array(self, token: bytes) -> None:
        if token != b"]" or self._buffer[: self._position - 1].strip(_BLANK):
            raise _no_array()
        del self._buffer[: self._position]
        self._position, self._ended = 0, True

    def _open(self, token: bytes) -> None:
        if self._depth == 1:
            between = bytes(self._buffer[: self._position - 1]).strip(_BLANK)
            if token != b"{" or between != (b"," if self._found else b""):
                raise _no_array()
            self._start = self._position - 1
            self._values = 0
        self._count(1)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ImportRefused(f"Element {self._found + 1} is nested more than {MAX_DEPTH} deep.")

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise ImportRefused(f"Element {self._found + 1} consists of more than {MAX_VALUES:,} values.")

    def _taken(self) -> bytes:
        element = bytes(self._buffer[self._start : self._position])
        del self._buffer[: self._position]
        self._position, self._start = 0, -1
        self._found += 1
        return element


def _no_array() -> ImportRefused:
    return ImportRefused(
        "That is no list of conversations.", hint="ChatGPT's export has one in a file conversations.json."
    )
