"""What the server makes of a mean of updates: the next numbers. It sees the released mean and nothing else.

FedAvg (McMahan et al. 2017) with a server's learning rate, and FedAdam (Reddi et al. 2021, algorithm 2).
"""

from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.errors import Malformed
from federation.messages import Message

__all__ = ["Adam", "Averaging", "Combined", "combine"]

_Rate = Annotated[float, msgspec.Meta(gt=0, le=100)]
_Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class Averaging(Message, frozen=True, array_like=True, tag="fedavg"):
    """The numbers move by the mean, times a rate.

    Attributes:
        rate: 1 is the mean itself.
        momentum: Share of the last move that is made once more (FedAvgM, Hsu et al. 2019).
    """

    rate: _Rate = 1.0
    momentum: _Share = 0.0


class Adam(Message, frozen=True, array_like=True, tag="fedadam"):
    """The numbers move by the mean of means, each in the measure of how much it varies.

    Attributes:
        rate: Of the move.
        first: Decay of the mean of means.
        second: Decay of the mean of their squares.
        floor: Keeps a number that hardly varies from moving far (τ in the paper).
    """

    rate: _Rate = 0.01
    first: _Share = 0.9
    second: _Share = 0.99
    floor: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1e-3


class Combined(NamedTuple):
    """Where a task is.

    Attributes:
        numbers: Shape (parameters,), float64.
        moments: What is remembered of earlier rounds, shape (parameters,) each: the last move for `Averaging`, the
            two means for `Adam`. Made of released means alone, so that it says no more than these.
    """

    numbers: NDArray[np.float64]
    moments: tuple[NDArray[np.float64], ...] = ()


def combine(how: Averaging | Adam, before: Combined, mean: NDArray[np.float64]) -> Combined:
    """The next numbers.

    Args:
        how: The task's rule.
        before: Where it was; without moments in the first round.
        mean: Of the updates, shape (parameters,).

    Raises:
        Malformed: the mean is of another task, or isn't finite.
    """
    if mean.shape != before.numbers.shape or not np.all(np.isfinite(mean)):
        raise Malformed("That is no mean of updates to these numbers.")
    nothing = np.zeros_like(mean)
    if isinstance(how, Averaging):
        (last,) = before.moments or (nothing,)
        move = how.momentum * last + mean
        return Combined(before.numbers + how.rate * move, (move,))
    first, second = before.moments or (nothing, np.full_like(mean, how.floor**2))
    first = how.first * first + (1 - how.first) * mean
    second = how.second * second + (1 - how.second) * mean**2
    return Combined(before.numbers + how.rate * first / (np.sqrt(second) + how.floor), (first, second))
