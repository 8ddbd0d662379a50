"""A plan, fitted to a model, the rows and the machine: as much as memory allows, and within the plan."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_client.errors import NotTrainable
from fl_client.training.base_model import BaseModel
from fl_client.training.plan import PERSONAL, Fitted, Machine, Range, TrainingPlan, fit

BASE = BaseModel(
    path=Path("/nowhere"),
    sha256="0" * 64,
    name="small",
    architecture="llama",
    parameters=135_000_000,
    layers=30,
    width=576,
    inner=1536,
    heads=9,
    kv_heads=3,
    head_size=64,
)
GIB = 1 << 30
PLAN = msgspec.structs.replace(PERSONAL, longest=Range(256, 2048))


def fitted(memory: float, lengths: list[int] | None = None, plan: TrainingPlan = PLAN) -> Fitted:
    return fit(plan, BASE, lengths or [3000] * 160, Machine(int(memory * GIB), 2), b"s" * 32)


def test_with_memory_enough_rows_are_as_long_as_the_plan_allows_and_nothing_is_computed_twice() -> None:
    made = fitted(16)
    assert (made.recipe.longest, made.recompute) == (2048, False)
    assert (made.recipe.rank, made.recipe.steps, made.recipe.rows_a_step) == (8, 40, 4)
    assert made.tokens_at_once >= 2048


def test_rows_that_are_short_take_no_more_than_they_need() -> None:
    assert fitted(16, [40, 300, 120]).recipe.longest == 300
    assert fitted(16, [40]).recipe.longest == 256


def test_with_less_memory_layers_are_computed_again_before_rows_are_cut_shorter() -> None:
    seen = [(made.recompute, made.recipe.longest) for memory in (16, 3, 2.0, 1.9) for made in [fitted(memory)]]
    assert seen[0] == (False, 2048)
    assert seen[1] == (True, 2048)
    assert seen == sorted(seen, key=lambda one: (one[0], -one[1]))


def test_with_too_little_it_is_refused_with_how_much_it_takes() -> None:
    with pytest.raises(NotTrainable, match=r"Training small takes about [\d,]+ MiB of memory; 512 may be taken"):
        fitted(0.5)


def test_few_examples_are_seen_more_often_and_many_not_without_end() -> None:
    assert fitted(16, [100] * 10).recipe.steps == 20
    assert fitted(16, [100] * 100_000).recipe.steps == 1000
    assert fitted(16, plan=msgspec.structs.replace(PLAN, passes=3)).recipe.steps == 120


def test_a_model_that_is_too_small_for_the_rank_is_refused() -> None:
    with pytest.raises(NotTrainable, match="too small for adapters of rank 512"):
        fitted(16, plan=msgspec.structs.replace(PLAN, rank=Range(512, 512)))


@given(st.floats(0.1, 64), st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_what_is_fitted_is_within_the_plan_and_the_memory(memory: float, lengths: list[int]) -> None:
    try:
        made = fitted(memory, lengths)
    except NotTrainable:
        return
    assert made.memory <= memory * GIB
    assert PLAN.longest.low <= made.recipe.longest <= PLAN.longest.high
    assert PLAN.steps.low <= made.recipe.steps <= PLAN.steps.high
