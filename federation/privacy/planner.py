"""From what an operator wants to the numbers that give it: scale and noise, and plainly what comes of them."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from federation.errors import Malformed
from federation.privacy.accounting import ORDERS, Sensitivity, epsilon, skellam_rdp
from federation.privacy.plan import PrivacyPlan
from federation.ring import Ring

__all__ = ["Forecast", "Wish", "forecast", "plan_for"]

_OVERFLOW = 1e-9
"""Probability that a number of the sum leaves the ring, for an update that is spread evenly."""
_FINEST = 1 << 16
"""Standard deviations of one device's noise of more steps than this gain nothing, and its table would be large."""
_LOUD = 1.0
_WEAK = 10.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be learned, by whom, how often, and how private.

    Attributes:
        parameters: Numbers of an update.
        cohort: Devices that begin a round.
        dropout: Share of them that may be lost.
        corrupt: Share of them that may add no noise.
        participations: How often one device takes part at most.
        epsilon: What all its participations together may cost.
        delta: The probability for which that isn't promised.
        clip: Largest L2 norm of an update.
        bits: Of the ring.
    """

    parameters: int
    cohort: int
    dropout: float = 0.2
    corrupt: float = 0.05
    participations: int = 8
    epsilon: float = 8.0
    delta: float = 1e-7
    clip: float = 1.0
    bits: int = 18

    def __post_init__(self) -> None:
        if not (self.parameters >= 1 and self.cohort >= 3 and self.participations >= 1 and self.clip > 0):
            raise Malformed(
                "A plan is for at least 1 parameter, 3 devices and 1 participation, and a clip above 0."
            )
        if not (0 <= self.dropout < 1 and 0 <= self.corrupt < 1 and self.epsilon > 0 and 0 < self.delta < 1):
            raise Malformed("Shares are from 0 to 1, ε is above 0, and δ between 0 and 1.")
        if self.honest < 2:
            raise Malformed("So few honest devices would be left that nothing hides one among them.")

    @property
    def survivors(self) -> int:
        """Updates that are there at least."""
        return math.floor(self.cohort * (1 - self.dropout))

    @property
    def honest(self) -> int:
        """Devices whose noise is in the sum at least."""
        return self.survivors - math.ceil(self.cohort * self.corrupt)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What comes of a plan.

    Attributes:
        epsilon: What taking part as often as allowed costs.
        noise_multiplier: Standard deviation of the noise in a number of the sum that is counted on, by the clip
            norm.
        noise_to_clip: L2 norm of the noise in the mean of an update's parameters, by the clip norm: above 1, what
            one round learns is less than its noise.
        overflow: Probability that any number of a sum leaves the ring, at most.
        upload: Bytes of an update on the wire.
        warnings: What the operator should know, in sentences.
    """

    epsilon: float
    noise_multiplier: float
    noise_to_clip: float
    overflow: float
    upload: int
    warnings: tuple[str, ...]


def plan_for(wish: Wish, rotation_seed: bytes) -> PrivacyPlan:
    """The plan with the least noise that keeps to the wished ε.

    Args:
        wish: What is wanted.
        rotation_seed: 32 bytes.

    Raises:
        Malformed: no noise that fits the ring would do.
    """
    low, high = 1e-3, 1e6
    if forecast(wish, _with_noise(wish, high, rotation_seed)).epsilon > wish.epsilon:
        raise Malformed(
            f"No noise that fits a ring of {wish.bits} bits gives ε = {wish.epsilon:g}. Ask for more bits."
        )
    while high / low > 1.0005:
        middle = math.sqrt(low * high)
        if forecast(wish, _with_noise(wish, middle, rotation_seed)).epsilon <= wish.epsilon:
            high = middle
        else:
            low = middle
    return _with_noise(wish, high, rotation_seed)


def _with_noise(wish: Wish, multiplier: float, rotation_seed: bytes) -> PrivacyPlan:
    """The plan with a noise of so many clip norms in the sum, as finely scaled as the ring holds.

    Agarwal, Kairouz, Liu 2021, section 5: the ring holds κ standard deviations of each number of the sum on
    either side.
    """
    kappa = NormalDist().inv_cdf(1 - _OVERFLOW / 2)
    dimension = 1 << (wish.parameters - 1).bit_length()
    local = multiplier * wish.clip / math.sqrt(wish.honest)
    spread = math.sqrt((wish.clip * wish.cohort) ** 2 / dimension + wish.cohort * local**2)
    room = 4.0**wish.bits - wish.cohort * kappa**2
    if room <= 0:
        raise Malformed(f"A ring of {wish.bits} bits is too small for {wish.cohort} devices.")
    scale = min(math.sqrt(room) / (2 * kappa * spread), _FINEST / local)
    variance = max(1, math.ceil((scale * local) ** 2))
    return PrivacyPlan(wish.parameters, wish.clip, scale, wish.bits, variance, rotation_seed)


def forecast(wish: Wish, plan: PrivacyPlan) -> Forecast:
    """What comes of a plan, for devices that keep to the wish."""
    sensitivity = Sensitivity.of(plan.norm_bound, plan.dimension)
    counted_on = wish.honest * plan.variance
    rdp = [wish.participations * skellam_rdp(order, sensitivity, counted_on) for order in ORDERS]
    cost = epsilon(rdp, wish.delta)
    deviation = math.sqrt(wish.survivors * plan.variance) / plan.scale
    noise_to_clip = deviation * math.sqrt(plan.parameters) / wish.survivors / plan.clip
    spread = math.sqrt(
        plan.scale**2 * (plan.clip * wish.cohort) ** 2 / plan.dimension + wish.cohort * (plan.variance + 0.25)
    )
    overflow = min(1.0, 2 * plan.dimension * NormalDist().cdf(-(2 ** (plan.bits - 1)) / spread))
    return Forecast(
        epsilon=cost,
        noise_multiplier=math.sqrt(counted_on) / plan.scale / plan.clip,
        noise_to_clip=noise_to_clip,
        overflow=overflow,
        upload=Ring(plan.bits).size(plan.dimension),
        warnings=tuple(_warnings(wish, cost, noise_to_clip)),
    )


def _warnings(wish: Wish, cost: float, noise_to_clip: float) -> list[str]:
    found = []
    if noise_to_clip > _LOUD:
        found.append(
            f"At {wish.cohort:,} devices this is a demonstration: the noise in a round's mean is "
            f"{noise_to_clip:.1f} times as long as any one update (ε = {cost:.1f}). "
            "More devices or fewer parameters would help."
        )
    if cost > _WEAK:
        found.append(f"ε = {cost:.1f} promises little; below {_WEAK:.0f} is usual.")
    if wish.delta * wish.cohort > 1:
        found.append(
            "δ is larger than one by the number of devices: it would allow to give one of them away whole."
        )
    return found
