"""A masked vector is indistinguishable from random bits, whatever is under the mask."""

import math
import os
from statistics import NormalDist

import numpy as np
import pytest
from numpy.typing import NDArray

from federation.privacy.plan import PrivacyPlan
from federation.ring import Ring, Vector
from federation.secagg.plan import SecAggPlan
from tests.federation.rounds import Federation, numbers_of, plan_of

BITS = 18
DIMENSION = 1 << 16
PRIVACY = PrivacyPlan(DIMENSION, 1.0, 1.0, BITS, 1, bytes(32))
PLAN = plan_of(SecAggPlan(DIMENSION, BITS, 4, 3, 6, 6, 5, 0), PRIVACY)


@pytest.fixture(scope="module")
def masked() -> Vector:
    """What a server gets of an update that is next to nothing: zeros with noise of variance 1."""
    federation = Federation(6, PLAN)
    server, devices = federation.server, federation.devices
    for device in devices:
        server.take_advert(device.advertise())
    roster = server.roster()
    for device in devices:
        server.take_reveal(device.reveal(roster))
    graph = server.graph()
    for device in devices:
        server.take_share(device.share(graph))
    server.close_shares()
    update = federation.update(0)
    assert np.abs(Ring(BITS).to_signed(numbers_of(update))).max() < 20
    sent = devices[0].mask(server.deliver(devices[0].device), update).message
    return Ring(BITS).unpack(sent.packed, DIMENSION)


def deviations(observed: NDArray[np.int64], expected: float) -> float:
    """Chi-squared of counts that are expected to be equal, in its standard deviations above or below its mean."""
    chi_squared = float(((observed - expected) ** 2 / expected).sum())
    freedom = observed.size - 1
    return (chi_squared - freedom) / math.sqrt(2 * freedom)


def test_each_bit_is_as_often_set_as_not(masked: Vector) -> None:
    limit = NormalDist().inv_cdf(1 - 1e-6)
    for bit in range(BITS):
        ones = int(((masked >> np.uint32(bit)) & np.uint32(1)).sum())
        assert abs(ones - DIMENSION / 2) < limit * (DIMENSION / 4) ** 0.5, bit


def test_each_pair_of_bits_is_independent(masked: Vector) -> None:
    bits = np.stack([(masked >> np.uint32(bit)) & np.uint32(1) for bit in range(BITS)]).astype(np.float64)
    correlations = np.corrcoef(bits) - np.eye(BITS)
    assert np.abs(correlations).max() < 6 / DIMENSION**0.5


@pytest.mark.parametrize("shift", [0, 5, 10])
def test_bytes_of_it_pass_chi_squared(masked: Vector, shift: int) -> None:
    counts = np.bincount((masked >> np.uint32(shift)) & np.uint32(255), minlength=256)
    assert abs(deviations(counts, DIMENSION / 256)) < 5


def test_it_passes_kolmogorov_and_smirnov(masked: Vector) -> None:
    ordered = np.sort(masked.astype(np.float64) + 0.5) / 2**BITS
    steps = np.arange(1, DIMENSION + 1) / DIMENSION
    distance = max(float(np.abs(steps - ordered).max()), float(np.abs(steps - 1 / DIMENSION - ordered).max()))
    assert distance * DIMENSION**0.5 < 2.5  # larger once in 130,000 (Kolmogorov's distribution)


def test_numbers_that_follow_one_another_are_independent(masked: Vector) -> None:
    values = masked.astype(np.float64)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / DIMENSION**0.5


def test_these_tests_would_see_an_update_that_is_not_masked() -> None:
    bare = Ring(BITS).from_signed(np.random.default_rng(int.from_bytes(os.urandom(4))).integers(-3, 4, DIMENSION))
    assert deviations(np.bincount(bare & np.uint32(255), minlength=256), DIMENSION / 256) > 100
