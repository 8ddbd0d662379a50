"""What a head's task makes a device do: the order that a round's training is, and what a release means in use."""

import numpy as np

from federation.privacy.clip import RawDelta
from federation.task import HeadTraining
from fl_client.delta import delta_of
from fl_client.training.head_frame import HeadFrame, Numbers
from fl_client.training.head_protocol import HeadOrder, HeadRecipe, HeadResult, Labelled
from skills.embedding.pins import DIMENSION

__all__ = ["head_delta", "head_numbers", "head_order", "head_recipe"]

_NO_ROWS = Labelled()


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
    recipe: HeadRecipe, frame: HeadFrame, release: bytes, rows: Labelled, held_out: Labelled = _NO_ROWS
) -> HeadOrder:
    """What the trainer is told for a round; `head_delta` makes an update of its answer.

    Args:
        recipe: As `head_recipe` makes it.
        frame: As `fl_client.training.head_frame.head_frame` makes it.
        release: That the round begins with, little-endian float32.
        rows: What to learn from.
        held_out: What to judge by.

    Raises:
        NotTrainable: the release is of another head.
    """
    return HeadOrder(recipe, DIMENSION, rows, held_out, frame.weights(release).astype("<f4").tobytes())


def head_delta(frame: HeadFrame, order: HeadOrder, result: HeadResult) -> RawDelta:
    """What a training changed, as an update of the release.

    Args:
        frame: That the order was made with.
        order: What was to be trained.
        result: What came of it, looked at.

    Raises:
        TrainingFailed: the result isn't one of this order's.
    """
    return frame.update(delta_of(order, result))


def head_numbers(frame: HeadFrame, release: bytes) -> Numbers:
    """The numbers that a release means in use, with zeros for the biases where there are none.

    `fl_client.training.head.with_numbers` puts them into the head that inference uses.

    Args:
        frame: As `fl_client.training.head_frame.head_frame` makes it.
        release: Little-endian float32.

    Returns:
        Shape (labels * (DIMENSION + 1),), float32.

    Raises:
        NotTrainable: the release is of another head.
    """
    whole = np.zeros((len(frame.start), DIMENSION + 1), np.float32)
    whole[:, : frame.start.shape[1]] = frame.weights(release)
    return whole.reshape(-1)
