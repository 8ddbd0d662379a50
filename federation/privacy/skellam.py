"""Skellam noise: integers whose sums are Skellam again, drawn by table from bits that nobody can foretell.

Skellam(μ) is the difference of two Poisson variables of mean μ/2 each; its variance is μ, and the noise of n
devices adds up to Skellam(nμ) exactly (Agarwal, Kairouz, Liu 2021). Its probabilities e^-μ I_k(μ) come from the
recurrence of the modified Bessel functions, run backwards in integers (Miller's algorithm; Abramowitz and
Stegun 9.6.26), and are kept to 128 bits: an error of 2^-127 a number is all that differs from the distribution
that is accounted for.
"""

import bisect
import functools
import math

import numpy as np
from numpy.typing import NDArray

from federation.stream import Stream

__all__ = ["draw", "tail_bound"]

_BITS = 128
_GUARD = 128
"""Bits behind the last one that is kept: rounding in the recurrence stays below it."""
_RUN_UP = 64
"""Steps before the first value that counts: what is neglected beyond it is less than the tail that is."""


def draw(variance: int, count: int, stream: Stream) -> NDArray[np.int64]:
    """Draw noise.

    Args:
        variance: Of each number, at least 1.
        count: How many.
        stream: Of random bits, used for nothing else.

    Returns:
        Shape (count,).
    """
    table = _table(variance)
    high = stream.uint64(count)
    found = table.guide[high >> np.uint64(64 - _Table.GUIDE_BITS)].astype(np.int64)
    # The guide is right for the lower end of its slot; most slots hold no more than one threshold.
    behind = np.flatnonzero(high >= table.high[found])
    found[behind] += 1
    last = table.high.size - 1
    behind = behind[high[behind] >= table.high[np.minimum(found[behind], last)]]
    found[behind] = np.searchsorted(table.high, high[behind], side="right")
    # Where the upper half of a number is a threshold's own, the lower half decides: one draw in 2^50.
    for place in np.flatnonzero(table.high[found - 1] == high):
        found[place] = table.exactly((int(high[place]) << 64) + int(stream.uint64(1)[0]))
    return np.asarray(found - table.offset)


class _Table:
    """Thresholds of one distribution: a uniform number of 128 bits lies below as many of them as its draw says.

    Args:
        thresholds: Cumulated probabilities in units of 2^-128, for the values from the least to the largest.
        offset: Index of the value zero.
    """

    GUIDE_BITS = 16

    def __init__(self, thresholds: list[int], offset: int) -> None:
        self.offset = offset
        self._thresholds = thresholds
        self.high = np.array([min(threshold >> 64, 2**64 - 1) for threshold in thresholds], np.uint64)
        slots = np.arange(1 << self.GUIDE_BITS, dtype=np.uint64) << np.uint64(64 - self.GUIDE_BITS)
        self.guide = np.searchsorted(self.high, slots, side="right").astype(np.int32)

    def exactly(self, number: int) -> int:
        """The index of the first threshold above a number of 128 bits."""
        return bisect.bisect_right(self._thresholds, number)


@functools.lru_cache(maxsize=2)
def _table(variance: int) -> _Table:
    largest = tail_bound(variance)
    # I_(k-1) = I_(k+1) + (2k / μ) I_k, from where both are as good as zero.
    above, value = 0, 1 << _GUARD
    weights = [0] * (largest + 1)
    for k in range(largest + _RUN_UP, 0, -1):
        above, value = value, above + 2 * k * value // variance
        if k - 1 <= largest:
            weights[k - 1] = value
    total = weights[0] + 2 * sum(weights[1:])
    thresholds, sum_ = [], 0
    for weight in (*reversed(weights[1:]), *weights):
        sum_ += weight
        thresholds.append((sum_ << _BITS) // total)
    return _Table(thresholds, largest)


def tail_bound(variance: int) -> int:
    """A value that is reached with a probability of less than 2^-128.

    Bernstein's inequality for the difference of two Poisson variables: P[X >= k] <= exp(-k² / (2 (μ + k/3))).
    """
    needed = (_BITS + 1) * math.log(2)
    return math.ceil(needed / 3 + math.sqrt((needed / 3) ** 2 + 2 * variance * needed))
