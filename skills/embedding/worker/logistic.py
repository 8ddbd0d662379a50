"""Multinomial logistic regression on vectors, fitted by L-BFGS (Nocedal and Wright, Algorithms 7.4 and 3.1)."""

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Linear", "fit"]

_STRENGTH = 5.0
"""The inverse of the penalty: minimised is the sum of losses and the weights' squares, halved, over this."""
_MOST_STEPS = 100
_REMEMBERED = 10
_FLAT_ENOUGH = 1e-5
_GAINS_ENOUGH = 1e-7
_SUFFICIENT = 1e-4
_SHORTEST = 1e-6

Array = npt.NDArray[np.float32]


class Linear(NamedTuple):
    """A fitted head.

    Attributes:
        weights: `(classes, dimension)`.
        bias: `(classes,)`; it isn't penalised.
    """

    weights: Array
    bias: Array

    def logits(self, vectors: Array) -> Array:
        """`(n, dimension)` to `(n, classes)`."""
        return np.asarray(vectors @ self.weights.T + self.bias)


def fit(vectors: Array, classes: npt.NDArray[np.intp], count: int) -> Linear:
    """Fit a head to examples; the same examples in the same order give the same head.

    Args:
        vectors: `(n, dimension)`.
        classes: `(n,)`, of each the number of its class, below `count`.
        count: How many classes there are.
    """
    objective = _Objective(vectors, classes, count)
    place = np.zeros((vectors.shape[1] + 1, count), np.float32)
    value, slope = objective(place)
    steps: deque[tuple[Array, Array]] = deque(maxlen=_REMEMBERED)
    for _ in range(_MOST_STEPS):
        direction = _direction(slope, steps)
        downhill = _dot(slope, direction)
        length = 1.0 if steps else 1.0 / float(np.abs(slope).sum() + 1)
        while True:
            next_place = place + np.float32(length) * direction
            next_value, next_slope = objective(next_place)
            if next_value <= value + _SUFFICIENT * length * downhill:
                break
            length /= 2
            if length < _SHORTEST:
                return objective.linear(place)
        step, change = next_place - place, next_slope - slope
        if _dot(step, change) > 0:
            steps.append((step, change))
        gained = value - next_value
        place, value, slope = next_place, next_value, next_slope
        if float(np.abs(slope).max()) < _FLAT_ENOUGH or gained < _GAINS_ENOUGH:
            break
    return objective.linear(place)


class _Objective:
    """The mean cross-entropy and the penalty, with their slope."""

    def __init__(self, vectors: Array, classes: npt.NDArray[np.intp], count: int) -> None:
        self._inputs = np.hstack([vectors, np.ones((len(vectors), 1), np.float32)])
        self._at = (np.arange(len(classes)), classes)
        self._penalty = np.float32(1 / (_STRENGTH * len(vectors)))
        self._count = count

    def __call__(self, place: Array) -> tuple[float, Array]:
        logits = self._inputs @ place
        own = logits[self._at].copy()
        greatest = logits.max(1, keepdims=True)
        logits -= greatest
        np.exp(logits, out=logits)
        sums = logits.sum(1, keepdims=True)
        loss = float((np.log(sums) + greatest).mean(dtype=np.float64) - own.mean(dtype=np.float64))
        logits /= sums
        logits[self._at] -= 1
        logits /= np.float32(len(logits))
        penalised = place.copy()
        penalised[-1] = 0
        penalised *= self._penalty
        return loss + _dot(penalised, place) / 2, self._inputs.T @ logits + penalised

    @staticmethod
    def linear(place: Array) -> Linear:
        return Linear(np.ascontiguousarray(place[:-1].T), place[-1].copy())


def _direction(slope: Array, steps: "deque[tuple[Array, Array]]") -> Array:
    """Downhill, as the curvature seen in the last steps suggests."""
    direction = -slope
    shares = []
    for step, change in reversed(steps):
        share = _dot(step, direction) / _dot(step, change)
        shares.append(share)
        direction = direction - np.float32(share) * change
    if steps:
        step, change = steps[-1]
        direction = direction * np.float32(_dot(step, change) / _dot(change, change))
    for (step, change), share in zip(steps, reversed(shares), strict=True):
        direction = direction + np.float32(share - _dot(change, direction) / _dot(step, change)) * step
    return direction


def _dot(one: Array, other: Array) -> float:
    return float(np.vdot(one, other))
