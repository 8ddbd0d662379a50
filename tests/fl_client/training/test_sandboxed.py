"""The trainer in the sandbox: it learns, goes on where it was, and nothing that it answers is believed."""

import random
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fl_client.errors import NotTrainable, TrainingFailed, TrainingStopped
from fl_client.training import sandboxed
from fl_client.training.base_model import BaseModel
from fl_client.training.factors import count
from fl_client.training.protocol import RESULT, Checkpoint, Factors, Judged, Kind, Order, Result, Stopped
from fl_client.training.sandboxed import train
from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.job import Ended, Outcome
from skills.sandbox.landlocked import Landlocked
from skills.sandbox.tiers import best
from skills.sandbox.walls import Walls
from tests.fl_client.training.tiny import base_of, order_of

TIERS: dict[str, type[Walls]] = {"bubblewrap": Bubblewrap, "landlock": Landlocked}
MEMORY = 6 << 30


@pytest.fixture(params=TIERS)
def walls(request: pytest.FixtureRequest) -> Walls:
    made = TIERS[request.param]()
    if why_not := made.why_not():
        pytest.skip(why_not)
    return made


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> BaseModel:
    return base_of(tiny_model)


def trained(order: Order, base: BaseModel, walls: Walls | None = None, **more: object) -> Result:
    given = {"memory": MEMORY, "wall_s": 120.0} | more
    return train(order, base.targets(order.recipe.targets), walls or best(), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["ffa", "core"])
def test_it_learns_what_can_be_learned_behind_every_kind_of_walls(
    base: BaseModel, walls: Walls, kind: Kind
) -> None:
    told: list[tuple[int, int]] = []
    order = order_of(base, kind=kind, steps=20)
    result = trained(order, base, walls, on_progress=lambda now: told.append((now.done, now.total)))
    assert result.judged.before is not None
    assert result.judged.after is not None
    assert result.judged.after < result.judged.before - 0.005
    assert len(result.losses) == 20
    assert result.tokens > 0
    assert len(result.numbers) == 4 * count(base.targets(order.recipe.targets), order.recipe)
    assert [one.name for one in result.factors] == (
        [target.name for target in base.targets(order.recipe.targets)] if kind == "core" else []
    )
    assert told[-1][0] == told[-1][1] > 0


def test_the_same_order_makes_the_same_numbers(base: BaseModel) -> None:
    order = order_of(base)
    assert trained(order, base).numbers == trained(order, base).numbers


def test_from_a_checkpoint_it_goes_on_as_if_it_had_never_been_stopped(base: BaseModel) -> None:
    kept: list[Checkpoint] = []
    order = order_of(base, checkpoint_every=0.0)
    whole = trained(order, base, on_checkpoint=kept.append)
    assert [checkpoint.step for checkpoint in kept] == [0, 1, 2, 3, 4, 5, 6]
    for checkpoint in (kept[0], kept[3], kept[6]):
        again = trained(msgspec.structs.replace(order, resume=checkpoint), base)
        assert again.losses == whole.losses
        assert again.numbers == whole.numbers
        assert again.judged == whole.judged


def test_it_goes_on_in_the_precision_that_it_began_with(base: BaseModel) -> None:
    kept: list[Checkpoint] = []
    order = order_of(base, steps=2, checkpoint_every=0.0)
    trained(order, base, on_checkpoint=kept.append)
    other = msgspec.structs.replace(kept[1], precision="bfloat16")
    assert trained(msgspec.structs.replace(order, resume=other), base).precision == "bfloat16"


def test_numbers_that_are_given_are_what_it_begins_with(base: BaseModel) -> None:
    first = trained(order_of(base, steps=12), base)
    judged = trained(order_of(base, steps=0, numbers=first.numbers, rows=[]), base)
    assert judged.numbers == first.numbers
    assert judged.judged.before == pytest.approx(first.judged.after, rel=1e-5)


def test_it_ends_at_once_when_it_is_stopped(base: BaseModel) -> None:
    stop = threading.Event()
    with pytest.raises(TrainingStopped):
        trained(order_of(base, steps=100_000), base, on_progress=lambda _: stop.set(), stop=stop)


def test_another_file_than_the_one_that_was_verified_is_refused(base: BaseModel) -> None:
    with pytest.raises(NotTrainable, match="isn't what it was"):
        trained(order_of(base, sha256="0" * 64), base)


def test_too_little_memory_is_named(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxed, "ADDRESSES", 0)
    with pytest.raises((NotTrainable, TrainingFailed), match="memory"):
        trained(order_of(base), base, memory=64 << 20)


def test_numbers_of_another_adapter_are_refused(base: BaseModel) -> None:
    with pytest.raises(NotTrainable, match="of another adapter"):
        trained(order_of(base, numbers=bytes(8)), base)


# What a trainer that was taken over could answer


def honest(order: Order, base: BaseModel) -> Result:
    """A result of the right shape, made without any training."""
    targets = base.targets(order.recipe.targets)
    row = np.ones(count(targets, order.recipe), "<f4").tobytes()
    factors = tuple(
        Factors(target.name, bytes(16 * target.inputs), bytes(16 * target.outputs))
        for target in (targets if order.recipe.kind == "core" else [])
    )
    losses = (1.0,) * order.recipe.steps
    return Result(row, Judged(2.0, 1.0), losses, 100, 1.0, 1.0, "float32", 1 << 20, factors)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the sandbox comes back with, in the place of a run."""
    answers: list[bytes] = []

    def run(*_: object, **__: object) -> Outcome:
        return Outcome(Ended.EXITED, 0, b"", b"", {RESULT: answers.pop()}, 1.0, "none")

    monkeypatch.setattr(sandboxed, "run", run)
    return answers


CHANGES: dict[str, dict[str, object]] = {
    "fewer numbers": {"numbers": bytes(4)},
    "half a number": {"numbers": bytes(5)},
    "no number": {"numbers": np.array([np.nan], "<f4").tobytes()},
    "an endless loss": {"judged": Judged(1.0, float("inf"))},
    "fewer losses": {"losses": ()},
    "a loss that is none": {"losses": (float("nan"),) * 6},
    "a loss below nothing": {"losses": (-1.0,) * 6},
    "half a judgement": {"judged": Judged(1.0, None)},
    "no judgement": {"judged": Judged(None, None)},
    "time that is none": {"seconds": float("nan")},
    "fewer tokens than none": {"tokens": -1},
    "a precision that a terminal would obey": {"precision": "\x9b2J"},
    "another version": {"protocol": 99},
    "no factors": {"factors": ()},
    "a factor of another target": {"factors": (Factors("blk.7.attn_q.weight", b"", b""),) * 3},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_result_of_another_shape_is_discarded(base: BaseModel, answering: list[bytes], change: str) -> None:
    order = order_of(base, kind="core")
    whole = honest(order, base)
    answering.append(msgspec.msgpack.encode(whole))
    assert trained(order, base) == whole
    answering.append(msgspec.msgpack.encode(msgspec.structs.replace(whole, **CHANGES[change])))
    with pytest.raises(TrainingFailed):
        trained(order, base)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e7])
def test_a_number_that_is_none_or_absurd_is_discarded(
    base: BaseModel, answering: list[bytes], value: float
) -> None:
    order = order_of(base)
    whole = honest(order, base)
    numbers = np.frombuffer(whole.numbers, "<f4").copy()
    numbers[17] = value
    answering.append(msgspec.msgpack.encode(msgspec.structs.replace(whole, numbers=numbers.tobytes())))
    with pytest.raises(TrainingFailed):
        trained(order, base)


def test_what_it_says_of_a_refusal_is_made_harmless(base: BaseModel, answering: list[bytes]) -> None:
    answering.append(msgspec.msgpack.encode(Stopped("\x1b]52;c;aGk=\x07 because\nof that" + "!" * 1000)))
    with pytest.raises(NotTrainable) as caught:
        trained(order_of(base), base)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", ["ffa", "core"])
def test_no_bytes_whatever_are_taken_for_another_adapter(
    base: BaseModel, answering: list[bytes], kind: Kind
) -> None:
    order = order_of(base, kind=kind)
    whole = msgspec.msgpack.encode(honest(order, base))
    dice = random.Random(5)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(min(len(data), dice.choice((64, len(data)))))] = dice.randrange(256)
        answering.append(bytes(data[: dice.choice((len(data), dice.randrange(len(data))))]))
        try:
            result = trained(order, base)
        except (TrainingFailed, NotTrainable):
            continue
        numbers = np.frombuffer(result.numbers, "<f4")
        assert len(numbers) == count(base.targets(order.recipe.targets), order.recipe)
        assert np.isfinite(numbers).all()


def test_a_checkpoint_of_another_shape_is_discarded(base: BaseModel) -> None:
    order = order_of(base)
    numbers = count(base.targets(order.recipe.targets), order.recipe)
    row = bytes(4 * numbers)
    good = Checkpoint(2, row, row, row, (1.0, 1.0), None, "float32")
    assert sandboxed.checked_checkpoint(msgspec.msgpack.encode(good), numbers, order.recipe) == good
    for change in (
        {"step": 7},
        {"precision": "float64"},
        {"step": -1},
        {"numbers": row[4:]},
        {"mean": b""},
        {"square": row + row},
        {"losses": ()},
        {"losses": (1.0, float("nan"))},
        {"before": float("inf")},
    ):
        data = msgspec.msgpack.encode(msgspec.structs.replace(good, **change))
        with pytest.raises(TrainingFailed):
            sandboxed.checked_checkpoint(data, numbers, order.recipe)
    with pytest.raises(TrainingFailed):
        sandboxed.checked_checkpoint(b"\x93", numbers, order.recipe)
