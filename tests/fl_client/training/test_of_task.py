"""From a task to what a device trains, and from a release to the head that is used."""

import msgspec
import numpy as np
import pytest

from federation.privacy.clip import RawDelta
from federation.task import HeadTraining
from fl_client.errors import NotTrainable
from fl_client.training.head import with_numbers
from fl_client.training.head_frame import head_frame, names_of
from fl_client.training.head_protocol import HeadOrder, Labelled
from fl_client.training.of_task import head_delta, head_numbers, head_order, head_recipe
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
    start = head_frame(training(), NAMES).start
    assert start.shape == (2, DIMENSION)
    assert start[0, 0] == start[1, 1] == 8
    assert np.count_nonzero(start) == 2
    with_biases = head_frame(training(biases=True), NAMES).start
    assert with_biases.shape == (2, DIMENSION + 1)
    assert not with_biases[:, -1].any()
    assert not head_frame(training(start="zeros"), []).start.any()


@pytest.mark.parametrize("names", [[], [axis(0)], [axis(0), axis(1)[4:]]])
def test_other_vectors_than_the_names_are_refused(names: list[bytes]) -> None:
    with pytest.raises(NotTrainable):
        head_frame(training(), names)


@pytest.mark.parametrize("biases", [True, False])
def test_an_update_is_what_was_learned_beyond_start_and_release(biases: bool) -> None:
    asked = training(biases=biases)
    frame = head_frame(asked, NAMES)
    start = frame.start
    release = np.random.default_rng(1).normal(size=start.size).astype("<f4").tobytes()
    order = head_order(head_recipe(asked, bytes(32)), frame, release, rows(0, 1, 1))
    result = train(order, lambda _done, _total, _note: None)
    delta = head_delta(frame, order, result).values
    assert delta.shape == (asked.count(DIMENSION),)
    touched = np.flatnonzero(np.abs(delta.reshape(start.shape)).max(0) > 1e-5)
    assert set(touched.tolist()) == {2, 3} | ({DIMENSION} if biases else set())


def test_a_head_of_the_start_alone_tells_names_apart() -> None:
    asked = training()
    numbers = head_numbers(head_frame(asked, NAMES), nothing(asked))
    made = OpenHead(with_numbers(head_of(*LABELS), LABELS, numbers))
    assert [made.decide(np.frombuffer(axis(place), "<f4"), 2).ranked[0][0] for place in (0, 1)] == [0, 1]


def test_a_release_of_another_head_is_refused() -> None:
    asked = training()
    frame = head_frame(asked, NAMES)
    with pytest.raises(NotTrainable):
        head_numbers(frame, nothing(asked)[4:])
    with pytest.raises(NotTrainable):
        head_order(head_recipe(asked, bytes(32)), frame, nothing(training(biases=True)), rows(0))


def test_an_order_without_biases_takes_no_numbers_for_them() -> None:
    recipe = head_recipe(training(), bytes(32))
    with pytest.raises(ValueError, match="another head"):
        HeadOrder(recipe, DIMENSION, rows(0), numbers=bytes(4 * 2 * (DIMENSION + 1)))


def framed(**changed: object) -> HeadTraining:
    four = msgspec.structs.replace(training(), labels=("one", "two", "three", "four"))
    return msgspec.structs.replace(four, **changed)


def vectors(seed: int = 1) -> list[bytes]:
    drawn = np.random.default_rng(seed).normal(size=(4, DIMENSION))
    return [row.astype("<f4").tobytes() for row in drawn / np.linalg.norm(drawn, axis=1, keepdims=True)]


@pytest.mark.parametrize("changed", [{}, {"directions": 2}, {"kinship": 0.5}, {"directions": 3, "kinship": 1.0}])
def test_an_update_is_the_slope_in_the_numbers_that_a_release_has(changed: dict[str, object]) -> None:
    """<change, A · R · Pᵀ> = <update of the change, R>, whatever R is."""
    frame = head_frame(framed(**changed), vectors())
    assert frame.numbers == framed(**changed).count(DIMENSION)
    dice = np.random.default_rng(2)
    release = dice.normal(size=frame.numbers).astype("<f4")
    change = RawDelta(dice.normal(size=frame.start.size))
    moved = frame.weights(release.tobytes()).astype(np.float64) - frame.start
    assert frame.update(change).values @ release == pytest.approx(change.values @ moved.reshape(-1), abs=1e-3)


def test_what_is_learned_in_few_directions_lies_in_those_in_which_the_names_differ() -> None:
    frame = head_frame(framed(directions=3), vectors())
    assert frame.directions is not None
    assert frame.directions.T @ frame.directions == pytest.approx(np.eye(3))
    names = np.frombuffer(b"".join(vectors()), "<f4").reshape(4, -1)
    differ = names[0] - names[1]
    assert frame.directions @ (frame.directions.T @ differ) == pytest.approx(differ, abs=1e-5)
    assert np.all(frame.directions[np.abs(frame.directions).argmax(0), range(3)] > 0)


def test_a_label_learns_from_one_with_a_name_like_its_own_and_less_from_others() -> None:
    alike = vectors()
    near = np.frombuffer(alike[0], "<f4") + 0.02 * np.frombuffer(alike[1], "<f4")
    alike[1] = (near / np.linalg.norm(near)).astype("<f4").tobytes()
    mixing = head_frame(framed(kinship=0.5), alike).mixing
    assert mixing is not None
    assert mixing == pytest.approx(mixing.T)
    assert mixing[0, 1] > 0.3 > 0 > mixing[0, 2]
    assert np.trace(mixing @ mixing) == pytest.approx(4)


@pytest.mark.parametrize("changed", [{"directions": 2, "biases": True}, {"directions": 4}])
def test_directions_that_there_are_not_are_refused(changed: dict[str, object]) -> None:
    made = framed()
    values = {name: getattr(made, name) for name in made.__struct_fields__} | changed
    with pytest.raises(ValueError, match="directions"):
        HeadTraining(**values)
