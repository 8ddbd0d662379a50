"""What a task makes a device do: the order that a round's training is, and what its releases mean in use.

A release's numbers are what is added to the task's start. So all devices begin with the same head without having
been sent it, and nothing has to be learned anew that the names of the labels say by themselves.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from federation.task import HeadTraining
from fl_client.errors import NotTrainable
from fl_client.training.head_protocol import HeadOrder, HeadRecipe, Labelled
from skills.bundled.intents.wording import wordings
from skills.embedding.pins import DIMENSION

__all__ = ["head_numbers", "head_order", "head_recipe", "head_start", "names_of"]

Numbers = NDArray[np.float32]
_NO_ROWS = Labelled()


def names_of(training: HeadTraining) -> list[str]:
    """The texts whose vectors `head_start` wants: the labels' names, as spoken; none for a start of zeros."""
    return [wordings(label, "")[0] for label in training.labels] if training.start == "names" else []


def head_start(training: HeadTraining, names: Sequence[bytes]) -> Numbers:
    """What a task's releases are added to.

    Args:
        training: The task's.
        names: The embedder's vectors of `names_of(training)`.

    Returns:
        Shape (labels, DIMENSION + 1), or (labels, DIMENSION) where the task's head has no biases; float32.

    Raises:
        NotTrainable: there are other vectors than the names'.
    """
    start = np.zeros((len(training.labels), DIMENSION + training.biases), np.float32)
    if training.start == "names":
        if len(names) != len(training.labels) or any(len(name) != 4 * DIMENSION for name in names):
            raise NotTrainable("The start of this task is made of one vector for the name of each label.")
        start[:, :DIMENSION] = np.frombuffer(b"".join(names), "<f4").reshape(-1, DIMENSION) * training.start_scale
    return start


def head_recipe(training: HeadTraining, seed: bytes) -> HeadRecipe:
    """How a device trains for a round.

    Args:
        training: The task's.
        seed: 32 bytes; of the order of this device's rows in this round.
    """
    return HeadRecipe(
        training.labels,
        training.steps,
        training.rows_a_step,
        training.learning_rate,
        training.penalty,
        seed,
        training.biases,
    )


def head_order(
    recipe: HeadRecipe, start: Numbers, release: bytes, rows: Labelled, held_out: Labelled = _NO_ROWS
) -> HeadOrder:
    """What the trainer is told for a round; `fl_client.delta.delta_of` makes an update of its answer.

    Args:
        recipe: As `head_recipe` makes it.
        start: As `head_start` makes it.
        release: That the round begins with, little-endian float32.
        rows: What to learn from.
        held_out: What to judge by.

    Raises:
        NotTrainable: the release is of another head.
    """
    return HeadOrder(recipe, DIMENSION, rows, held_out, _sum(start, release).astype("<f4").tobytes())


def head_numbers(start: Numbers, release: bytes) -> Numbers:
    """The numbers that a release means in use, with zeros for the biases where there are none.

    `fl_client.training.head.with_numbers` puts them into the head that inference uses.

    Args:
        start: As `head_start` makes it.
        release: Little-endian float32.

    Returns:
        Shape (labels * (DIMENSION + 1),), float32.

    Raises:
        NotTrainable: the release is of another head.
    """
    whole = np.zeros((len(start), DIMENSION + 1), np.float32)
    whole[:, : start.shape[1]] = _sum(start, release)
    return whole.reshape(-1)


def _sum(start: Numbers, release: bytes) -> Numbers:
    if len(release) != 4 * start.size:
        raise NotTrainable("The release has another number of numbers than the task's head.")
    added: Numbers = start + np.frombuffer(release, "<f4").reshape(start.shape)
    return added
