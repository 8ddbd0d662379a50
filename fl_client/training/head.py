"""Between the numbers that are trained and the head that inference uses, and from examples to rows."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from fl_client.errors import NotTrainable
from fl_client.training.head_protocol import HeadRecipe, Labelled
from skills.embedding.head import Head, checked
from skills.embedding.pins import DIMENSION

__all__ = ["numbers_of_head", "rows_of", "with_numbers"]

_AS_TRAINED = 1.0
"""The temperature of weights that were fitted: their softmax is what was made likely. That of a head of
descriptions, whose weights are directions alone, says nothing about them."""


def rows_of(recipe: HeadRecipe, vectors: Sequence[bytes], labels: Sequence[str]) -> Labelled:
    """Rows to learn from, or to judge by.

    Args:
        recipe: With the labels in their order.
        vectors: Of each example the embedder's vector, as it gives them.
        labels: Of each its label.

    Raises:
        NotTrainable: a label is none of the recipe's, or a vector has another length.
    """
    places = {label: place for place, label in enumerate(recipe.labels)}
    if not places.keys() >= set(labels):
        raise NotTrainable("An example has a label that isn't one of those that are learned.")
    if len(vectors) != len(labels) or any(len(vector) != 4 * DIMENSION for vector in vectors):
        raise NotTrainable(f"Each example is a vector of {DIMENSION} numbers and a label.")
    return Labelled(b"".join(vectors), np.array([places[label] for label in labels], "<u2").tobytes())


def numbers_of_head(head: Head, labels: Sequence[str]) -> NDArray[np.float32]:
    """What a training that goes on from a head begins with.

    Args:
        head: Checked.
        labels: The recipe's: the head's, in any order.

    Returns:
        Shape (labels * (DIMENSION + 1),), float32.

    Raises:
        NotTrainable: the head is about other labels.
    """
    weights, bias = _matrix(head.weights, len(head.labels)), _matrix(head.bias, len(head.labels))
    return np.hstack([weights, bias])[_order(head.labels, labels)].reshape(-1)


def with_numbers(head: Head, labels: Sequence[str], numbers: NDArray[np.float32]) -> Head:
    """The head that inference uses, with trained numbers in it.

    What says "none of these" stays: the centres, how near a text has to be to them, and what is known to lie
    outside. It is a matter of where each subject's texts lie, not of what tells them apart; and where others' texts
    lie, no device is told.

    Args:
        head: That the device has: of descriptions, of its own examples, or the one before.
        labels: The recipe's: the head's, in any order.
        numbers: Shape (labels * (DIMENSION + 1),), in the order of `labels`.

    Raises:
        NotTrainable: the head is about other labels, or there is another number of numbers.
        HeadRefused: a number isn't finite.
    """
    if numbers.shape != (len(labels) * (DIMENSION + 1),):
        raise NotTrainable(f"A head of {len(labels)} labels has {len(labels) * (DIMENSION + 1):,} numbers.")
    of_labels = numbers.reshape(len(labels), -1)[_order(labels, head.labels)]
    return checked(
        msgspec.structs.replace(
            head,
            weights=np.ascontiguousarray(of_labels[:, :-1], "<f4").tobytes(),
            bias=np.ascontiguousarray(of_labels[:, -1], "<f4").tobytes(),
            temperature=head.temperature if head.trained else _AS_TRAINED,
            trained=True,
        )
    )


def _matrix(data: bytes, rows: int) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f4").astype(np.float32).reshape(rows, -1)


def _order(have: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where the wanted labels stand."""
    places = {label: place for place, label in enumerate(have)}
    if places.keys() != set(wanted) or len(have) != len(wanted):
        raise NotTrainable("What is learned is about other labels than what was learned before.")
    return [places[label] for label in wanted]
