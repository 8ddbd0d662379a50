"""Shamir's secret sharing (1979) over the prime 2^31 - 1, for many secrets at once, in numpy.

A secret of 32 bytes is nine limbs of 30 bits, each shared by a polynomial of its own. Products of two elements fit
into 64 bits, so that all limbs, and all holders, are computed in one sweep. The Lagrange coefficients depend on who
answers alone: they are kept.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from federation.errors import Malformed
from federation.stream import Random

__all__ = ["LIMBS", "PRIME", "SECRET_BYTES", "Elements", "combine", "split", "value_at"]

PRIME = 2**31 - 1
SECRET_BYTES = 32
LIMBS = 9
"""Elements that a secret of 32 bytes takes."""

Elements = NDArray[np.uint32]
"""Elements of the field, each below the prime."""

_LIMB_BITS = 30
_LIMB = (1 << _LIMB_BITS) - 1
_P = np.uint64(PRIME)


def split(secrets: list[bytes], holders: int, threshold: int, random: Random) -> Elements:
    """Share secrets among holders, so that any `threshold` of them can put them together, and fewer know nothing.

    Args:
        secrets: 32 bytes each.
        holders: How many; holder i, counted from 1, gets the polynomials' values at i.
        threshold: From 1 to `holders`.
        random: For the coefficients.

    Returns:
        Shape (holders, 9 * number of secrets): a row for each holder.
    """
    if not 1 <= threshold <= holders < PRIME:
        raise Malformed(f"{threshold} of {holders} holders can't be asked for.")
    constant = np.array([limb for secret in secrets for limb in _limbs(secret)], np.uint64)
    coefficients = _elements(random, (threshold - 1) * constant.size).reshape(threshold - 1, constant.size)
    points = np.arange(1, holders + 1, dtype=np.uint64)[:, None]
    values = np.zeros((holders, constant.size), np.uint64)
    for row in (*coefficients, constant):  # Horner, from the highest degree down
        values = (values * points + row) % _P
    return values.astype(np.uint32)


def combine(points: tuple[int, ...], shares: Elements) -> list[bytes]:
    """Put secrets together from as many shares as the threshold.

    Whether it is the secret that was shared, a commitment or a key has to tell: shares don't.

    Args:
        points: The holders', each once, from 1.
        shares: Shape (number of points, 9 * number of secrets).

    Returns:
        The secrets, 32 bytes each.

    Raises:
        Malformed: the shares are none of any secret.
    """
    if shares.ndim != 2 or shares.shape[0] != len(points) or shares.shape[1] % LIMBS or np.any(shares >= PRIME):
        raise Malformed("The shares don't fit one another.")
    limbs = value_at(0, points, shares)
    return [_secret(limbs[begin : begin + LIMBS]) for begin in range(0, limbs.size, LIMBS)]


def value_at(at: int, points: tuple[int, ...], shares: Elements) -> Elements:
    """The polynomials' values at one point, from those at others.

    Args:
        at: The point; 0 is where the secrets are.
        points: As many as the threshold, each once, from 1.
        shares: Shape (number of points, columns).

    Returns:
        Shape (columns,).
    """
    weights = np.array(_lagrange(at, points), np.uint64)[:, None]
    # Each product is below 2^62; reduced, so many rows can be summed as there are holders.
    return np.asarray((weights * shares % _P).sum(axis=0) % _P, np.uint32)


@functools.lru_cache(maxsize=4096)
def _lagrange(at: int, points: tuple[int, ...]) -> tuple[int, ...]:
    """The weights with which a polynomial's values at some points give its value at another."""
    if len(set(points)) != len(points) or not points or not all(0 < point < PRIME for point in points):
        raise Malformed("Shares come from points that are none, or twice from one.")
    weights = []
    for point in points:
        above = below = 1
        for other in points:
            if other != point:
                above = above * (other - at) % PRIME
                below = below * (other - point) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(weights)


def _limbs(secret: bytes) -> list[int]:
    if len(secret) != SECRET_BYTES:
        raise Malformed(f"A secret has {SECRET_BYTES} bytes, not {len(secret)}.")
    number = int.from_bytes(secret, "little")
    return [number >> (_LIMB_BITS * place) & _LIMB for place in range(LIMBS)]


def _secret(limbs: Elements) -> bytes:
    number = sum(int(limb) << (_LIMB_BITS * place) for place, limb in enumerate(limbs))
    if any(int(limb) > _LIMB for limb in limbs) or number.bit_length() > 8 * SECRET_BYTES:
        raise Malformed("The shares are of no secret.")
    return number.to_bytes(SECRET_BYTES, "little")


def _elements(random: Random, count: int) -> NDArray[np.uint64]:
    """Elements, each as likely as any other: of 31 random bits all but the prime itself are one."""
    found = np.zeros(0, np.uint32)
    while found.size < count:
        drawn = np.frombuffer(random(4 * (count - found.size)), "<u4") & np.uint32(PRIME)
        found = np.concatenate([found, drawn[drawn != PRIME]])
    return found.astype(np.uint64)
