"""Simulated devices that train adapters: in the sandbox, as a real device does, and one after the other."""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import NoisedDelta, add_noise
from federation.task import AdapterTraining, Task
from fl_client.delta import delta_of, weighted
from fl_client.errors import SimulationRefused
from fl_client.simulation.partition import Owned
from fl_client.simulation.seeded import seeded
from fl_client.simulation.share import Share
from fl_client.training.adapter_order import adapter_order, check_numbers, fitted_to
from fl_client.training.base_model import BaseModel
from fl_client.training.plan import Fitted, Machine
from fl_client.training.protocol import Result, Row
from fl_client.training.sandboxed import train
from skills.sandbox.walls import Walls

__all__ = ["AdapterWorld"]

_LONGEST_S = 24 * 3600.0


class AdapterWorld:
    """Devices, and the rows that they have.

    Args:
        task: Of an adapter.
        base: The model that it is for.
        rows: All devices' examples.
        shares: Of each device.
        seed: 32 bytes; of all that is left to chance.
        walls: What to train behind.
        machine: What training may take.
        stop: Ends a training, when set.

    Raises:
        SimulationRefused: the task trains something else.
        NotTrainable: it is about another model, or there is too little memory.
    """

    def __init__(
        self,
        task: Task,
        base: BaseModel,
        rows: Sequence[Row],
        shares: Sequence[Share],
        seed: bytes,
        walls: Walls,
        machine: Machine,
        stop: threading.Event,
    ) -> None:
        if not isinstance(task.training, AdapterTraining):
            raise SimulationRefused(f"{task.name} trains no adapter.")
        self.task = task
        self.shares = tuple(shares)
        self.seed = seed
        self._training = task.training
        self._base = base
        self._rows = rows
        self._walls = walls
        self._machine = machine
        self._stop = stop
        check_numbers(task, base, self._fitted([]))

    def learned(self, device: int, round_: int, release: bytes) -> RawDelta:
        """What training on a device changes; arguments as `fl_client.simulation.device.World.learned`.

        Raises:
            TrainingStopped: `stop` was set.
            NotTrainable, TrainingFailed: as `fl_client.training.sandboxed.train`.
        """
        rows = self._of(self.shares[device].learned_from)
        turns = seeded(self.seed, "turns", round_, device)(32)
        order = adapter_order(self._base, self._fitted(rows), release, rows, [], turns, self._machine.threads)
        result = train(
            order,
            self._base.targets(order.recipe.targets),
            self._walls,
            memory=self._machine.memory,
            wall_s=_LONGEST_S,
            stop=self._stop,
        )
        return weighted(delta_of(order, result), len(rows), self.task.most_examples)

    def noised(self, raw: RawDelta, device: int, round_: int) -> NoisedDelta:
        """The same, clipped and with this device's share of the noise in it."""
        plan = self.task.plan.privacy
        return add_noise(clip(raw, plan), plan, seeded(self.seed, "noise", round_, device))

    def judge(self, release: bytes, places: Owned) -> tuple[float, None]:
        """The loss with a release on some rows, in nats for each token of what should come out."""
        loss = self._judged(release, self._of(places)).judged.after
        assert loss is not None
        return loss, None

    def gains(self, release: bytes) -> NDArray[np.float64]:
        """What a release is worth to each device that holds rows out: by how much its loss there falls, in nats."""
        nothing, held_out = bytes(len(release)), [share.held_out for share in self.shares if len(share.held_out)]
        return np.array([self.judge(nothing, own)[0] - self.judge(release, own)[0] for own in held_out])

    def _judged(self, release: bytes, held_out: Sequence[Row]) -> Result:
        fitted = self._fitted(held_out)
        order = adapter_order(self._base, fitted, release, [], held_out, bytes(32), self._machine.threads)
        return train(
            order,
            self._base.targets(order.recipe.targets),
            self._walls,
            memory=self._machine.memory,
            wall_s=_LONGEST_S,
            stop=self._stop,
        )

    def _fitted(self, rows: Sequence[Row]) -> Fitted:
        return fitted_to(self._training, self._base, rows, [], self._machine)

    def _of(self, places: Owned) -> list[Row]:
        return [self._rows[place] for place in places.tolist()]
