"""Skellam noise: its distribution is the one that is accounted for, and its bits are the ones that were given."""

import math
import os

import numpy as np
import pytest

from federation.privacy.skellam import draw, tail_bound
from federation.stream import Stream


def bessel(order: int, argument: float) -> float:
    """e^-x I_k(x), by its series (Abramowitz and Stegun 9.6.10)."""
    half = math.log(argument / 2)
    terms = (
        math.exp((order + 2 * m) * half - math.lgamma(m + 1) - math.lgamma(order + m + 1) - argument)
        for m in range(int(argument) + 200)
    )
    return math.fsum(terms)


@pytest.mark.parametrize("variance", [1, 2, 7, 30, 400])
def test_each_value_is_drawn_as_often_as_its_probability_says(variance: int) -> None:
    count = 400_000
    drawn = draw(variance, count, Stream(os.urandom(32)))
    reach = math.ceil(4 * math.sqrt(variance)) + 2
    observed = np.bincount(np.clip(drawn, -reach, reach) + reach, minlength=2 * reach + 1)
    inner = [bessel(abs(value), variance) for value in range(1 - reach, reach)]
    tail = (1 - math.fsum(inner)) / 2
    expected = np.array([tail, *inner, tail]) * count
    chi_squared = float(((observed - expected) ** 2 / expected).sum())
    freedom = expected.size - 1
    # Wilson and Hilferty 1931: the cube root is as good as normal, also far out.
    normal = ((chi_squared / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    assert abs(normal) < 5.5


@pytest.mark.parametrize("variance", [1, 50, 10_000, 4_000_000, 1 << 32])
def test_the_variance_is_within_a_hundredth_of_what_was_asked_for(variance: int) -> None:
    drawn = draw(variance, 1_000_000, Stream(os.urandom(32))).astype(np.float64)
    assert drawn.var() == pytest.approx(variance, rel=0.01)
    assert abs(drawn.mean()) < 5 * math.sqrt(variance / drawn.size)


def test_noise_of_several_adds_up_to_the_noise_of_their_sum() -> None:
    parts = sum(draw(25, 300_000, Stream(os.urandom(32))) for _ in range(4))
    whole = draw(100, 300_000, Stream(os.urandom(32)))
    edges = np.arange(-30, 31, 5)
    counts = [np.histogram(values, edges)[0] / 300_000 for values in (parts, whole)]
    assert np.abs(counts[0] - counts[1]).max() < 0.005


def test_the_stream_alone_decides() -> None:
    one, same, other = (draw(9, 1000, Stream(bytes([seed] * 32))) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


class Fixed:
    """A stream that says what it is told to."""

    def __init__(self, *numbers: int) -> None:
        self.left = list(numbers)

    def uint64(self, count: int) -> np.ndarray:
        taken, self.left = self.left[:count], self.left[count:]
        return np.array(taken, np.uint64)


def test_the_ends_of_the_range_are_the_least_and_the_largest_value() -> None:
    bound = tail_bound(4)
    least, largest, largest_too = draw(4, 3, Fixed(0, 2**64 - 1, 2**64 - 1, 0, 0, 2**64 - 1))  # type: ignore[arg-type]
    assert least >= -bound
    assert largest <= largest_too <= bound
    assert -least > 5
    assert largest > 5


def test_where_the_first_bits_do_not_decide_the_next_ones_do() -> None:
    from federation.privacy.skellam import _table

    table = _table(4)
    index = table.offset  # the value zero ends here
    threshold = table._thresholds[index]
    high, low = threshold >> 64, threshold & (2**64 - 1)
    below = draw(4, 1, Fixed(high, low - 1))  # type: ignore[arg-type]
    at = draw(4, 1, Fixed(high, low))  # type: ignore[arg-type]
    assert (below[0], at[0]) == (0, 1)
