"""From trained numbers to the head that inference uses, and back."""

import msgspec
import numpy as np
import pytest

from fl_client.errors import NotTrainable
from fl_client.training.head import numbers_of_head, rows_of, with_numbers
from fl_client.training.head_protocol import HeadOrder, HeadRecipe
from fl_client.training.sandboxed_head import train_head
from skills.embedding.head import Head
from skills.embedding.pins import DIMENSION
from skills.embedding.worker.learning import OpenHead
from skills.errors import HeadRefused
from skills.sandbox.tiers import best
from tests.skills.embedding.heads import axis, head_of

LABELS = ("weather", "time", "music")
OTHERWISE = ("music", "weather", "time")
RECIPE = HeadRecipe(LABELS, 150, 4, 1.5, 1e-4, bytes(32))


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(LABELS) * (DIMENSION + 1)).astype(np.float32)


def logits(head: Head, vector: np.ndarray) -> dict[str, float]:
    weights = np.frombuffer(head.weights, "<f4").reshape(-1, DIMENSION)
    values = weights.astype(np.float64) @ vector + np.frombuffer(head.bias, "<f4")
    return dict(zip(head.labels, values.tolist(), strict=True))


def test_numbers_become_a_head_and_a_head_the_same_numbers() -> None:
    made = with_numbers(head_of(*LABELS), LABELS, drawn(1))
    assert np.array_equal(numbers_of_head(made, LABELS), drawn(1))
    assert made.trained


def test_labels_keep_their_numbers_where_a_head_has_them_in_another_order() -> None:
    vector = np.random.default_rng(3).normal(size=DIMENSION)
    one, other = (with_numbers(head_of(*labels), LABELS, drawn(1)) for labels in (LABELS, OTHERWISE))
    assert logits(one, vector) == pytest.approx(logits(other, vector))
    assert np.array_equal(numbers_of_head(other, LABELS), drawn(1))
    rows = drawn(1).reshape(3, -1)
    assert np.array_equal(numbers_of_head(other, OTHERWISE), rows[[2, 0, 1]].reshape(-1))


def test_the_head_of_a_sum_of_numbers_gives_the_sum_of_their_logits() -> None:
    vector = np.random.default_rng(4).normal(size=DIMENSION)
    one, other, both = (
        logits(with_numbers(head_of(*LABELS), LABELS, numbers), vector)
        for numbers in (drawn(1), drawn(2), drawn(1) + drawn(2))
    )
    assert both == pytest.approx({label: one[label] + other[label] for label in LABELS}, rel=1e-4)


def test_what_says_none_of_these_stays_as_it_was() -> None:
    before = head_of(*LABELS, outside=axis(9))
    made = with_numbers(before, LABELS, drawn(1))
    assert (made.centres, made.least, made.outside) == (before.centres, before.least, before.outside)
    assert made.temperature == 1.0  # that of the descriptions says nothing about fitted weights
    fitted = msgspec.structs.replace(before, trained=True, temperature=0.7)
    assert with_numbers(fitted, LABELS, drawn(1)).temperature == 0.7


@pytest.mark.parametrize("labels", [("weather", "time"), ("weather", "time", "light"), (*LABELS, "light")])
def test_a_head_about_other_labels_is_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(NotTrainable):
        numbers_of_head(head_of(*LABELS), labels)
    numbers = np.zeros(len(labels) * (DIMENSION + 1), np.float32)
    with pytest.raises(NotTrainable):
        with_numbers(head_of(*LABELS), labels, numbers)


def test_numbers_that_are_no_heads_are_refused() -> None:
    with pytest.raises(NotTrainable):
        with_numbers(head_of(*LABELS), LABELS, drawn(1)[1:])
    with pytest.raises(HeadRefused):
        with_numbers(head_of(*LABELS), LABELS, np.full_like(drawn(1), np.nan))


def test_examples_with_other_labels_or_vectors_are_refused() -> None:
    assert rows_of(RECIPE, [axis(2)], ["music"]).labels == b"\x02\x00"
    with pytest.raises(NotTrainable):
        rows_of(RECIPE, [axis(0)], ["light"])
    with pytest.raises(NotTrainable):
        rows_of(RECIPE, [axis(0)[1:]], ["time"])
    with pytest.raises(NotTrainable):
        rows_of(RECIPE, [axis(0)], ["time", "time"])


def test_a_head_that_was_wrong_is_right_once_it_has_learned() -> None:
    """Each subject's texts lie nearest to their own centre, but the weights it begins with say otherwise."""
    wrong = head_of(*LABELS, weights=b"".join(axis((number + 1) % 3) for number in range(3)))
    vectors = [axis(place) for place in (0, 1, 2)] * 4
    begun = numbers_of_head(wrong, LABELS)
    rows = rows_of(RECIPE, vectors, LABELS * 4)
    result = train_head(HeadOrder(RECIPE, DIMENSION, rows, rows, begun.astype("<f4").tobytes()), best(), wall_s=60)
    assert result.before is not None
    assert result.after is not None
    assert (result.before.accuracy, result.after.accuracy) == (0, 1)
    made = with_numbers(wrong, LABELS, np.frombuffer(result.numbers, "<f4"))
    for place in range(3):
        vector = np.frombuffer(axis(place), "<f4")
        assert OpenHead(made).decide(vector, 3).label == place
        assert OpenHead(wrong).decide(vector, 3).label is None
    assert OpenHead(made).decide(np.frombuffer(axis(7), "<f4"), 3).label is None
