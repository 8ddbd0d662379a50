"""Who masks with whom: a regular random graph (Bell et al. 2020, section 3.1), from randomness that nobody chooses.

Each device commits itself to a nonce when it advertises its keys, the server to one before that. Only when the
cohort stands are they revealed, and together they seed the graph: the devices are put on a circle in random
order, and each is the neighbour of the k/2 on either side. Whoever keeps a nonce back can choose between two
graphs, so the plan limits how many may, and `finder` counts those choices in.
"""

import hmac
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Place", "RandomGraph"]


class Place(NamedTuple):
    """One device's place in another's neighbourhood.

    Attributes:
        device: Number of the neighbour, in the order of the identities.
        point: From 1: at which the neighbour holds this device's shares.
    """

    device: int
    point: int


class RandomGraph:
    """The graph of one round.

    Args:
        seed: 32 bytes that nobody chose.
        devices: The identities, in their order; more than `degree`.
        degree: How many neighbours each has; even.
    """

    def __init__(self, seed: bytes, devices: Sequence[bytes], degree: int) -> None:
        # Ordered by a keyed hash: under a random key every order is as likely as any other.
        circle = sorted(range(len(devices)), key=lambda number: hmac.digest(seed, devices[number], "sha256"))
        self._circle = circle
        self._at = [0] * len(circle)
        for place, number in enumerate(circle):
            self._at[number] = place
        half = degree // 2
        self._steps = (*range(-half, 0), *range(1, half + 1))
        self._points = {step % len(circle): point for point, step in enumerate(self._steps, 1)}

    def neighbours(self, device: int) -> list[Place]:
        """A device's neighbours, each with the point at which it holds the device's shares."""
        at, count = self._at[device], len(self._circle)
        return [Place(self._circle[(at + step) % count], point) for point, step in enumerate(self._steps, 1)]

    def point_of(self, device: int, holder: int) -> int:
        """The point at which a neighbour holds a device's shares."""
        return self._points[(self._at[holder] - self._at[device]) % len(self._circle)]
