"""Vectors of descriptions and examples into a head, and a head's verdict about one vector.

"None of these" is a matter of distance: a text that is no subject's lies far from the centre of the one whose logit
is greatest. On CLINC150's training texts, a fifth of them held out, that cosine told the 100 that lie outside apart
better than the greatest probability, the greatest logit or the energy (Liu et al. 2020, arXiv:2010.03759) did: of
those it refused 93 % where it refused 4 % of the others; they refused 81 to 88 %. And it asks for no texts from
outside, so that it works for a person who has none.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skills.embedding.head import MOST_OUTSIDE, Head, Verdict
from skills.embedding.worker.logistic import Linear, fit

__all__ = ["Material", "OpenHead", "learn"]

Array = npt.NDArray[np.float32]

_FOLDS = 4
_REFUSED_OF_OWN = 0.025
"""The share of a subject's own texts that may be taken for none of them, on texts that weren't learned from."""
_LEAST_DESCRIBED = 0.22
_TEMPERATURE_DESCRIBED = 0.05
"""For heads of descriptions, which no text of a person's is there to measure: from 60 requests of our own to twelve
tools, and 40 others. See docs/intent-router.md."""
_ENOUGH_TO_MEASURE = 20
_TEMPERATURES = np.geomspace(0.05, 5.0, 47)


class Material(NamedTuple):
    """The vectors of one subject's texts.

    Attributes:
        label: Its name.
        descriptions: `(m, dimension)`, `m` may be 0.
        examples: `(n, dimension)`, `n` may be 0; one of both isn't.
    """

    label: str
    descriptions: Array
    examples: Array


class OpenHead:
    """A head whose numbers can be reckoned with.

    Args:
        head: Checked.
    """

    def __init__(self, head: Head) -> None:
        count = len(head.labels)
        self._linear = Linear(
            np.frombuffer(head.weights, "<f4").reshape(count, -1), np.frombuffer(head.bias, "<f4")
        )
        self._centres = np.frombuffer(head.centres, "<f4").reshape(count, -1)
        self._outside = np.frombuffer(head.outside, "<f4").reshape(-1, self._centres.shape[1])
        self._temperature = head.temperature
        self._least = np.frombuffer(head.least, "<f4")

    def decide(self, vector: Array, most: int) -> Verdict:
        """What one text is about.

        Args:
            vector: `(dimension,)`, of length 1.
            most: How many labels to rank.
        """
        logits = self._linear.logits(vector[None])[0].astype(np.float64) / self._temperature
        odds = np.exp(logits - logits.max())
        odds /= odds.sum()
        order = np.argsort(-odds, kind="stable")[: max(1, most)]
        best = int(order[0])
        nearness = float(self._centres[best] @ vector)
        nearest_outside = float((self._outside @ vector).max(initial=-1.0))
        own = nearness >= self._least[best] and nearness >= nearest_outside
        ranked = tuple((int(place), float(odds[place])) for place in order)
        return Verdict(best if own else None, nearness, ranked)


def learn(
    subjects: Sequence[Material],
    outside: Array,
    *,
    train: bool,
    side_by_side: Callable[[Callable[[int], None], range], None],
) -> Head:
    """Make a head.

    Args:
        subjects: What to tell apart; to train, each with at least two examples.
        outside: `(n, dimension)`, vectors of texts that belong to none.
        train: Whether to fit weights to the examples.
        side_by_side: Calls a function with each number of a range, perhaps some at a time.
    """
    if train:
        centres = np.stack([_unit(subject.examples.mean(0)) for subject in subjects])
        linear, temperature, limit = _trained(subjects, side_by_side)
        least = np.full(len(subjects), limit, np.float32)
    else:
        centres = np.stack([_centre(subject.descriptions, subject.examples) for subject in subjects])
        linear = Linear(centres, np.zeros(len(subjects), np.float32))
        temperature, least = _TEMPERATURE_DESCRIBED, _least_of_described(subjects)
    return Head(
        labels=tuple(subject.label for subject in subjects),
        weights=_bytes(linear.weights),
        bias=_bytes(linear.bias),
        centres=_bytes(centres),
        outside=_bytes(outside[:MOST_OUTSIDE]),
        least=_bytes(least),
        temperature=temperature,
        trained=train,
    )


def _trained(
    subjects: Sequence[Material], side_by_side: Callable[[Callable[[int], None], range], None]
) -> tuple[Linear, float, float]:
    """A fitted head, its temperature and its least nearness.

    The last two are measured on texts that weren't learned from: each quarter of the examples with a head that was
    fitted to the other three.
    """
    count = len(subjects)
    vectors = np.concatenate([subject.examples for subject in subjects])
    classes = np.repeat(np.arange(count), [len(subject.examples) for subject in subjects])
    turns = np.concatenate([np.arange(len(subject.examples)) % _FOLDS for subject in subjects])
    logits = np.zeros((len(vectors), count), np.float32)
    nearness = np.zeros(len(vectors), np.float32)
    whole: list[Linear] = []

    def turn(number: int) -> None:
        learned = turns != number  # the last number is nobody's turn: all are learned from
        linear = fit(vectors[learned], classes[learned], count)
        if number == _FOLDS:
            whole.append(linear)
            return
        centres = np.stack([_unit(vectors[learned & (classes == place)].mean(0)) for place in range(count)])
        logits[~learned] = linear.logits(vectors[~learned])
        nearness[~learned] = np.einsum("ij,ij->i", vectors[~learned], centres[logits[~learned].argmax(1)])

    side_by_side(turn, range(_FOLDS, -1, -1))
    return whole[0], _temperature(logits, classes), _exceeded_by_most(nearness)


def _temperature(logits: Array, classes: npt.NDArray[np.intp]) -> float:
    """The temperature that makes the right labels likeliest (Guo et al. 2017, arXiv:1706.04599)."""
    own = logits[np.arange(len(classes)), classes].astype(np.float64)
    greatest = logits.max(1, keepdims=True).astype(np.float64)

    def surprise(temperature: float) -> float:
        spread = np.exp((logits - greatest) / temperature).sum(1)
        return float(np.mean(np.log(spread) + (greatest[:, 0] - own) / temperature))

    return float(min(_TEMPERATURES, key=surprise))


def _least_of_described(subjects: Sequence[Material]) -> Array:
    """How near a text has to be to each; where there are enough examples, each is measured without itself.

    What is measured holds for the subjects that have examples: descriptions alone lie farther from what is asked.
    """
    nearness = []
    for subject in subjects:
        for number, vector in enumerate(subject.examples):
            others = np.concatenate([subject.examples[:number], subject.examples[number + 1 :]])
            if len(others) or len(subject.descriptions):
                nearness.append(float(_centre(subject.descriptions, others) @ vector))
    least = np.full(len(subjects), _LEAST_DESCRIBED, np.float32)
    if len(nearness) >= _ENOUGH_TO_MEASURE:
        measured = max(_LEAST_DESCRIBED, _exceeded_by_most(np.array(nearness, np.float32)))
        least[[bool(len(subject.examples)) for subject in subjects]] = measured
    return least


def _exceeded_by_most(nearness: Array) -> float:
    # Not numpy's quantile: it imports more of numpy, which a confined process can't.
    return float(np.sort(nearness)[int(_REFUSED_OF_OWN * len(nearness))])


def _centre(descriptions: Array, examples: Array) -> Array:
    return _unit(np.concatenate([descriptions, examples]).mean(0))


def _unit(vector: Array) -> Array:
    unit: Array = vector / np.linalg.norm(vector)
    return unit


def _bytes(numbers: Array) -> bytes:
    return np.ascontiguousarray(numbers, "<f4").tobytes()
