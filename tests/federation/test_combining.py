"""What the server makes of means: FedAvg, its momentum, and FedAdam, against the papers' formulas."""

import numpy as np
import pytest
from numpy.typing import NDArray

from federation.combining import Adam, Averaging, Combined, combine
from federation.errors import Malformed

MEANS = np.random.default_rng(1).normal(size=(5, 30))


def test_fedavg_adds_the_mean() -> None:
    state = Combined(np.zeros(30))
    for mean in MEANS:
        state = combine(Averaging(), state, mean)
    assert state.numbers == pytest.approx(MEANS.sum(axis=0))


def test_momentum_makes_a_share_of_the_last_move_again() -> None:
    state, velocity, expected = Combined(np.ones(30)), np.zeros(30), np.ones(30)
    for mean in MEANS:
        state = combine(Averaging(0.5, 0.9), state, mean)
        velocity = 0.9 * velocity + mean
        expected = expected + 0.5 * velocity
    assert state.numbers == pytest.approx(expected)


def test_fedadam_is_the_paper_s() -> None:
    """Reddi et al. 2021, algorithm 2, with v₋₁ = τ²."""
    how = Adam(0.1, 0.9, 0.99, 1e-3)
    state, first, second, expected = Combined(np.zeros(30)), np.zeros(30), np.full(30, 1e-6), np.zeros(30)
    for mean in MEANS:
        state = combine(how, state, mean)
        first = 0.9 * first + 0.1 * mean
        second = 0.99 * second + 0.01 * mean * mean
        expected = expected + 0.1 * first / (np.sqrt(second) + 1e-3)
    assert state.numbers == pytest.approx(expected)


@pytest.mark.parametrize("mean", [np.zeros(29), np.full(30, np.nan), np.full(30, np.inf)])
def test_what_is_no_mean_of_these_numbers_is_refused(mean: NDArray[np.float64]) -> None:
    with pytest.raises(Malformed):
        combine(Averaging(), Combined(np.zeros(30)), mean)
