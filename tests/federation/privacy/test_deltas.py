"""The four kinds of delta: each is made of the one before, and in no other way; and what becomes of an update."""

import copy
import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Malformed
from federation.privacy.clip import ClippedDelta, RawDelta, clip
from federation.privacy.noise import NoisedDelta, add_noise, mean_of
from federation.privacy.plan import PrivacyPlan
from federation.privacy.rotation import rotate, rotate_back
from federation.ring import Ring
from federation.secagg.client import MaskedUpdate
from federation.secagg.wire import Masked

PLAN = PrivacyPlan(1000, 1.0, 2000.0, 24, 400, b"\x07" * 32)


def raw(values: object) -> RawDelta:
    return RawDelta(np.array(values, np.float64))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), st.floats(1e-6, 1e6))
def test_an_update_is_never_longer_than_the_clip_and_one_that_fits_stays_as_it_is(
    values: list[float], norm: float
) -> None:
    plan = PrivacyPlan(3, norm, 1.0, 18, 1, bytes(32))
    clipped = clip(raw(values), plan).values
    assert float(np.linalg.norm(clipped)) <= norm
    largest = max(abs(value) for value in values)
    if 0 < largest < norm / 4:
        assert clipped == pytest.approx(values, rel=1e-12, abs=1e-300)


def test_the_direction_stays() -> None:
    clipped = clip(raw([3e200, 4e200]), PrivacyPlan(2, 5.0, 1.0, 18, 1, bytes(32)))
    assert clipped.values == pytest.approx([3, 4])


@pytest.mark.parametrize("values", [[1.0, float("nan")], [float("inf"), 0.0], [[1.0, 2.0]], 1.0])
def test_what_is_no_update_is_refused(values: object) -> None:
    with pytest.raises(Malformed):
        raw(values)


def test_an_update_of_another_length_is_refused() -> None:
    with pytest.raises(Malformed):
        clip(raw([1.0]), PLAN)
    clipped = clip(raw([1.0, 2.0]), PrivacyPlan(2, 1.0, 1.0, 18, 1, bytes(32)))
    with pytest.raises(Malformed):
        add_noise(clipped, PLAN, os.urandom)


def test_no_delta_is_made_but_of_the_one_before() -> None:
    clipped = clip(raw(np.ones(1000)), PLAN)
    noised = add_noise(clipped, PLAN, os.urandom)
    for forge in (
        lambda: ClippedDelta(np.ones(1000), object()),
        lambda: NoisedDelta(np.ones(1024, np.uint32), PLAN, object()),
        lambda: MaskedUpdate(Masked(bytes(32), b"", bytes(64)), object()),
        lambda: type("Fake", (NoisedDelta,), {}),
        lambda: pickle.loads(pickle.dumps(noised)),
        lambda: copy.copy(clipped),
        lambda: copy.deepcopy(noised),
        lambda: add_noise(raw(np.full(1000, 1e6)), PLAN, os.urandom),  # type: ignore[arg-type]
        lambda: setattr(clipped, "values", np.full(1000, 1e6)),
        lambda: setattr(noised, "plan", None),
    ):
        with pytest.raises(TypeError):
            forge()
    with pytest.raises(ValueError, match="read-only"):
        clipped.values[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        clipped.values.setflags(write=True)


@pytest.mark.parametrize("size", [1.01, 1e3, 1e6, 1e9, 1e300])
def test_what_was_never_clipped_is_not_rounded(size: float) -> None:
    """A length that wraps around as an integer would look short."""
    forged = ClippedDelta.__new__(ClippedDelta)
    forged.values = np.full(1000, size)  # type: ignore[misc]
    with pytest.raises(Malformed):
        add_noise(forged, PLAN, os.urandom)


def test_an_update_is_taken_once_and_by_its_own_plan() -> None:
    """In two sums with the same noise an update could be seen in their difference."""
    noised = add_noise(clip(raw(np.ones(1000)), PLAN), PLAN, os.urandom)
    quieter = PrivacyPlan(1000, 1.0, 2000.0, 24, 1, b"\x07" * 32)
    with pytest.raises(Malformed, match="another plan"):
        noised.take(quieter)
    assert noised.take(PLAN).shape == (1024,)
    with pytest.raises(Malformed, match="before"):
        noised.take(PLAN)


@given(st.integers(1, 3000), st.binary(min_size=32, max_size=32))
def test_a_rotation_keeps_the_length_and_is_undone(count: int, seed: bytes) -> None:
    values = np.random.default_rng(count).normal(size=count)
    dimension = 1 << (count - 1).bit_length()
    rotated = rotate(values, seed, dimension)
    assert np.linalg.norm(rotated) == pytest.approx(np.linalg.norm(values))
    assert rotate_back(rotated, seed, count) == pytest.approx(values, abs=1e-9)


def test_a_rotation_spreads_what_was_in_one_place() -> None:
    rotated = rotate(np.eye(1, 5000)[0], b"s" * 32, 8192)
    assert np.abs(rotated).max() == pytest.approx(8192**-0.5)


def test_the_mean_of_many_updates_comes_back_but_for_the_noise_that_was_added() -> None:
    dice, ring = np.random.default_rng(5), Ring(PLAN.bits)
    updates = [clip(raw(dice.normal(size=1000)), PLAN) for _ in range(20)]
    total = np.zeros(PLAN.dimension, np.uint32)
    for update in updates:
        total += add_noise(update, PLAN, os.urandom).take(PLAN)
    error = mean_of(total & ring.mask, PLAN, 20) - np.mean([update.values for update in updates], axis=0)
    expected = np.sqrt(20 * (PLAN.variance + 0.25) * 1000) / PLAN.scale / 20
    assert np.linalg.norm(error) == pytest.approx(expected, rel=0.15)
    assert abs(error.mean()) < 5 * expected / 1000


def test_no_rounding_is_longer_than_what_is_accounted_for() -> None:
    """Even with noise of the least variance, which is taken away here."""
    from federation.privacy.noise import _rounded
    from federation.stream import Stream

    for scale in (0.5, 3.0, 1000.0):
        plan = PrivacyPlan(500, 1.0, scale, 24, 1, bytes(32))
        values = rotate(clip(raw(np.ones(500)), plan).values, plan.rotation_seed, plan.dimension) * scale
        for _ in range(50):
            rounded = _rounded(values, plan.norm_bound, Stream(os.urandom(32)))
            assert int(np.dot(rounded, rounded)) <= plan.norm_bound


def test_what_is_longer_than_the_clip_cannot_be_rounded() -> None:
    from federation.privacy.noise import _rounded
    from federation.stream import Stream

    with pytest.raises(Malformed, match="clipped"):
        _rounded(np.full(1024, 500.0), PLAN.norm_bound, Stream(bytes(32)))
