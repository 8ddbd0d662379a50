"""What a training run and the sandboxed trainer of heads say to each other.

A head is a linear classifier over the embedder's frozen vectors. Its numbers are, label by label in the order of
the recipe's labels, the label's weights and behind them its bias, where it has one. A text's logits are linear in
them, so that a sum of many devices' numbers is the head of the sum.
"""

from typing import Annotated

import msgspec
import numpy as np

from fl_client.training.protocol import PROTOCOL

__all__ = ["HeadJudged", "HeadOrder", "HeadRecipe", "HeadResult", "Labelled"]

_FLOAT, _PLACE = 4, 2

_Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]


class HeadRecipe(msgspec.Struct, frozen=True):
    """How a head is trained; with the rows and what it begins with, it says what comes out.

    Attributes:
        labels: What is told apart, each another; the order of the numbers.
        steps: How often the numbers are changed.
        rows_a_step: From how many rows each time.
        learning_rate: At first; it falls to 0 in a straight line. With few labels a rate above 2 may not settle;
            the more of them, the flatter the slope, and the higher it can be.
        penalty: Half of it, times the weights' squares, is added to the mean loss; biases are free.
        seed: 32 bytes; of the order of rows.
        biases: Whether each label has one, behind its weights.
    """

    labels: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1)], ...], msgspec.Meta(max_length=1000)]
    steps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    rows_a_step: _Count
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=100)]
    penalty: Annotated[float, msgspec.Meta(ge=0, le=1)]
    seed: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    biases: bool = True

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ValueError("there are two labels at least, each another")

    def count(self, dimension: int) -> int:
        """How many numbers are trained, for vectors of so many."""
        return len(self.labels) * (dimension + self.biases)


class Labelled(msgspec.Struct, frozen=True):
    """Rows, as vectors with their labels.

    Attributes:
        vectors: Little-endian float32, one row behind another, each of length 1.
        labels: Of each row the place of its label among the recipe's, little-endian uint16.
    """

    vectors: bytes = b""
    labels: bytes = b""

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.labels) // _PLACE


class HeadOrder(msgspec.Struct, frozen=True):
    """What the trainer is to do; its stdin.

    Attributes:
        recipe: How to train.
        dimension: Numbers of a vector.
        rows: What to learn from, at least one where there are steps.
        held_out: What to judge by.
        numbers: What to begin with, little-endian float32; empty: zeros.

    Raises:
        ValueError: its parts don't fit each other.
    """

    recipe: HeadRecipe
    dimension: _Count
    rows: Labelled
    held_out: Labelled = Labelled()
    numbers: bytes = b""
    protocol: int = PROTOCOL

    def __post_init__(self) -> None:
        for part in (self.rows, self.held_out):
            if (len(part.labels), len(part.vectors)) != (_PLACE * part.rows, _FLOAT * self.dimension * part.rows):
                raise ValueError("each row has a vector and a label")
            if np.frombuffer(part.labels, "<u2").max(initial=0) >= len(self.recipe.labels):
                raise ValueError("a row's label is none of the recipe's")
        if self.numbers and len(self.numbers) != _FLOAT * self.recipe.count(self.dimension):
            raise ValueError("what to begin with is of another head")
        if self.recipe.steps and not self.rows.rows:
            raise ValueError("there is nothing to learn from")


class HeadJudged(msgspec.Struct, frozen=True):
    """How well a head tells the held-out rows apart.

    Attributes:
        loss: Mean of -ln p of the right label, in nats.
        accuracy: Share of rows whose likeliest label is the right one.
    """

    loss: float
    accuracy: float


class HeadResult(msgspec.Struct, frozen=True, tag="head"):
    """What came of an order: the trainer's word.

    Attributes:
        numbers: The trained numbers, little-endian float32.
        before: With what the run began with; `None` without held-out rows.
        after: With what it made; the same.
        losses: Of each step's rows, before the step; without the penalty.
        seconds: That training took, without starting and judging.
    """

    numbers: bytes
    before: HeadJudged | None
    after: HeadJudged | None
    losses: tuple[float, ...]
    seconds: float
    protocol: int = PROTOCOL
