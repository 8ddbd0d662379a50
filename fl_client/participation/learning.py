"""What a round needs of this device's own data: an update learned from examples, and a judgement of a release.

Both are made in the sandbox, of the same rows: a skill's examples, but for a tenth that is held out to judge by.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec
import numpy as np

from federation.digests import digest
from federation.errors import Malformed
from federation.privacy.clip import RawDelta
from federation.task import AdapterTraining, Task
from fl_client.delta import delta_of, weighted
from fl_client.errors import NotTrainable, TrainingFailed, TrainingStopped
from fl_client.limits.watch import LimitWatch
from fl_client.participation.bounds import Bounds, Clock
from fl_client.training.adapter_order import adapter_order, check_numbers, fitted_to
from fl_client.training.base_model import BaseModel
from fl_client.training.example_rows import Encoder, Rows, read_rows
from fl_client.training.plan import Fitted, Machine
from fl_client.training.protocol import Checkpoint, Order, Result, Row
from fl_client.training.sandboxed import train
from fl_client.training.trained import Trained, as_gguf
from skills.sandbox.job import Progress
from skills.sandbox.noted import noted_best

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Judgement", "Learned", "Learner", "OpenModel", "Told"]

_CHECKPOINT_EVERY_S = 15.0
_JUDGING_S = 3600.0
_LOOK_EVERY_S = 1.0
_REMEMBERED = 4
"""Releases whose numbers are kept in memory, to judge them again by other rows."""

Told = Callable[[Progress], None]


class OpenModel(Protocol):
    """Whoever opens a model by its digest, verified, with what makes tokens of a skill's examples for it."""

    def __call__(self, sha256: str, skill: str) -> AbstractContextManager[tuple[BaseModel, Encoder]]:
        """Open it.

        Raises:
            NotFound: this device has no such model.
        """
        ...


class Learned(NamedTuple):
    """What a device learned for a round.

    Attributes:
        delta: What is to be clipped, noised and masked.
        rows: Examples that it was learned from.
        loss: On held-out rows, with the release that the round began with, and with what was learned here.
    """

    delta: RawDelta
    rows: int
    loss: tuple[float, float]


class Judgement(NamedTuple):
    """How a release does on held-out examples of one's own.

    Attributes:
        loss: In nats for each token of the answers.
        file: The release as the inference worker loads it (GGUF).
        rank: Of the adapter.
        seconds: That it took.
    """

    loss: float
    file: bytes
    rank: int
    seconds: float


class Learner:
    """Learns for one task, from the examples of its skill.

    Args:
        vault: Holds them.
        task: An adapter's.
        open_model: Opens the model that the task names.
        machine: What may be taken of this machine now.

    Raises:
        NotTrainable: the task is of a kind that this device can't take part in.
    """

    def __init__(self, vault: "Vault", task: Task, open_model: OpenModel, machine: Callable[[], Machine]) -> None:
        if not isinstance(task.training, AdapterTraining):
            raise NotTrainable(
                f"{task.name} trains a classifier; `claw` takes part in tasks that train adapters of its model.",
                hint="`claw fl simulate` tries a classifier's task on data of your own.",
            )
        self._vault = vault
        self._task = task
        self._training = task.training
        self._open_model = open_model
        self._machine = machine
        self._material: tuple[BaseModel, Rows] | None = None
        self._losses: dict[str, float] = {}
        """On the held-out rows as they were read, by the digest of an adapter's numbers; empty for none."""
        self._numbers: dict[str, bytes] = {}

    def read(self, stop: threading.Event | None = None) -> tuple[BaseModel, Rows]:
        """The model and the rows, read once.

        Raises:
            NotFound: the model isn't here.
            NotTrainable: there are too few examples, or the task isn't for such a model.
            TrainingStopped: `stop` was set.
        """
        if self._material is None:
            with self._open_model(self._task.model.hex(), self._task.skill) as (base, encoder):
                base.check()
                self._material = base, read_rows(self._vault, self._task.skill, encoder, stop=stop)
            try:
                check_numbers(self._task, self._material[0], self._fitted())
            except NotTrainable:
                self._material = None
                raise
        return self._material

    def forget(self) -> None:
        """Let go of the rows, and of what was found by them: they are private, and change."""
        self._material = None
        self._losses.clear()

    def learn(
        self,
        numbers: bytes,
        round_: int,
        *,
        until: float,
        stop: threading.Event,
        bounds: Bounds,
        told: Told | None = None,
    ) -> Learned:
        """Learn for a round.

        Where a limit no longer holds, it waits with a checkpoint, and goes on from there.

        Args:
            numbers: Of the release that the round begins with.
            round_: Its number; another one has the rows in another order.
            until: When the round goes on without it, by the monotonic clock.
            stop: Ends it, when set.
            bounds: What holds it up, and takes down what it takes.
            told: Told how far it is.

        Raises:
            TrainingStopped: `stop` was set, or the time is over.
            NotTrainable, TrainingFailed: as `fl_client.training.sandboxed.train`.
        """
        base, rows = self.read(stop)
        turns = digest("turns", self._task.digest, round_.to_bytes(8, "big"), self._own(rows))
        order = self._order(self._fitted(), numbers, rows.rows, turns)
        resume: Checkpoint | None = None

        def keep(checkpoint: Checkpoint) -> None:
            nonlocal resume
            resume = checkpoint
            clock.count()

        while True:
            self._wait(until, stop, bounds)
            order = msgspec.structs.replace(order, resume=resume)
            with LimitWatch(bounds.limits, bounds.spent(), stop=stop) as watch, Clock(bounds.take) as clock:
                try:
                    result = self._train(order, base, until - time.monotonic(), watch, told, keep)
                    break
                except TrainingStopped:
                    if stop.is_set() or not watch.why:
                        raise
        before, after = result.judged.before, result.judged.after
        assert before is not None
        assert after is not None
        self._losses[_named(numbers)] = before
        try:
            delta = delta_of(order, result)
        except Malformed as error:
            raise TrainingFailed(f"What was learned isn't an update: {error.message}") from None
        share = weighted(delta, len(rows.rows), self._task.most_examples)
        return Learned(share, len(rows.rows), (before, after))

    def judge(self, numbers: bytes, *, stop: threading.Event, told: Told | None = None) -> Judgement:
        """Judge a release by held-out examples.

        Args:
            numbers: Of the release.
            stop: Ends it, when set.
            told: Told how far it is.

        Raises:
            TrainingStopped: `stop` was set.
            NotTrainable, TrainingFailed: as `fl_client.training.sandboxed.train`.
        """
        base, _ = self.read(stop)
        order = msgspec.structs.replace(self._order(self._fitted(), numbers, (), bytes(32)), factors=True)
        begun = time.monotonic()
        result = self._train(order, base, _JUDGING_S, stop, told, None)
        loss = result.judged.after
        assert loss is not None
        name = _named(numbers)
        self._losses[name], self._numbers[name] = loss, numbers
        while len(self._numbers) > _REMEMBERED:
            del self._numbers[next(iter(self._numbers))]
        trained = Trained.of(base, order.recipe, result)
        return Judgement(loss, as_gguf(trained), order.recipe.rank, time.monotonic() - begun)

    def loss_of(self, name: str, *, stop: threading.Event) -> float | None:
        """The loss of numbers that were met before, on the rows as they are now; `None` if they aren't known.

        Args:
            name: Their digest, in hex; empty for the model alone.
            stop: Ends it, when set.

        Raises:
            TrainingStopped, NotTrainable, TrainingFailed: as `judge`.
        """
        if name not in self._losses and (name in self._numbers or not name):
            count_ = self._task.plan.privacy.parameters
            self.judge(self._numbers.get(name, bytes(4 * count_)), stop=stop)
        return self._losses.get(name)

    def _fitted(self) -> Fitted:
        """What the task says, fitted to this machine."""
        assert self._material is not None
        base, rows = self._material
        return fitted_to(self._training, base, rows.rows, rows.held_out, self._machine())

    def _order(self, fitted: Fitted, numbers: bytes, rows: Sequence[Row], turns: bytes) -> Order:
        assert self._material is not None
        base, material = self._material
        order = adapter_order(base, fitted, numbers, rows, material.held_out, turns, self._machine().threads)
        return msgspec.structs.replace(order, checkpoint_every=_CHECKPOINT_EVERY_S)

    def _train(
        self,
        order: Order,
        base: BaseModel,
        within_s: float,
        stop: threading.Event,
        told: Told | None,
        keep: Callable[[Checkpoint], None] | None,
    ) -> Result:
        return train(
            order,
            base.targets(order.recipe.targets),
            noted_best(self._vault),
            memory=self._machine().memory,
            wall_s=max(1.0, within_s),
            on_progress=told,
            on_checkpoint=keep,
            stop=stop,
        )

    @staticmethod
    def _wait(until: float, stop: threading.Event, bounds: Bounds) -> None:
        while bounds.limits.reasons(bounds.spent()):
            if time.monotonic() > until or stop.wait(_LOOK_EVERY_S):
                raise TrainingStopped("The training was held up until the round went on without this device.")

    @staticmethod
    def _own(rows: Rows) -> bytes:
        return hashlib.sha256("\0".join(rows.learned_from).encode()).digest()


def _named(numbers: bytes) -> str:
    """The digest of an adapter's numbers, in hex; empty where they change nothing."""
    return hashlib.sha256(numbers).hexdigest() if np.frombuffer(numbers, "<f4").any() else ""
