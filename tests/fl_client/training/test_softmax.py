"""The head's trainer: it finds the best weights there are, the same each time."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fl_client.training.worker.softmax import Rows, Softmax
from skills.embedding.worker.logistic import fit

Array = NDArray[np.float32]


def cloud(classes: int, each: int, spread: float, dimension: int = 16, seed: int = 1) -> Rows:
    """Vectors of length 1 around a direction for each class."""
    dice = np.random.default_rng(seed)
    vectors = np.repeat(dice.normal(size=(classes, dimension)), each, 0)
    vectors += spread * dice.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Rows(vectors.astype(np.float32), np.repeat(np.arange(classes), each).astype(np.uint16))


def nothing(classes: int, dimension: int = 16) -> Array:
    return np.zeros((classes, dimension + 1), np.float32)


def test_going_down_the_slope_of_all_rows_ends_where_a_second_order_method_ends() -> None:
    """L-BFGS over the same loss; its penalty is 1/5 over the sum of losses, ours is over their mean."""
    rows = cloud(3, 15, 0.8)
    best = fit(rows.vectors, rows.labels.astype(np.intp), 3)
    head = Softmax(nothing(3), 1 / (5 * 45))
    for _ in range(8000):
        head.step(rows, 1.5)
    assert head.numbers[:, :-1] == pytest.approx(best.weights, abs=0.02)
    assert head.numbers[:, -1] == pytest.approx(best.bias, abs=0.02)


def test_the_slope_is_that_of_the_loss_and_the_penalty() -> None:
    rows, penalty = cloud(3, 4, 1.0, dimension=5), 0.3
    begun = np.random.default_rng(2).normal(size=(3, 6)).astype(np.float32)

    def loss(numbers: NDArray[np.float64]) -> float:
        logits = rows.vectors @ numbers[:, :-1].T + numbers[:, -1]
        own = logits[np.arange(12), rows.labels]
        mean = float((np.log(np.exp(logits).sum(1)) - own).mean())
        return mean + penalty / 2 * float((numbers[:, :-1] ** 2).sum())

    head = Softmax(begun, penalty)
    told = head.step(rows, 1.0)
    slope, small = begun - head.numbers, 1e-5
    assert told == pytest.approx(loss(begun.astype(np.float64)) - penalty / 2 * float((begun[:, :-1] ** 2).sum()))
    for place in np.ndindex(slope.shape):
        up, down = begun.astype(np.float64), begun.astype(np.float64)
        up[place] += small
        down[place] -= small
        assert slope[place] == pytest.approx((loss(up) - loss(down)) / (2 * small), abs=1e-6)


def test_rows_that_lie_apart_are_told_apart() -> None:
    rows, others = cloud(7, 20, 0.2), cloud(7, 5, 0.2)
    head = Softmax(nothing(7), 1e-4)
    for number in range(300):
        head.step(rows.of([(7 * number + place * 11) % 140 for place in range(16)]), 1.5)
    assert head.judge(rows)[1] == head.judge(others)[1] == 1


def test_many_rows_are_judged_as_each_of_them_is() -> None:
    rows = cloud(4, 700, 1.0)
    head = Softmax(np.random.default_rng(3).normal(size=(4, 17)).astype(np.float32), 0.0)
    alone = [head.judge(rows.of(slice(place, place + 1))) for place in range(2800)]
    assert head.judge(rows) == pytest.approx(np.mean(alone, axis=0))


def test_logits_that_no_float_has_the_exponential_of_cost_nothing() -> None:
    rows = cloud(3, 2, 0.1)
    head = Softmax(np.full((3, 17), 1e5, np.float32), 0.0)
    head.numbers[1] *= -1
    assert np.isfinite(head.step(rows, 1.0))
    assert np.isfinite(head.numbers).all()


def test_without_biases_only_weights_are_learned_and_the_slope_is_the_same() -> None:
    rows = cloud(3, 4, 1.0, dimension=5)
    begun = np.random.default_rng(2).normal(size=(3, 6)).astype(np.float32)
    begun[:, -1] = 0
    whole, bare = Softmax(begun, 0.3), Softmax(begun[:, :-1], 0.3)
    assert bare.step(rows, 0.7) == whole.step(rows, 0.7)
    assert bare.numbers == pytest.approx(whole.numbers[:, :-1])
    assert bare.judge(rows)[0] > 0
