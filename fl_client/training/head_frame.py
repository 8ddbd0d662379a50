"""What the numbers of a head's task mean: where a head begins, and how what is learned together is laid over it.

With the vectors E of the labels' names, all of which every device makes for itself, the weights that a release R
means are W = scale · E + A · R · Pᵀ. P holds the directions in which the names differ most, A lets labels learn
from each other whose names are alike; both are the identity unless a task asks for them. W is linear in R, and what
training changes of W becomes an update of R by the same two, from the other side: that is the slope in R.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from federation.privacy.clip import RawDelta
from federation.task import HeadTraining
from fl_client.errors import NotTrainable
from skills.bundled.intents.wording import wordings
from skills.embedding.pins import DIMENSION

__all__ = ["HeadFrame", "Numbers", "head_frame", "names_of"]

Numbers = NDArray[np.float32]
_Reals = NDArray[np.float64]


class HeadFrame(NamedTuple):
    """What a release is laid over.

    Attributes:
        start: Shape (labels, DIMENSION + 1) with biases, else (labels, DIMENSION); float32.
        mixing: A, symmetric, shape (labels, labels); `None` for the identity.
        directions: P, orthonormal, shape (DIMENSION, r); `None` for the identity.
    """

    start: Numbers
    mixing: _Reals | None = None
    directions: _Reals | None = None

    @property
    def numbers(self) -> int:
        """How many numbers a release has."""
        return len(self.start) * self._width

    @property
    def _width(self) -> int:
        return int((self.start if self.directions is None else self.directions).shape[1])

    def weights(self, release: bytes) -> Numbers:
        """The head that a release means, shaped as `start`.

        Args:
            release: Little-endian float32.

        Raises:
            NotTrainable: the release is of another head.
        """
        if len(release) != 4 * self.numbers:
            raise NotTrainable("The release has another number of numbers than the task's head.")
        added: _Reals = np.frombuffer(release, "<f4").reshape(-1, self._width).astype(np.float64)
        if self.mixing is not None:
            added = self.mixing @ added
        if self.directions is not None:
            added = added @ self.directions.T
        weights: Numbers = (self.start + added).astype(np.float32)
        return weights

    def update(self, changed: RawDelta) -> RawDelta:
        """The update of a release that a change of the head is; the change has the shape of `start`, in one row."""
        change = changed.values.reshape(self.start.shape)
        if self.mixing is not None:
            change = self.mixing @ change
        if self.directions is not None:
            change = change @ self.directions
        return RawDelta(change.reshape(-1))


def names_of(training: HeadTraining) -> list[str]:
    """The texts whose vectors `head_frame` wants: the labels' names, as spoken; none where it needs none."""
    needed = training.start == "names" or training.directions or training.kinship
    return [wordings(label, "")[0] for label in training.labels] if needed else []


def head_frame(training: HeadTraining, names: Sequence[bytes]) -> HeadFrame:
    """What a task's releases are laid over.

    Args:
        training: The task's.
        names: The embedder's vectors of `names_of(training)`.

    Raises:
        NotTrainable: there are other vectors than the names'.
    """
    start = np.zeros((len(training.labels), DIMENSION + training.biases), np.float32)
    if not names_of(training):
        return HeadFrame(start)
    if len(names) != len(training.labels) or any(len(name) != 4 * DIMENSION for name in names):
        raise NotTrainable("The start of this task is made of one vector for the name of each label.")
    vectors = np.frombuffer(b"".join(names), "<f4").reshape(-1, DIMENSION)
    if training.start == "names":
        start[:, :DIMENSION] = vectors * training.start_scale
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    return HeadFrame(
        start,
        _mixing(centred, training.kinship) if training.kinship else None,
        _directions(centred, training.directions) if training.directions else None,
    )


def _mixing(centred: _Reals, kinship: float) -> _Reals:
    """The cosines between names, to the power of half the kinship: its square has a mean eigenvalue of 1."""
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(lengths > 0, lengths, 1)
    values, vectors = np.linalg.eigh(unit @ unit.T)
    powers = np.maximum(values, 0) ** kinship
    mixed: _Reals = (vectors * np.sqrt(powers / powers.mean())) @ vectors.T
    return mixed


def _directions(centred: _Reals, count: int) -> _Reals:
    """The first right singular vectors; of each the number that is largest in magnitude is positive."""
    rows = np.linalg.svd(centred, full_matrices=False)[2][:count]
    signs = np.sign(rows[np.arange(count), np.abs(rows).argmax(1)])
    found: _Reals = (rows * signs[:, None]).T
    return found
