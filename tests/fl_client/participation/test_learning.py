"""What a device learns for a round from its own examples, with the real trainer: held up, gone on with, judged."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from federation.privacy.plan import PrivacyPlan
from federation.task import AdapterTraining, Task
from fl_client.errors import NotTrainable, TrainingStopped
from fl_client.limits.judge import Limits, Spent
from fl_client.limits.sources import Sources
from fl_client.participation.bounds import Bounds
from fl_client.participation.learning import Learned, Learner
from fl_client.training.base_model import BaseModel
from fl_client.training.example_rows import Encoder
from fl_client.training.plan import Machine
from skills.sandbox.job import Progress
from tests.fl_client.participation.people import FREE, SKILL
from tests.fl_client.training.test_personal import Bytes
from tests.fl_client.training.tiny import base_of
from tests.orchestrator.federations import task_of
from vault.example_store import ExampleKind, ExampleStore
from vault.settings import LimitSettings
from vault.store import Vault

NUMBERS = 64 * 4
MACHINE = Machine(6 << 30, 1)


@pytest.fixture
def task(tiny_model: Path) -> Task:
    training = AdapterTraining("ffa", 4, 8.0, ("attn_q",), 1e-2, 8, 20, 4, 64, bytes(32))
    head = task_of()
    privacy = PrivacyPlan(NUMBERS, 1.0, 500.0, 18, 1, bytes(32))
    secagg = msgspec.structs.replace(head.plan.secagg, dimension=privacy.dimension)
    plan = msgspec.structs.replace(head.plan, privacy=privacy, secagg=secagg)
    model = bytes.fromhex(base_of(tiny_model).sha256)
    return msgspec.structs.replace(head, skill=SKILL, model=model, training=training, plan=plan, most_examples=20)


@pytest.fixture
def learner(vault: Vault, task: Task, tiny_model: Path) -> Learner:
    store = ExampleStore(vault.database)
    texts = [(f"turn {n * 7919}", f"{n * 7919}"[::-1]) for n in range(12)]
    vault.database.write(lambda c: [store.put(c, SKILL, ExampleKind.ADDED, pair) for pair in texts])

    @contextlib.contextmanager
    def open_model(sha256: str, skill: str) -> Iterator[tuple[BaseModel, Encoder]]:
        base = base_of(tiny_model)
        assert (sha256, skill) == (base.sha256, SKILL)
        yield base, Bytes()

    return Learner(vault, task, open_model, lambda: MACHINE)


class Taken:
    """What was taken down of training."""

    def __init__(self, limits: LimitSettings = FREE, sysfs: Path | None = None) -> None:
        sources = Sources.here() if sysfs is None else Sources.here()._replace(sysfs=sysfs)
        self.seconds = 0.0
        self.bounds = Bounds(Limits(limits, sources), lambda: Spent(0, self.seconds), self.take)

    def take(self, seconds: float) -> None:
        self.seconds += seconds


def apart(one: Learned, other: Learned) -> float:
    """How long the difference of two updates is, by the length of the first."""
    difference = np.linalg.norm(one.delta.values - other.delta.values)
    return float(difference / np.linalg.norm(one.delta.values))


def soon() -> float:
    return time.monotonic() + 600


def test_an_update_is_what_training_changed_weighed_by_the_examples(learner: Learner) -> None:
    taken = Taken()
    learned = learner.learn(bytes(4 * NUMBERS), 1, until=soon(), stop=threading.Event(), bounds=taken.bounds)
    assert learned.rows == 10
    assert learned.delta.values.shape == (NUMBERS,)
    assert np.any(learned.delta.values)
    assert learned.loss[0] > 0
    assert taken.seconds > 0
    # Ten examples of the twenty from which on an update counts in full.
    after = np.asarray(2 * learned.delta.values, "<f4").tobytes()
    judged = learner.judge(after, stop=threading.Event())
    assert judged.loss == pytest.approx(learned.loss[1], abs=1e-4)
    assert judged.file.startswith(b"GGUF")
    assert learner.loss_of("", stop=threading.Event()) == pytest.approx(learned.loss[0])


def test_rows_come_in_another_order_each_round_and_in_the_same_one_again(learner: Learner) -> None:
    stop = threading.Event()
    one, other, again = (
        learner.learn(bytes(4 * NUMBERS), round_, until=soon(), stop=stop, bounds=Taken().bounds)
        for round_ in (1, 2, 1)
    )
    # A machine multiplies in whichever precision it finds to be faster, which needn't be the same one each time.
    assert apart(one, again) < 0.1 < apart(one, other)


def test_training_waits_with_a_checkpoint_while_a_limit_doesnt_hold(
    vault: Vault, task: Task, learner: Learner, tmp_path: Path
) -> None:
    assert isinstance(task.training, AdapterTraining)
    slow = msgspec.structs.replace(task.training, passes=100, most_steps=100)
    learner = Learner(vault, msgspec.structs.replace(task, training=slow), learner._open_model, lambda: MACHINE)
    supplies = tmp_path / "class/power_supply"
    for name, kind in (("AC", "Mains"), ("BAT0", "Battery")):
        (supplies / name).mkdir(parents=True)
        (supplies / name / "type").write_text(f"{kind}\n")

    def plug(*, into: bool) -> None:
        (supplies / "AC/online").write_text(f"{int(into)}\n")
        (supplies / "BAT0/status").write_text("Charging\n" if into else "Discharging\n")

    plug(into=True)
    taken = Taken(msgspec.structs.replace(FREE, charger=True), tmp_path)
    unplugged = threading.Event()

    def told(progress: Progress) -> None:
        if progress.done > 6 and not unplugged.is_set():
            plug(into=False)
            unplugged.set()

    tries = 0

    def spent() -> Spent:
        """Asked before each try: at the second one it is plugged in again."""
        nonlocal tries
        tries += 1
        if unplugged.is_set() and tries > 3:
            plug(into=True)
        return Spent(0, 0.0)

    stop, bounds = threading.Event(), taken.bounds._replace(spent=spent)
    learned = learner.learn(bytes(4 * NUMBERS), 1, until=soon(), stop=stop, bounds=bounds, told=told)
    assert unplugged.is_set()
    assert tries > 3
    unhindered = learner.learn(bytes(4 * NUMBERS), 1, until=soon(), stop=stop, bounds=Taken().bounds)
    assert apart(learned, unhindered) < 0.1


def test_a_round_goes_on_without_a_device_that_is_held_up_too_long(learner: Learner) -> None:
    held_up = Taken(msgspec.structs.replace(FREE, hours="00:00-00:01", minutes_a_day=0))
    with pytest.raises(TrainingStopped, match="held up"):
        learner.learn(
            bytes(4 * NUMBERS), 1, until=time.monotonic() + 1, stop=threading.Event(), bounds=held_up.bounds
        )


def test_what_is_stopped_learns_nothing(learner: Learner) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(TrainingStopped):
        learner.learn(bytes(4 * NUMBERS), 1, until=soon(), stop=stop, bounds=Taken().bounds)


def test_a_task_of_other_numbers_or_of_a_classifier_is_refused(
    vault: Vault, task: Task, learner: Learner, tiny_model: Path
) -> None:
    assert isinstance(task.training, AdapterTraining)
    larger = msgspec.structs.replace(task.training, rank=8)
    other = Learner(vault, msgspec.structs.replace(task, training=larger), learner._open_model, lambda: MACHINE)
    with pytest.raises(NotTrainable, match="256 numbers"):
        other.read()
    with pytest.raises(NotTrainable, match="classifier"):
        Learner(vault, task_of(), learner._open_model, lambda: MACHINE)
