"""What was trained, on its way to the sum: through all four kinds of delta, and nothing but the noise is added."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from federation.plan import Plan, propose
from federation.privacy.clip import clip
from federation.privacy.noise import add_noise, mean_of
from federation.privacy.plan import PrivacyPlan
from federation.privacy.planner import Wish
from federation.secagg.plan import SecAggPlan
from fl_client.delta import delta_of
from fl_client.errors import TrainingFailed
from fl_client.training.head_protocol import HeadOrder, HeadRecipe, HeadResult, Labelled
from fl_client.training.protocol import Judged, Kind, Order, Recipe, Result
from tests.federation.rounds import Federation, Opened, run

CORE, DIMENSION = 15_360, 16_384
"""Numbers of a `core` adapter of rank 16 for queries and values of 30 layers, and up to a power of two."""
DEVICES, CLIP = 12, 1.0
LOST = {"share": [2], "mask": [5]}


def numbers(seed: int, length: float = 3.0, count: int = CORE) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=count)
    return (drawn * length / np.linalg.norm(drawn)).astype(np.float32)


def order(kind: Kind, begun: bytes = b"") -> Order:
    recipe = Recipe(kind, 16, 1.0, ("attn_q", "attn_v"), 1, 4, 1e-2, 256, bytes(32))
    return Order("model", "", recipe, [], [], 1, 256, numbers=begun)


def result(made: bytes) -> Result:
    return Result(made, Judged(None, None), (1.0,), 1, 1.0, 1.0, "float32", 1)


def head_order(begun: bytes = b"") -> HeadOrder:
    recipe = HeadRecipe(("a", "b"), 0, 1, 1.0, 0.0, bytes(32))
    return HeadOrder(recipe, 3, Labelled(), numbers=begun)


def head_result(made: bytes) -> HeadResult:
    return HeadResult(made, None, None, (), 0.0)


@pytest.mark.parametrize("kind", ["ffa", "core"])
def test_the_delta_of_an_adapter_is_what_it_became_less_what_it_was(kind: Kind) -> None:
    begun, made = numbers(1), numbers(2)
    assert np.array_equal(delta_of(order(kind), result(made.tobytes())).values, made)
    delta = delta_of(order(kind, begun.tobytes()), result(made.tobytes()))
    assert np.array_equal(delta.values, made.astype(np.float64) - begun)


def test_the_delta_of_a_head_is_the_same() -> None:
    begun, made = numbers(1, count=8), numbers(2, count=8)
    assert np.array_equal(delta_of(head_order(), head_result(made.tobytes())).values, made)
    delta = delta_of(head_order(begun.tobytes()), head_result(made.tobytes()))
    assert np.array_equal(delta.values, made.astype(np.float64) - begun)


@pytest.mark.parametrize("made", [bytes(4), bytes(4 * CORE - 4), bytes(4 * CORE - 1), b""])
def test_numbers_that_do_not_fit_those_they_began_with_are_no_delta(made: bytes) -> None:
    with pytest.raises(TrainingFailed):
        delta_of(order("core", numbers(1).tobytes()), result(made))


def test_numbers_that_are_none_are_no_delta() -> None:
    made = numbers(1).copy()
    made[7] = np.nan
    with pytest.raises(TrainingFailed):
        delta_of(order("core"), result(made.tobytes()))


def summed(plan: Plan) -> tuple[Opened, NDArray[np.float64], int]:
    """A round of devices that trained: what was opened, the sum of the clipped deltas in it, how many these are."""
    begun = numbers(0)
    federation = Federation(DEVICES, plan)
    deltas = [
        delta_of(order("core", begun.tobytes()), result((begun + numbers(1 + number)).tobytes()))
        for number in range(DEVICES)
    ]
    clipped = [clip(delta, plan.privacy) for delta in deltas]
    opened = run(federation, [add_noise(one, plan.privacy, federation.random) for one in clipped], LOST)
    there: Sequence[NDArray[np.float64]] = [clipped[number].values for number in opened.sent]
    return opened, np.sum(there, axis=0), len(there)


def test_with_next_to_no_noise_the_opened_sum_is_the_sum_of_the_clipped_deltas() -> None:
    privacy = PrivacyPlan(CORE, CLIP, 2.0**25, 31, 1, bytes(range(32)))
    opened, expected, count = summed(Plan(privacy, SecAggPlan(DIMENSION, 31, 8, 6, 10, DEVICES, 8, 0, 1), 1, 1e-5))
    assert count == DEVICES - 2
    assert opened.is_right
    found = mean_of(opened.total, privacy, count) * count
    assert found == pytest.approx(expected, abs=1e-6)
    assert 1 < np.linalg.norm(expected) <= count * CLIP


def test_with_the_noise_of_a_real_plan_the_opened_sum_is_off_by_just_that() -> None:
    plan = propose(Wish(CORE, DEVICES, dropout=0.2, corrupt=0.1, epsilon=8.0, clip=CLIP), bytes(range(32)))
    opened, expected, count = summed(plan)
    assert opened.is_right
    error = mean_of(opened.total, plan.privacy, count) * count - expected
    noise = math.sqrt(count * (plan.privacy.variance + 1 / 6)) / plan.privacy.scale
    assert error.std() == pytest.approx(noise, rel=0.03)
    assert abs(error.mean()) < 5 * noise / math.sqrt(CORE)
