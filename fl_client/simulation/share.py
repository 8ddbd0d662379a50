"""What devices have, and what a simulation asks of them, whatever it is that they train."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from federation.privacy.clip import RawDelta
from federation.privacy.noise import NoisedDelta
from federation.task import Task
from fl_client.simulation.partition import Owned

__all__ = ["Share", "Simulated"]


class Share(NamedTuple):
    """What a device has, as places among the world's rows.

    Attributes:
        learned_from: At least one.
        held_out: To judge a release by; of many devices none.
    """

    learned_from: Owned
    held_out: Owned


class Simulated(Protocol):
    """All devices of a simulation.

    Attributes:
        task: That they learn.
        shares: Of each device.
        seed: 32 bytes; of all that is left to chance.
    """

    task: Task
    shares: tuple[Share, ...]
    seed: bytes

    def learned(self, device: int, round_: int, release: bytes) -> RawDelta:
        """What training on a device changes."""
        ...

    def noised(self, raw: RawDelta, device: int, round_: int) -> NoisedDelta:
        """The same, clipped and with this device's share of the noise in it."""
        ...

    def judge(self, release: bytes, places: Owned) -> tuple[float, float | None]:
        """The mean loss with a release on some rows, and the share of them that it gets right, if any is right."""
        ...

    def gains(self, release: bytes) -> NDArray[np.float64]:
        """By how much the loss falls of each device that holds rows out."""
        ...
