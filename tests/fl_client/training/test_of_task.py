"""From a task to what a device trains, and from a release to the head that is used."""

import msgspec
import numpy as np
import pytest

from federation.task import HeadTraining
from fl_client.delta import delta_of
from fl_client.errors import NotTrainable
from fl_client.training.head import with_numbers
from fl_client.training.head_protocol import HeadOrder, Labelled
from fl_client.training.of_task import head_numbers, head_order, head_recipe, head_start, names_of
from fl_client.training.worker.head_program import train
from skills.embedding.pins import DIMENSION
from skills.embedding.worker.learning import OpenHead
from tests.skills.embedding.heads import axis, head_of

LABELS = ("set_alarm", "what.time")
NAMES = [axis(0), axis(1)]


def training(**changed: object) -> HeadTraining:
    made = HeadTraining(LABELS, 5.0, 3, 4, 0.0, biases=False, start="names", start_scale=8.0)
    return msgspec.structs.replace(made, **changed)


def rows(*places: int) -> Labelled:
    return Labelled(b"".join(axis(place + 2) for place in places), np.array(places, "<u2").tobytes())


def nothing(asked: HeadTraining) -> bytes:
    return bytes(4 * asked.count(DIMENSION))


def test_names_are_asked_about_as_they_are_spoken_and_only_where_they_are_the_start() -> None:
    assert names_of(training()) == ["set alarm", "what time"]
    assert names_of(training(start="zeros")) == []


def test_a_start_is_the_names_vectors_times_their_scale_without_biases() -> None:
    start = head_start(training(), NAMES)
    assert start.shape == (2, DIMENSION)
    assert start[0, 0] == start[1, 1] == 8
    assert np.count_nonzero(start) == 2
    with_biases = head_start(training(biases=True), NAMES)
    assert with_biases.shape == (2, DIMENSION + 1)
    assert not with_biases[:, -1].any()
    assert not head_start(training(start="zeros"), []).any()


@pytest.mark.parametrize("names", [[], [axis(0)], [axis(0), axis(1)[4:]]])
def test_other_vectors_than_the_names_are_refused(names: list[bytes]) -> None:
    with pytest.raises(NotTrainable):
        head_start(training(), names)


@pytest.mark.parametrize("biases", [True, False])
def test_an_update_is_what_was_learned_beyond_start_and_release(biases: bool) -> None:
    asked = training(biases=biases)
    start = head_start(asked, NAMES)
    release = np.random.default_rng(1).normal(size=start.size).astype("<f4").tobytes()
    order = head_order(head_recipe(asked, bytes(32)), start, release, rows(0, 1, 1))
    result = train(order, lambda _done, _total, _note: None)
    delta = delta_of(order, result).values
    assert delta.shape == (asked.count(DIMENSION),)
    touched = np.flatnonzero(np.abs(delta.reshape(start.shape)).max(0) > 1e-5)
    assert set(touched.tolist()) == {2, 3} | ({DIMENSION} if biases else set())


def test_a_head_of_the_start_alone_tells_names_apart() -> None:
    asked = training()
    numbers = head_numbers(head_start(asked, NAMES), nothing(asked))
    made = OpenHead(with_numbers(head_of(*LABELS), LABELS, numbers))
    assert [made.decide(np.frombuffer(axis(place), "<f4"), 2).ranked[0][0] for place in (0, 1)] == [0, 1]


def test_a_release_of_another_head_is_refused() -> None:
    asked = training()
    start = head_start(asked, NAMES)
    with pytest.raises(NotTrainable):
        head_numbers(start, nothing(asked)[4:])
    with pytest.raises(NotTrainable):
        head_order(head_recipe(asked, bytes(32)), start, nothing(training(biases=True)), rows(0))


def test_an_order_without_biases_takes_no_numbers_for_them() -> None:
    recipe = head_recipe(training(), bytes(32))
    with pytest.raises(ValueError, match="another head"):
        HeadOrder(recipe, DIMENSION, rows(0), numbers=bytes(4 * 2 * (DIMENSION + 1)))
