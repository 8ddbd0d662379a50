"""Multinomial logistic regression by stochastic gradient descent (Robbins and Monro 1951), in numpy alone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "Softmax"]

_AT_ONCE = 1024
"""Rows that are judged together: what they take of memory doesn't grow with their number."""

Matrix = NDArray[np.float64]


class Rows(NamedTuple):
    """Vectors with their labels.

    Attributes:
        vectors: Shape (n, dimension), float32.
        labels: Shape (n,), each below the number of labels.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.uint16]

    def of(self, chosen: Sequence[int] | slice) -> "Rows":
        """Some of them."""
        return Rows(self.vectors[chosen], self.labels[chosen])

    def parts(self) -> Iterator["Rows"]:
        """All of them, so many at once as fit."""
        for begin in range(0, len(self.labels), _AT_ONCE):
            yield self.of(slice(begin, begin + _AT_ONCE))


class Softmax:
    """A linear classifier, computed in float64.

    Args:
        numbers: Shape (labels, dimension + 1): of each label its weights and its bias; or (labels, dimension),
            without biases.
        penalty: Half of it, times the weights' squares, is added to the mean loss.

    Attributes:
        numbers: As they are now, float64.
    """

    def __init__(self, numbers: NDArray[np.float32], penalty: float) -> None:
        self.numbers: Matrix = numbers.astype(np.float64)
        self._penalty = penalty

    def step(self, rows: Rows, rate: float) -> float:
        """Go one step down the slope of some rows' mean loss and the penalty.

        Args:
            rows: At least one.
            rate: How far, times the slope.

        Returns:
            The mean loss before the step, in nats, without the penalty.
        """
        inputs = self._inputs(rows.vectors)
        logits = inputs @ self.numbers.T
        losses, odds = _surprise(logits, rows.labels)
        odds[np.arange(len(odds)), rows.labels] -= 1
        slope = odds.T @ inputs / len(odds)
        weights = slice(rows.vectors.shape[1])
        slope[:, weights] += self._penalty * self.numbers[:, weights]
        self.numbers -= rate * slope
        return float(losses.mean())

    def judge(self, rows: Rows) -> tuple[float, float]:
        """The mean loss of some rows, in nats, and the share of them whose label is the likeliest."""
        loss, right = 0.0, 0
        for part in rows.parts():
            logits = self._inputs(part.vectors) @ self.numbers.T
            loss += float(_surprise(logits, part.labels)[0].sum())
            right += int((logits.argmax(1) == part.labels).sum())
        return loss / len(rows.labels), right / len(rows.labels)

    def _inputs(self, vectors: NDArray[np.float32]) -> Matrix:
        """Behind each vector a one, which the bias is multiplied by, where there are biases."""
        ones = self.numbers.shape[1] - vectors.shape[1]
        return np.hstack([vectors.astype(np.float64), np.ones((len(vectors), ones))])


def _surprise(logits: Matrix, labels: NDArray[np.uint16]) -> tuple[Matrix, Matrix]:
    """Of each row -ln p of its label, shape (n,), and p of all labels, shape (n, labels)."""
    logits = logits - logits.max(1, keepdims=True)
    odds = np.exp(logits)
    sums = odds.sum(1, keepdims=True)
    losses = np.log(sums[:, 0]) - logits[np.arange(len(labels)), labels]
    return losses, odds / sums
