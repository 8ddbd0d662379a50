"""How updates are made private: the numbers that `federation.privacy` works with, a part of what is agreed to."""

import math
from typing import Annotated

import msgspec

from federation.messages import Digest, Message
from federation.ring import MAX_BITS, MIN_BITS

__all__ = ["MAX_PARAMETERS", "PrivacyPlan"]

MAX_PARAMETERS = 1 << 24
BETA = math.exp(-0.5)
"""Share of roundings that may be too long, and are drawn again (Kairouz, Liu, Steinke 2021, section 4.2)."""

_Positive = Annotated[float, msgspec.Meta(gt=0, lt=1e12)]


class PrivacyPlan(Message, frozen=True, array_like=True, tag="privacy-plan"):
    """How an update becomes integers, and how much noise each device adds. `planner` makes one.

    Attributes:
        parameters: Numbers of an update, as it is trained.
        clip: Its L2 norm at most.
        scale: Integer steps of one unit.
        bits: Of the ring.
        variance: Of the Skellam noise that each device adds, in steps squared.
        rotation_seed: Of the rotation that spreads an update evenly over all coordinates.
    """

    parameters: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARAMETERS)]
    clip: _Positive
    scale: _Positive
    bits: Annotated[int, msgspec.Meta(ge=MIN_BITS, le=MAX_BITS)]
    variance: Annotated[int, msgspec.Meta(ge=1, lt=1 << 33)]
    rotation_seed: Digest

    def __post_init__(self) -> None:
        if not self.scale * self.clip < 1 << 30:
            raise ValueError("an update is less than 2^30 steps long")

    @property
    def dimension(self) -> int:
        """Numbers that are sent: the parameters, and zeros up to a power of two."""
        return 1 << (self.parameters - 1).bit_length()

    @property
    def norm_bound(self) -> int:
        """Square of the largest L2 norm of an update in steps, after rounding; the sensitivity of the sum, squared.

        Kairouz, Liu, Steinke 2021, equation (3): what rounding adds to a vector of norm `clip`, but for a share of
        the roundings, which are drawn again.
        """
        length, root = self.scale * self.clip, math.sqrt(self.dimension)
        likely = length**2 + self.dimension / 4 + math.sqrt(2 * math.log(1 / BETA)) * (length + root / 2)
        return math.floor(min((length + root) ** 2, likely))
