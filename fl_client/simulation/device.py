"""What one simulated device does in a round: the very steps of a real one, on data that lie here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from federation.errors import Malformed
from federation.messages import encode
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import NoisedDelta, add_noise
from federation.task import HeadTraining, Task, read_task
from fl_client.delta import weighted
from fl_client.errors import SimulationRefused
from fl_client.simulation.partition import Owned
from fl_client.simulation.seeded import seeded
from fl_client.simulation.share import Share
from fl_client.training.head_frame import HeadFrame
from fl_client.training.head_protocol import Labelled
from fl_client.training.of_task import head_delta, head_order, head_recipe
from fl_client.training.worker.head_program import train
from fl_client.training.worker.softmax import Rows, Softmax

__all__ = ["World"]


class World:
    """Devices, and the data that they have. It travels to other processes whole, once.

    Args:
        task: Of a head.
        frame: What its releases are laid over, as `fl_client.training.head_frame.head_frame` makes it.
        rows: All devices' examples.
        shares: Of each device.
        seed: 32 bytes; of all that is left to chance.

    Raises:
        SimulationRefused: the task trains something else, or is about another number of numbers.
    """

    def __init__(self, task: Task, frame: HeadFrame, rows: Rows, shares: Sequence[Share], seed: bytes) -> None:
        if not isinstance(task.training, HeadTraining):
            raise SimulationRefused(
                f"{task.name} trains no classifier.",
            )
        if task.plan.privacy.parameters != frame.numbers:
            raise SimulationRefused(
                f"The plan is about {task.plan.privacy.parameters:,} numbers; the head has {frame.numbers:,}.",
                hint="Set `dimension` to the numbers of a vector of the embedder: 384.",
            )
        self.task = task
        self.training = task.training
        self.frame = frame
        self.rows = rows
        self.shares = tuple(shares)
        self.seed = seed

    def __reduce__(self) -> "tuple[object, ...]":
        return _made, (encode(self.task), self.frame, self.rows, self.shares, self.seed)

    def learned(self, device: int, round_: int, release: bytes) -> RawDelta:
        """What training on a device changes.

        Args:
            device: Its number.
            round_: Of the round.
            release: That the round begins with, little-endian float32.
        """
        own = self.rows.of(self.shares[device].learned_from.tolist())
        rows = Labelled(own.vectors.astype("<f4").tobytes(), own.labels.astype("<u2").tobytes())
        recipe = head_recipe(self.training, seeded(self.seed, "turns", round_, device)(32))
        order = head_order(recipe, self.frame, release, rows)
        return weighted(head_delta(self.frame, order, train(order, _silent)), rows.rows, self.task.most_examples)

    def noised(self, raw: RawDelta, device: int, round_: int) -> NoisedDelta:
        """The same, clipped and with this device's share of the noise in it."""
        plan = self.task.plan.privacy
        return add_noise(clip(raw, plan), plan, seeded(self.seed, "noise", round_, device))

    def judge(self, release: bytes, places: Owned) -> tuple[float, float]:
        """The mean loss with a release on some rows, in nats, and the share of them that it gets right."""
        return self._head(release).judge(self.rows.of(places.tolist()))

    def gains(self, release: bytes) -> NDArray[np.float64]:
        """What a release is worth to each device that holds rows out: by how much its loss there falls, in nats."""
        before, after = self._head(bytes(len(release))), self._head(release)
        own = [self.rows.of(share.held_out.tolist()) for share in self.shares if len(share.held_out)]
        return np.array([before.judge(rows)[0] - after.judge(rows)[0] for rows in own])

    def _head(self, release: bytes) -> Softmax:
        return Softmax(self.frame.weights(release), 0.0)


def _made(task: bytes, frame: HeadFrame, rows: Rows, shares: tuple[Share, ...], seed: bytes) -> World:
    try:
        return World(read_task(task), frame, rows, shares, seed)
    except Malformed as error:
        raise SimulationRefused(error.message) from None


def _silent(_done: int, _total: int, _note: str) -> None:
    """Nobody waits for one device."""
