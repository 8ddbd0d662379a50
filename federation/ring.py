"""Vectors of integers modulo 2^b, and how they travel: b bits a number, in planes that numpy takes apart in one go.

In memory a vector is `uint32`, whose wrap-around at 2^32 agrees with any smaller power of two: sums are reduced
when they are read, not at each step. On the wire the bits of all numbers lie in planes, one for each power of
two in b (18 bits are a plane of 16 and one of 2), lowest bits first; docs/protocol.md has the layout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from federation.errors import Malformed

__all__ = ["MAX_BITS", "MIN_BITS", "Ring", "Vector"]

Vector = NDArray[np.uint32]
"""A vector of the ring, shape (d,); the numbers count modulo 2^b."""

MIN_BITS, MAX_BITS = 8, 31
_WIDTHS = (16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Ring:
    """The integers modulo 2^bits.

    Args:
        bits: From 8 to 31.

    Raises:
        Malformed: another number of bits.
    """

    bits: int

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise Malformed(f"A ring has from {MIN_BITS} to {MAX_BITS} bits, not {self.bits}.")

    @property
    def mask(self) -> np.uint32:
        """The ring's largest number."""
        return np.uint32((1 << self.bits) - 1)

    def size(self, count: int) -> int:
        """How many bytes a packed vector of `count` numbers takes."""
        return sum(_plane_size(width, count) for width, _ in self._planes())

    def from_signed(self, values: NDArray[np.int64]) -> Vector:
        """Signed integers, shape (d,), modulo 2^bits."""
        return (values & np.int64(self.mask)).astype(np.uint32)

    def to_signed(self, vector: Vector) -> NDArray[np.int64]:
        """The representatives from -2^(bits-1) to 2^(bits-1) - 1, shape (d,)."""
        shift = np.uint32(32 - self.bits)
        return ((vector << shift).view(np.int32) >> np.int32(shift)).astype(np.int64)

    def pack(self, vector: Vector) -> bytes:
        """The numbers, reduced, at `bits` bits each."""
        return b"".join(_pack(vector >> np.uint32(shift), width) for width, shift in self._planes())

    def add_packed(self, total: Vector, packed: bytes) -> None:
        """Add a packed vector to a sum in place, without unpacking it first.

        Args:
            total: Shape (d,), of the same number of numbers.
            packed: What `pack` gave.

        Raises:
            Malformed: it has another length, or bits that belong to no number; nothing was added.
        """
        if len(packed) != self.size(total.size):
            raise Malformed(f"A vector takes {self.size(total.size):,} bytes; {len(packed):,} came.")
        begin, planes = 0, []
        for width, shift in self._planes():
            size = _plane_size(width, total.size)
            planes.append((np.frombuffer(packed, np.uint8, size, begin), width, shift))
            begin += size
        for plane, width, _ in planes:
            _refuse_spare_bits(plane, width, total.size)
        for plane, width, shift in planes:
            _add(total, plane, width, shift)

    def unpack(self, packed: bytes, count: int) -> Vector:
        """The numbers of a packed vector, shape (count,); errors as `add_packed`."""
        vector = np.zeros(count, np.uint32)
        self.add_packed(vector, packed)
        return vector

    def _planes(self) -> list[tuple[int, int]]:
        """Width and lowest bit of each plane."""
        planes, shift = [], 0
        for width in _WIDTHS:
            if self.bits & width:
                planes.append((width, shift))
                shift += width
        return planes


def _plane_size(width: int, count: int) -> int:
    return 2 * count if width == 16 else -(-count // (8 // width))


def _pack(values: Vector, width: int) -> bytes:
    """The lowest `width` bits of each number. A byte holds one of each half (quarter, eighth) of all."""
    if width == 16:
        return values.astype("<u2").tobytes()
    size = _plane_size(width, values.size)
    low = (values & np.uint32((1 << width) - 1)).astype(np.uint8)
    plane = np.zeros(size, np.uint8)
    for place in range(8 // width):
        part = low[place * size : (place + 1) * size]
        plane[: part.size] |= part << np.uint8(place * width)
    return plane.tobytes()


def _refuse_spare_bits(plane: NDArray[np.uint8], width: int, count: int) -> None:
    """Each vector has one encoding: places behind the last number hold nothing."""
    if width == 16:
        return
    for place in range(8 // width):
        used = max(0, min(plane.size, count - place * plane.size))
        if np.any(plane[used:] & np.uint8(((1 << width) - 1) << (place * width))):
            raise Malformed("A packed vector has bits that belong to no number.")


def _add(total: Vector, plane: NDArray[np.uint8], width: int, shift: int) -> None:
    if width == 16:
        values = plane.view("<u2")
        total += values if shift == 0 else values.astype(np.uint32) << np.uint32(shift)
        return
    mask = np.uint8((1 << width) - 1)
    for place in range(8 // width):
        part = total[place * plane.size : (place + 1) * plane.size]
        bits = (plane[: part.size] >> np.uint8(place * width)) & mask
        part += bits.astype(np.uint32) << np.uint32(shift)
