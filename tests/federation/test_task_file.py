"""A task as an operator writes it: read whole, or refused with what is wrong."""

import pytest

from federation.errors import Malformed
from federation.stream import Stream
from federation.task import HeadTraining
from federation.task_file import propose_task

HEAD = """
name = "intents"
skill = "intent-router"
purpose = "To tell what a request wants."
data = "Requests."
model_sha256 = "%s"
[training]
kind = "head"
labels = ["weather", "time"]
dimension = 12
learning_rate = 3.0
[privacy]
epsilon = 50.0
delta = 1e-5
participations = 2
[rounds]
cohort = 40
count = 6
""" % ("ab" * 32)


def random(count: int) -> bytes:
    return Stream(bytes(32)).uint64(count).tobytes()[:count]


def test_a_head_is_about_as_many_numbers_as_it_has_with_or_without_biases() -> None:
    for biases, numbers in (("true", 26), ("false", 24)):
        text = HEAD.replace(
            "dimension = 12", f'dimension = 12\nbiases = {biases}\nstart = "names"\nstart_scale = 9.5'
        )
        task = propose_task(text, random).task
        assert isinstance(task.training, HeadTraining)
        assert task.plan.privacy.parameters == task.training.count(12) == numbers
        assert (task.training.start, task.training.start_scale) == ("names", 9.5)


def test_a_head_in_few_directions_is_about_as_many_numbers_of_each_label() -> None:
    text = HEAD.replace("dimension = 12", "dimension = 12\nbiases = false\ndirections = 1\nkinship = 0.5")
    task = propose_task(text, random).task
    assert isinstance(task.training, HeadTraining)
    assert task.plan.privacy.parameters == task.training.count(12) == 2
    assert task.training.kinship == 0.5


def test_without_a_word_about_it_a_head_starts_from_zeros_and_has_biases() -> None:
    training = propose_task(HEAD, random).task.training
    assert isinstance(training, HeadTraining)
    assert (training.biases, training.start, training.start_scale) == (True, "zeros", 1.0)


def test_the_same_text_and_randomness_give_the_same_task() -> None:
    assert propose_task(HEAD, random).task.digest == propose_task(HEAD, random).task.digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("kind =", "kind"),
        ('"head"', '"tail"'),
        ("cohort = 40", "cohort = 2"),
        ("epsilon = 50.0", "epsilon = 0.0"),
        ("learning_rate = 3.0", "learning_rate = -1.0"),
        ("dimension = 12", "dimension = 12\nstart = 'ones'"),
        ("dimension = 12", "dimension = 12\nstart_scale = 0.0"),
        ('"weather", "time"', '"weather", "weather"'),
        ("dimension = 12", "dimension = 12\ndirections = 1"),
        ("dimension = 12", "dimension = 12\nkinship = 1.5"),
        ("count = 6", "count = 6\nmore = 1"),
    ],
)
def test_what_is_no_task_is_refused(before: str, after: str) -> None:
    with pytest.raises(Malformed):
        propose_task(HEAD.replace(before, after), random)
