"""Fitted weights: the best there are for their loss, and the same each time."""

import numpy as np
import numpy.typing as npt
import pytest

from skills.embedding.worker import logistic
from skills.embedding.worker.logistic import Linear, fit

Array = npt.NDArray[np.float32]


def cloud(classes: int, each: int, spread: float, seed: int = 1) -> tuple[Array, npt.NDArray[np.intp]]:
    """Vectors of length 1 around a direction for each class."""
    numbers = np.random.default_rng(seed)
    centres = numbers.normal(size=(classes, 16))
    vectors = np.repeat(centres, each, 0) + spread * numbers.normal(size=(classes * each, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat(np.arange(classes), each)


def loss(linear: Linear, vectors: Array, classes: npt.NDArray[np.intp]) -> float:
    """The sum of losses and the penalty, in float64."""
    logits = vectors.astype(np.float64) @ linear.weights.T + linear.bias
    own = logits[np.arange(len(classes)), classes]
    losses = np.log(np.exp(logits).sum(1)) - own
    return float(losses.sum() + (linear.weights.astype(np.float64) ** 2).sum() / (2 * logistic._STRENGTH))


def test_classes_that_lie_apart_are_told_apart() -> None:
    vectors, classes = cloud(7, 20, 0.2)
    linear = fit(vectors, classes, 7)
    assert (linear.logits(vectors).argmax(1) == classes).all()
    others, _ = cloud(7, 5, 0.2)
    assert (linear.logits(others).argmax(1) == np.repeat(np.arange(7), 5)).all()


@pytest.mark.parametrize("spread", [0.2, 1.5])
def test_no_step_in_any_direction_makes_the_loss_smaller(spread: float) -> None:
    vectors, classes = cloud(4, 15, spread)
    linear = fit(vectors, classes, 4)
    least = loss(linear, vectors, classes)
    numbers = np.random.default_rng(3)
    for _ in range(200):
        step = numbers.normal(size=linear.weights.shape).astype(np.float32)
        shift = numbers.normal(size=linear.bias.shape).astype(np.float32)
        for size in (0.3, -0.3):
            moved = Linear(linear.weights + size * step, linear.bias + size * shift)
            assert loss(moved, vectors, classes) > least


def test_the_slope_is_that_of_the_loss() -> None:
    vectors, classes = cloud(3, 6, 1.0)
    objective = logistic._Objective(vectors, classes, 3)
    place = np.random.default_rng(2).normal(size=(17, 3)).astype(np.float32)
    _, slope = objective(place)
    for row, column in ((0, 0), (7, 2), (16, 1)):
        ahead, behind = place.copy(), place.copy()
        ahead[row, column] += 0.01
        behind[row, column] -= 0.01
        measured = (objective(ahead)[0] - objective(behind)[0]) / (ahead[row, column] - behind[row, column])
        assert measured == pytest.approx(slope[row, column], abs=2e-4)


def test_the_same_examples_give_the_same_weights() -> None:
    vectors, classes = cloud(5, 9, 0.8)
    one, other = fit(vectors, classes, 5), fit(vectors, classes, 5)
    assert one.weights.tobytes() == other.weights.tobytes()
    assert one.bias.tobytes() == other.bias.tobytes()


def test_examples_that_contradict_each_other_end_too() -> None:
    vectors = np.full((8, 16), 0.25, np.float32)
    linear = fit(vectors, np.arange(8) % 2, 2)
    assert np.isfinite(linear.weights).all()
    assert np.ptp(linear.logits(vectors)) < 1e-3
