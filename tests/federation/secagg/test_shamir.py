"""Sharing secrets: enough holders put them together, fewer learn nothing, and nonsense is no secret."""

import os
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Malformed
from federation.secagg.shamir import LIMBS, PRIME, Elements, combine, split

SECRET = bytes(range(32))


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=3), st.integers(1, 12), st.data())
def test_any_threshold_of_the_holders_put_the_secrets_together(
    secrets: list[bytes], holders: int, data: st.DataObject
) -> None:
    threshold = data.draw(st.integers(1, holders))
    shares = split(secrets, holders, threshold, os.urandom)
    points = data.draw(st.permutations(range(1, holders + 1)))[:threshold]
    assert combine(tuple(points), shares[[point - 1 for point in points]]) == secrets


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_the_largest_and_the_least_secret_come_back(secret: bytes) -> None:
    shares = split([secret], 5, 3, os.urandom)
    for points in combinations(range(1, 6), 3):
        assert combine(points, shares[[point - 1 for point in points]]) == [secret]


def test_fewer_shares_fit_every_secret() -> None:
    """With a share less than the threshold, each value of a limb is reached by exactly one further share."""
    shares = split([SECRET], 3, 2, os.urandom)
    assert shares.shape == (3, LIMBS)
    seen = np.stack([split([SECRET], 3, 2, os.urandom)[0] for _ in range(2000)]).astype(np.float64) / PRIME
    assert abs(seen.mean() - 0.5) < 0.01
    assert abs(seen.var() - 1 / 12) < 0.005


def test_coefficients_come_from_the_given_randomness_and_never_are_the_prime() -> None:
    drawn = iter([b"\xff\xff\xff\x7f" * LIMBS, bytes(4 * LIMBS)])
    shares = split([bytes(32)], 2, 2, lambda count: next(drawn)[:count])
    assert not shares.any()


@pytest.mark.parametrize("points", [(), (1, 1), (0, 1), (1, PRIME)])
def test_points_that_are_none_are_refused(points: tuple[int, ...]) -> None:
    with pytest.raises(Malformed):
        combine(points, np.zeros((len(points), LIMBS), np.uint32))


@pytest.mark.parametrize(
    "shares",
    [
        np.zeros((1, LIMBS), np.uint32),
        np.zeros((2, LIMBS + 1), np.uint32),
        np.full((2, LIMBS), PRIME, np.uint32),
        np.full((2, LIMBS), PRIME - 1, np.uint32),
        np.zeros(LIMBS, np.uint32),
    ],
)
def test_shares_of_nothing_are_refused(shares: Elements) -> None:
    with pytest.raises(Malformed):
        combine((1, 2), shares)


def test_what_is_no_secret_or_no_threshold_is_refused() -> None:
    for secrets, holders, threshold in (([b"short"], 3, 2), ([SECRET], 3, 4), ([SECRET], 3, 0)):
        with pytest.raises(Malformed):
            split(secrets, holders, threshold, os.urandom)
