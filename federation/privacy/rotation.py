"""The randomized Hadamard rotation: it spreads an update evenly over all coordinates, so that few bits hold each.

Ailon and Chazelle 2006: random signs, then the Walsh-Hadamard transform, which is orthonormal and its own
inverse. The signs come from a seed that everybody knows; what is rotated keeps its length, so that privacy
doesn't hang on it.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from federation.digests import digest
from federation.stream import Stream

__all__ = ["rotate", "rotate_back"]

Reals = NDArray[np.float64]

_RADIX = 64
"""Steps of the transform are products with a matrix of this order: six of the textbook's at once."""


def rotate(values: Reals, seed: bytes, dimension: int) -> Reals:
    """Rotate a vector, with zeros behind it.

    Args:
        values: Shape (n,).
        seed: 32 bytes.
        dimension: A power of two, at least n.

    Returns:
        Shape (dimension,), of the same L2 norm.
    """
    padded = np.zeros(dimension)
    padded[: values.size] = values
    padded *= _signs(seed, dimension)
    return _transform(padded)


def rotate_back(rotated: Reals, seed: bytes, count: int) -> Reals:
    """Undo `rotate`.

    Args:
        rotated: Shape (dimension,), a power of two.
        seed: As it was rotated with.
        count: Numbers that there were.

    Returns:
        Shape (count,).
    """
    return (_transform(rotated) * _signs(seed, rotated.size))[:count]


def _signs(seed: bytes, count: int) -> NDArray[np.int8]:
    return 1 - 2 * Stream(digest("rotation", seed)).bits(count).astype(np.int8)


def _transform(values: Reals) -> Reals:
    """The orthonormal Walsh-Hadamard transform: along each axis of a tensor whose sides are powers of two."""
    left, done = values.size, 1
    while left > 1:
        side = min(_RADIX, left)
        left //= side
        values = (_hadamard(side) @ values.reshape(left, side, done)).reshape(-1)
        done *= side
    return values


@functools.cache
def _hadamard(order: int) -> Reals:
    """Sylvester's matrix, made orthonormal."""
    matrix = np.ones((1, 1))
    while len(matrix) < order:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.asarray(matrix / np.sqrt(order))
