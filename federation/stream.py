"""Many numbers that nobody can foretell: AES-256 in counter mode, under a key that is used for nothing else."""

from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

__all__ = ["KEY_BYTES", "Random", "Stream"]

KEY_BYTES = 32
Random = Callable[[int], bytes]
"""Gives so many bytes that nobody can foretell, such as `os.urandom`."""


class Stream:
    """A stream of random numbers (NIST SP 800-38A, from counter zero), little-endian.

    Args:
        key: 32 bytes. Whoever knows it knows the stream: a seed that is public gives public numbers.
    """

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def uint64(self, count: int) -> NDArray[np.uint64]:
        """The next numbers of 64 bits, shape (count,)."""
        return np.frombuffer(self._encryptor.update(bytes(8 * count)), "<u8")

    def uint32(self, count: int) -> NDArray[np.uint32]:
        """The next numbers of 32 bits, shape (count,)."""
        return np.frombuffer(self._encryptor.update(bytes(4 * count)), "<u4")

    def bits(self, count: int) -> NDArray[np.uint8]:
        """The next bits, shape (count,), lowest of each byte first; whole bytes are used up."""
        drawn = np.frombuffer(self._encryptor.update(bytes(-(-count // 8))), np.uint8)
        return np.unpackbits(drawn, count=count, bitorder="little")
