"""The third kind of delta: integers with noise in them, and back from their sum to the mean of many updates.

Rotate, scale, round so that the length stays bounded, add Skellam noise, take modulo 2^b (Agarwal, Kairouz, Liu
2021; Kairouz, Liu, Steinke 2021). One device's noise hides little: what is opened is the sum, with the noise of
all in it.
"""

from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from federation.errors import Malformed
from federation.privacy.clip import ClippedDelta, MadeInOnePlace
from federation.privacy.plan import PrivacyPlan
from federation.privacy.rotation import rotate, rotate_back
from federation.privacy.skellam import draw
from federation.ring import Ring, Vector
from federation.stream import KEY_BYTES, Random, Stream

__all__ = ["NoisedDelta", "add_noise", "mean_of"]

_HERE: Final = object()
_MOST_ROUNDINGS = 1000
"""Each fits with a probability of more than a third: a thousand don't only where something is wrong."""


@final
class NoisedDelta(MadeInOnePlace):
    """An update with its device's share of the noise. Only `add_noise` makes one, and it is taken once.

    In two sums with the same noise, an update could be seen in their difference.

    Attributes:
        plan: It was made by.
    """

    __slots__ = ("_vector", "plan")

    def __init__(self, vector: Vector, plan: PrivacyPlan, made_here: object) -> None:
        if made_here is not _HERE:
            raise TypeError("A NoisedDelta is made by add_noise(), of a ClippedDelta, and in no other way.")
        self._vector: Final[list[Vector]] = [vector]
        self.plan: Final = plan

    def take(self, plan: PrivacyPlan) -> Vector:
        """The numbers, shape (dimension,), the taker's own; there is no second time.

        Args:
            plan: By which they have to be made.

        Raises:
            Malformed: they are made by another, or were taken before.
        """
        if plan != self.plan:
            raise Malformed("The update was made private by another plan.")
        if not self._vector:
            raise Malformed("The update was sent before: another one needs noise of its own.")
        return self._vector.pop()


def add_noise(clipped: ClippedDelta, plan: PrivacyPlan, random: Random) -> NoisedDelta:
    """Make a clipped update integers, and add this device's share of the noise.

    Args:
        clipped: Of the plan's number of parameters.
        plan: With the scale, the noise and the ring.
        random: Gives unforeseeable bytes, such as `os.urandom`; for the rounding and the noise.

    Raises:
        TypeError: it wasn't made by `clip`.
        Malformed: it isn't an update for this plan.
    """
    if type(clipped) is not ClippedDelta:
        raise TypeError("Noise is added to a ClippedDelta, and to nothing else.")
    if clipped.values.size != plan.parameters:
        raise Malformed("The update isn't one for this plan.")
    rotated = rotate(clipped.values, plan.rotation_seed, plan.dimension) * plan.scale
    rounded = _rounded(rotated, plan.norm_bound, Stream(random(KEY_BYTES)))
    noise = draw(plan.variance, plan.dimension, Stream(random(KEY_BYTES)))
    return NoisedDelta(Ring(plan.bits).from_signed(rounded + noise), plan, _HERE)


def _rounded(values: NDArray[np.float64], bound: int, stream: Stream) -> NDArray[np.int64]:
    """Round at random, without bias but for this: what is longer than the bound is drawn again."""
    # Beforehand: integers that large would wrap around, and look short.
    if float(np.max(np.abs(values))) > bound or float(np.dot(values, values)) > bound:
        raise Malformed("The update is longer than it was clipped to.")
    for _ in range(_MOST_ROUNDINGS):
        rounded = np.floor(values + stream.uint32(values.size) * 2.0**-32).astype(np.int64)
        if int(np.dot(rounded, rounded)) <= bound:
            return rounded
    raise Malformed("The update can't be rounded within its length: it isn't one that was clipped for this plan.")


def mean_of(total: Vector, plan: PrivacyPlan, survivors: int) -> NDArray[np.float64]:
    """The mean of the updates that a sum is of.

    Args:
        total: The sum in the ring, shape (dimension,).
        plan: It was made by.
        survivors: How many updates are in it.

    Returns:
        Shape (parameters,).
    """
    steps = Ring(plan.bits).to_signed(total)
    return rotate_back(steps / (plan.scale * survivors), plan.rotation_seed, plan.parameters)
