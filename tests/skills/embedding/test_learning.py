"""When a text is none of these: reckoned with vectors made by hand."""

import hashlib
import math
import struct
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from skills.embedding.head import Head, parse
from skills.embedding.pins import DIMENSION
from skills.embedding.worker import learning
from skills.embedding.worker.learning import Material, OpenHead, learn
from tests.fixtures.processes import run_function
from tests.skills.embedding.heads import axis, head_of
from tests.skills.embedding.test_bert import random_tensors, texts

Array = npt.NDArray[np.float32]
NONE = np.empty((0, DIMENSION), np.float32)


def one_by_one(work: Callable[[int], None], numbers: range) -> None:
    for number in numbers:
        work(number)


def unit(*numbers: float) -> Array:
    vector: Array = np.zeros(DIMENSION, np.float32)
    vector[: len(numbers)] = numbers
    vector /= np.linalg.norm(vector)
    return vector


def around(centre: Array, count: int, spread: float, seed: int) -> Array:
    vectors = centre + spread * np.random.default_rng(seed).normal(size=(count, DIMENSION)) / math.sqrt(DIMENSION)
    units: Array = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return units


def limits(head: Head) -> tuple[float, ...]:
    return struct.unpack(f"<{len(head.labels)}f", head.least)


# A verdict


def test_a_text_near_a_centre_has_its_label() -> None:
    verdict = OpenHead(head_of("weather", "time")).decide(unit(0.2, 1), 5)
    assert verdict.label == 1
    assert verdict.nearness == pytest.approx(1 / math.hypot(1, 0.2))
    assert [place for place, _ in verdict.ranked] == [1, 0]


def test_probabilities_are_the_softmax_at_the_heads_temperature() -> None:
    (_, first), (_, second) = OpenHead(head_of("weather", "time")).decide(unit(3, 4), 5).ranked
    assert first + second == pytest.approx(1)
    assert first == pytest.approx(1 / (1 + math.exp((0.6 - 0.8) / 0.1)))


def test_a_text_farther_than_the_limit_is_none_of_these_and_ranked_all_the_same() -> None:
    head = OpenHead(head_of("weather", "time"))
    assert head.decide(unit(0.31, 0, math.sqrt(1 - 0.31**2)), 5).label == 0
    verdict = head.decide(unit(0.29, 0, math.sqrt(1 - 0.29**2)), 5)
    assert verdict.label is None
    assert verdict.ranked[0][0] == 0


def test_each_label_has_a_limit_of_its_own() -> None:
    head = OpenHead(head_of("weather", "time", least=struct.pack("<2f", 0.9, 0.1)))
    assert head.decide(unit(1, 0, 1), 5).label is None
    assert head.decide(unit(0, 1, 1), 5).label == 1


def test_a_text_nearer_to_one_that_lies_outside_is_none_of_these() -> None:
    outside = unit(1, 0, 1).astype("<f4").tobytes()
    head = OpenHead(head_of("weather", "time", outside=axis(5) + outside))
    assert head.decide(unit(1, 0, 1), 5).label is None
    assert head.decide(unit(1, 0, 0.1), 5).label == 0
    assert head.decide(unit(0, 1), 5).label == 1


def test_no_more_labels_are_ranked_than_are_asked_for_and_one_at_least() -> None:
    head = OpenHead(head_of("a", "b", "c", "d"))
    assert [len(head.decide(unit(1), most).ranked) for most in (-1, 0, 1, 3, 99)] == [1, 1, 1, 3, 4]


def test_numbers_of_any_size_give_probabilities() -> None:
    huge = axis(0, 3e38) + axis(1, -3e38)
    head = OpenHead(parse(head_of("a", "b", weights=huge, temperature=0.001).to_bytes()))
    (_, first), (_, second) = head.decide(unit(1, 1), 5).ranked
    assert (first, second) == (1.0, 0.0)


# Descriptions alone


def test_a_description_is_the_centre_of_its_subject() -> None:
    subjects = [Material("a", unit(1)[None], NONE), Material("b", np.stack([unit(0, 1), unit(0, 0, 1)]), NONE)]
    head = learn(subjects, NONE, train=False, side_by_side=one_by_one)
    assert head.labels == ("a", "b")
    assert head.weights == head.centres
    assert np.frombuffer(head.centres, "<f4")[DIMENSION:] == pytest.approx(unit(0, 1, 1))
    assert limits(head) == pytest.approx((0.22, 0.22))
    assert not head.trained
    assert parse(head.to_bytes()) == head


def test_an_example_moves_the_centre_of_its_subject() -> None:
    subjects = [Material("a", unit(1)[None], NONE), Material("b", unit(0, 1)[None], unit(0, 0, 1)[None])]
    head = OpenHead(learn(subjects, NONE, train=False, side_by_side=one_by_one))
    asked = unit(0.5, 0, 1)
    assert head.decide(asked, 5).label == 1
    without = [subjects[0], subjects[1]._replace(examples=NONE)]
    assert OpenHead(learn(without, NONE, train=False, side_by_side=one_by_one)).decide(asked, 5).label == 0


def test_what_is_measured_of_examples_is_no_limit_for_a_subject_without_any() -> None:
    subjects = [
        Material("described", unit(1)[None], NONE),
        Material("shown", NONE, around(unit(0, 1), 30, 0.3, seed=1)),
    ]
    described, shown = limits(learn(subjects, NONE, train=False, side_by_side=one_by_one))
    assert described == pytest.approx(0.22)
    assert 0.8 < shown < 1


def test_a_few_examples_are_too_few_to_measure_a_limit() -> None:
    subjects = [
        Material("a", unit(1)[None], around(unit(1), 6, 0.1, seed=1)),
        Material("b", unit(0, 1)[None], NONE),
    ]
    assert limits(learn(subjects, NONE, train=False, side_by_side=one_by_one)) == pytest.approx((0.22, 0.22))


# Fitted weights


@pytest.fixture(scope="module")
def fitted() -> Head:
    subjects = [
        Material(name, NONE, around(unit(*[0] * place, 1), 80, 1.0, place)) for place, name in enumerate("abc")
    ]
    return learn(subjects, around(unit(*[0] * 9, 1), 5, 0.1, 9), train=True, side_by_side=one_by_one)


def test_subjects_that_were_shown_are_told_apart(fitted: Head) -> None:
    head = OpenHead(fitted)
    for place in range(3):
        asked = around(unit(*[0] * place, 1), 40, 1.0, seed=50 + place)
        assert sum(head.decide(vector, 1).ranked[0][0] == place for vector in asked) >= 38
    assert fitted.trained
    assert parse(fitted.to_bytes()) == fitted


def test_the_limit_refuses_a_fortieth_of_what_was_not_learned_from(fitted: Head) -> None:
    head = OpenHead(fitted)
    asked = np.concatenate([around(unit(*[0] * place, 1), 400, 1.0, seed=90 + place) for place in range(3)])
    refused = sum(head.decide(vector, 1).label is None for vector in asked) / len(asked)
    assert 0.005 < refused < 0.06


def test_texts_far_from_all_examples_are_none_of_these(fitted: Head) -> None:
    head = OpenHead(fitted)
    assert all(head.decide(vector, 1).label is None for vector in around(unit(*[0] * 7, 1), 50, 1.0, seed=7))


def test_probabilities_are_about_as_sure_as_they_are_right(fitted: Head) -> None:
    head = OpenHead(fitted)
    asked = [
        (place, vector) for place in range(3) for vector in around(unit(*[0] * place, 1), 200, 1.0, 70 + place)
    ]
    ranked = [(place, head.decide(vector, 1).ranked[0]) for place, vector in asked]
    right = np.mean([place == found for place, (found, _) in ranked])
    assert np.mean([probability for _, (_, probability) in ranked]) == pytest.approx(right, abs=0.05)


def test_the_temperature_is_the_one_that_makes_the_right_labels_likeliest() -> None:
    numbers = np.random.default_rng(5)
    logits = numbers.normal(size=(4000, 6)).astype(np.float32) * 2
    odds = np.exp(logits / 0.5)
    drawn = np.array([numbers.choice(6, p=row / row.sum()) for row in odds])
    assert learning._temperature(logits, drawn) == pytest.approx(0.5, rel=0.15)


# Confined


def test_all_of_it_is_done_by_a_process_that_can_open_nothing_any_more() -> None:
    run_function(learn_confined)


def learn_confined() -> None:
    from skills.embedding.worker import __main__ as worker
    from skills.embedding.worker.bert import Bert
    from skills.sandbox.seccomp import confine_to_descriptors

    weights = random_tensors()
    confine_to_descriptors()
    assert hashlib.sha256(b"").hexdigest()
    assert Bert(weights, 2).embed(texts(300)).shape == (300, 192)
    shown = [Material(name, NONE, around(unit(*[0] * place, 1), 24, 1.0, place)) for place, name in enumerate("ab")]
    service = worker.Service.__new__(worker.Service)
    service._threads = 2
    for train in (True, False):
        head = learn(shown, unit(0, 0, 1)[None], train=train, side_by_side=service._side_by_side)
        assert msgspec.msgpack.encode(OpenHead(head).decide(unit(1), 5))
