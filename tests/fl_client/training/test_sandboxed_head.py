"""A head trained behind real walls: what comes out is what was ordered, and an answer that isn't is refused."""

import struct
import subprocess
import sys
import threading
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from fl_client.errors import NotTrainable, TrainingFailed, TrainingStopped
from fl_client.training.head_protocol import HeadJudged, HeadOrder, HeadRecipe, HeadResult, Labelled
from fl_client.training.protocol import RESULT, Stopped
from fl_client.training.sandboxed_head import head_result_of, train_head
from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.channel import Channel
from skills.sandbox.job import Ended, Job, Outcome, Progress
from skills.sandbox.landlocked import Landlocked
from skills.sandbox.walls import Running, Walls

TIERS: dict[str, type[Walls]] = {"bubblewrap": Bubblewrap, "landlock": Landlocked}
LABELS, DIMENSION = ("weather", "time", "music", "light"), 12
SEED = bytes(range(32))
MEMORY = 1 << 30


@pytest.fixture(params=TIERS)
def walls(request: pytest.FixtureRequest) -> Walls:
    made = TIERS[request.param]()
    if why_not := made.why_not():
        pytest.skip(why_not)
    return made


def rows(each: int, seed: int, spread: float = 0.1) -> Labelled:
    """Rows of length 1, those of a label around a direction of its own."""
    vectors = np.repeat(np.random.default_rng(7).normal(size=(len(LABELS), DIMENSION)), each, 0)
    vectors += spread * np.random.default_rng(seed).normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = np.repeat(np.arange(len(LABELS)), each)
    return Labelled(vectors.astype("<f4").tobytes(), places.astype("<u2").tobytes())


def recipe(**changed: object) -> HeadRecipe:
    return msgspec.structs.replace(HeadRecipe(LABELS, 200, 8, 1.5, 1e-4, SEED), **changed)


def order(**changed: object) -> HeadOrder:
    return msgspec.structs.replace(HeadOrder(recipe(), DIMENSION, rows(20, 1), rows(5, 2)), **changed)


def test_a_head_learns_to_tell_apart_what_lies_apart(walls: Walls) -> None:
    told: list[Progress] = []
    result = train_head(order(), walls, wall_s=60, on_progress=told.append)
    assert result.before is not None
    assert result.after is not None
    assert result.before.accuracy == 0.25
    assert result.before.loss == pytest.approx(np.log(4))
    assert result.after.accuracy == 1
    assert result.after.loss < 0.5
    assert len(result.losses) == 200
    assert result.losses[-1] < result.losses[0] / 2
    assert told[-1].total == 200


def test_the_same_order_gives_the_same_numbers_and_another_seed_gives_others(walls: Walls) -> None:
    made = train_head(order(), walls, wall_s=60)
    assert made.numbers == train_head(order(), walls, wall_s=60).numbers
    assert made.numbers != train_head(order(recipe=recipe(seed=bytes(32))), walls, wall_s=60).numbers


def test_it_goes_on_from_the_numbers_that_it_is_given(walls: Walls) -> None:
    first = train_head(order(), walls, wall_s=60)
    second = train_head(order(numbers=first.numbers, recipe=recipe(steps=0)), walls, wall_s=60)
    assert second.numbers == first.numbers
    assert second.before is not None
    assert first.after is not None
    assert second.before == second.after
    assert second.before.loss == pytest.approx(first.after.loss, rel=1e-6)
    assert second.losses == ()


def test_numbers_come_label_by_label_with_the_bias_last(walls: Walls) -> None:
    """One step from zeros: the bias of each label is the rate times the share of rows that it has too many of."""
    one = Labelled(struct.pack(f"<{DIMENSION}f", 1, *[0] * (DIMENSION - 1)), struct.pack("<H", 2))
    only = order(rows=one, held_out=Labelled(), recipe=recipe(steps=1, rows_a_step=1, penalty=0.0))
    result = train_head(only, walls, wall_s=60)
    numbers = np.frombuffer(result.numbers, "<f4").reshape(4, DIMENSION + 1)
    expected = 1.5 * (np.eye(4)[2] - 0.25)
    assert numbers[:, 0] == pytest.approx(expected)
    assert numbers[:, -1] == pytest.approx(expected)
    assert not numbers[:, 1:-1].any()
    assert (result.before, result.after) == (None, None)


def test_the_learning_rate_falls_in_a_straight_line(walls: Walls) -> None:
    """Two steps are one, and behind it another of half the rate."""
    one = Labelled(struct.pack(f"<{DIMENSION}f", 1, *[0] * (DIMENSION - 1)), struct.pack("<H", 2))

    def trained(steps: int, rate: float, begun: bytes = b"") -> bytes:
        how = recipe(steps=steps, rows_a_step=1, learning_rate=rate)
        return train_head(order(rows=one, recipe=how, numbers=begun), walls, wall_s=60).numbers

    both, after_another = trained(2, 1.0), trained(1, 0.5, trained(1, 1.0))
    assert np.frombuffer(both, "<f4") == pytest.approx(np.frombuffer(after_another, "<f4"), rel=1e-5)


def test_it_can_be_stopped(walls: Walls) -> None:
    stop = threading.Event()
    with pytest.raises(TrainingStopped):
        train_head(
            order(recipe=recipe(steps=1_000_000)), walls, wall_s=60, on_progress=lambda _: stop.set(), stop=stop
        )


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": Labelled(bytes(4 * DIMENSION), b"")},
        {"rows": Labelled(bytes(4 * DIMENSION), b"\0")},
        {"rows": Labelled(bytes(4 * DIMENSION), struct.pack("<H", len(LABELS)))},
        {"held_out": Labelled(bytes(4 * DIMENSION - 1), bytes(2))},
        {"numbers": bytes(4)},
        {"rows": Labelled()},
    ],
)
def test_an_order_whose_parts_do_not_fit_each_other_is_none(changed: dict[str, object]) -> None:
    fields = {name: getattr(order(), name) for name in HeadOrder.__struct_fields__} | changed
    with pytest.raises(ValueError, match=r"vector|label|head|learn"):
        HeadOrder(**fields)


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "a"), ("a", "")])
def test_a_recipe_tells_two_labels_apart_at_least(labels: tuple[str, ...]) -> None:
    fields = {name: getattr(recipe(), name) for name in HeadRecipe.__struct_fields__} | {"labels": labels}
    with pytest.raises(msgspec.ValidationError, match="labels"):
        msgspec.convert(fields, HeadRecipe)


def test_its_program_stands_on_nothing_but_numpy_and_its_messages() -> None:
    """So that it starts fast, and whoever takes it over finds nothing of ours."""
    told = subprocess.run(
        [sys.executable, "-c", "import fl_client.training.worker.head_program, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = told.stdout.split()
    assert {name for name in modules if name.split(".")[0] in ("torch", "transformers", "vault", "skills")} == set()
    assert {name for name in modules if name.startswith("fl_client.")} == {
        "fl_client.training",
        "fl_client.training.head_protocol",
        "fl_client.training.protocol",
        "fl_client.training.worker",
        *(f"fl_client.training.worker.{name}" for name in ("head_program", "reports", "softmax", "turns")),
    }


# Answers that aren't what was ordered

ORDER = order(recipe=recipe(steps=2))
COUNT = len(LABELS) * (DIMENSION + 1)
GOOD = HeadResult(bytes(4 * COUNT), HeadJudged(1.4, 0.25), HeadJudged(0.2, 1.0), (1.4, 1.0), 0.1)


def numbers_with(one: float) -> bytes:
    return struct.pack(f"<{COUNT}f", one, *[0.0] * (COUNT - 1))


def changed(**fields: object) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(GOOD, **fields))


HOSTILE = {
    "fewer numbers": changed(numbers=bytes(4 * COUNT - 4)),
    "more numbers": changed(numbers=bytes(4 * COUNT + 4)),
    "half a number": changed(numbers=bytes(4 * COUNT - 2)),
    "numbers of 64 bits": changed(numbers=bytes(8 * COUNT)),
    "no number": changed(numbers=numbers_with(float("nan"))),
    "no end": changed(numbers=numbers_with(float("-inf"))),
    "far too large": changed(numbers=numbers_with(3e38)),
    "too few losses": changed(losses=(1.0,)),
    "a loss that is none": changed(losses=(1.0, float("nan"))),
    "a negative loss": changed(losses=(1.0, -1.0)),
    "judged once": changed(before=None),
    "never judged": changed(before=None, after=None),
    "more than all right": changed(after=HeadJudged(0.1, 1.5)),
    "none right, or less": changed(after=HeadJudged(0.1, float("nan"))),
    "endless loss": changed(after=HeadJudged(float("inf"), 1.0)),
    "no time": changed(seconds=float("nan")),
    "another version": changed(protocol=2),
    "nothing": b"",
    "no message": b"\xc1",
    "no text": b"\x82\xa4type\xa7stopped\xa6reason\xa2\xff\xfe",
    "too deep": b"\x83\xa4type\xa4head\xa1a" + b"\x91" * 100_000,
    "another kind": msgspec.msgpack.encode({"type": "result", "numbers": bytes(4 * COUNT)}),
    "behind it, more": changed() + b"\xc0",
}


def outcome(answer: bytes, ended: Ended = Ended.EXITED) -> Outcome:
    return Outcome(ended, 0, b"", b"", {RESULT: answer} if answer else {}, 0.1, "none")


def test_an_answer_that_is_what_was_ordered_is_taken() -> None:
    assert head_result_of(outcome(changed()), ORDER, MEMORY) == GOOD


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_is_not_what_was_ordered_is_refused(answer: bytes) -> None:
    with pytest.raises(TrainingFailed):
        head_result_of(outcome(answer), ORDER, MEMORY)


def test_what_it_says_that_it_can_not_do_reaches_the_person_without_its_control_characters() -> None:
    answer = msgspec.msgpack.encode(Stopped("\x1b]52;c;aGk=\x07no"))
    with pytest.raises(NotTrainable, match="no") as caught:
        head_result_of(outcome(answer), ORDER, MEMORY)
    assert "\x1b" not in caught.value.message
    with pytest.raises(TrainingFailed, match="memory"):
        head_result_of(outcome(b"", Ended.KILLED), ORDER, MEMORY)


class Replaced:
    """Real walls, behind which another program runs than was meant to."""

    def __init__(self, walls: Walls, program: bytes) -> None:
        self.name = walls.name
        self.why_not: Callable[[], str] = walls.why_not
        self._walls, self._program = walls, program

    def start(self, job: Job, channel: Channel) -> Running:
        return self._walls.start(
            msgspec.structs.replace(job, inputs=job.inputs | {"start.py": self._program}), channel
        )


@pytest.mark.parametrize(
    "program",
    [
        b"import sys; sys.stdout.write('no'); sys.exit(1)",
        b"open('out/result', 'r+b').write(b'\\x91' * 5000)",
        b"open('out/result', 'r+b').write(bytes(1 << 20))",
        b"open('out/other', 'wb').write(b'x')",
        b"import socket; socket.socket(socket.AF_INET)",
    ],
    ids=["gives up", "nests", "writes too much", "writes elsewhere", "wants out"],
)
def test_a_trainer_that_was_taken_over_gives_no_result(walls: Walls, program: bytes) -> None:
    with pytest.raises(TrainingFailed):
        train_head(ORDER, Replaced(walls, program), wall_s=60)
