"""Masks: a key's stream of numbers, added to a vector by one side and taken away by the other.

The stream is that of AES-256 in counter mode (NIST SP 800-38A) from counter zero, read as little-endian `uint32`. A
key makes one mask, in one round. Reduced modulo 2^b it is uniform there, for 2^b divides 2^32.
"""

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from federation.ring import Vector

__all__ = ["apply_masks"]

_CHUNK = 1 << 15
"""Numbers that are computed for one key before the next one's turn: vector and stream then stay in the cache."""


def apply_masks(vector: Vector, *, add: Sequence[bytes] = (), subtract: Sequence[bytes] = ()) -> None:
    """Add and take away the masks of keys, in place.

    Args:
        vector: Shape (d,), contiguous; it wraps around at 2^32.
        add: Keys of 32 bytes whose masks are added.
        subtract: Keys of 32 bytes whose masks are taken away.
    """
    streams = [(_stream(key), np.add) for key in add] + [(_stream(key), np.subtract) for key in subtract]
    zeros = memoryview(bytes(4 * min(_CHUNK, vector.size)))
    room = bytearray(len(zeros))
    numbers = np.frombuffer(room, "<u4")
    for begin in range(0, vector.size, _CHUNK):
        part = vector[begin : begin + _CHUNK]
        for stream, operation in streams:
            stream.update_into(zeros[: 4 * part.size], room)
            operation(part, numbers[: part.size], out=part)


def _stream(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
