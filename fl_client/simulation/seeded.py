"""Randomness that can be had again: the same bytes for the same seed and the same use, on any number of cores.

A simulation's alone. Whoever knows the seed can foretell every noise, so that nothing made with it hides anything.
"""

import numpy as np

from federation.digests import digest
from federation.stream import Random, Stream

__all__ = ["dice", "seeded"]


def seeded(seed: bytes, *uses: int | str) -> Random:
    """Bytes for one use, in the place of `os.urandom`.

    Args:
        seed: 32 bytes.
        uses: What they are for; another use has others.
    """
    stream = Stream(_key(seed, uses))

    def random(count: int) -> bytes:
        return stream.uint64(-(-count // 8)).tobytes()[:count]

    return random


def dice(seed: bytes, *uses: int | str) -> np.random.Generator:
    """Numbers for one use that nobody has to be unable to foretell; arguments as `seeded`."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(_key(seed, uses), "little")))


def _key(seed: bytes, uses: tuple[int | str, ...]) -> bytes:
    return digest("simulation", seed, *(str(use).encode() for use in uses))
