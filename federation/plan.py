"""The plan of a task's rounds: what a person agrees to, and what each device works out of it for itself.

An orchestrator proposes it. What it costs in privacy, and how likely an update could be opened, isn't believed:
every device computes both from the numbers that it will itself use.
"""

from typing import Annotated

import msgspec

from federation.digests import digest
from federation.errors import Malformed
from federation.messages import Message, encode
from federation.privacy.accounting import ORDERS, Sensitivity, epsilon, skellam_rdp
from federation.privacy.plan import PrivacyPlan
from federation.privacy.planner import Wish, plan_for
from federation.secagg.finder import Adversity, failure, find
from federation.secagg.plan import SecAggPlan

__all__ = ["Plan", "propose"]


class Plan(Message, frozen=True, array_like=True, tag="plan"):
    """How updates are made private and summed.

    Attributes:
        privacy: How they become integers with noise.
        secagg: How they are summed.
        participations: How often a device takes part at most.
        delta: The probability for which `epsilon` isn't promised.
    """

    privacy: PrivacyPlan
    secagg: SecAggPlan
    participations: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    delta: Annotated[float, msgspec.Meta(gt=0, lt=1)]

    def __post_init__(self) -> None:
        if (self.privacy.bits, self.privacy.dimension) != (self.secagg.bits, self.secagg.dimension):
            raise ValueError("updates are made private for the ring that they are summed in")
        if self.honest < 2:
            raise ValueError("at least two honest devices are left")

    @property
    def digest(self) -> bytes:
        """What stands for it in a round; 32 bytes."""
        return digest("plan", encode(self))

    @property
    def honest(self) -> int:
        """Devices whose noise is in a sum that is opened, at least; who works with the server may add none."""
        return self.secagg.min_survivors - self.secagg.corrupt

    def epsilon(self, times: int | None = None) -> float:
        """What taking part costs, by the noise of the honest devices alone.

        Args:
            times: How often; as often as allowed if not given, and never more.
        """
        times = self.participations if times is None else min(times, self.participations)
        if times == 0:
            return 0.0
        sensitivity = Sensitivity.of(self.privacy.norm_bound, self.privacy.dimension)
        variance = self.honest * self.privacy.variance
        rdp = [times * skellam_rdp(order, sensitivity, variance) for order in ORDERS]
        return epsilon(rdp, self.delta)

    def exposure(self) -> float:
        """Probability that a server could open less than all survivors of a round together, as a power of two.

        `-inf` is never. It is about each round that is begun, finished or not; for the smallest and the largest
        cohort, whichever is worse. As many devices count as lost as the plan lets be lost.
        """
        return max(
            failure(_adversity(self.secagg, cohort), self.secagg.neighbours, self.secagg.threshold)[0]
            for cohort in {self.secagg.min_cohort, self.secagg.max_cohort}
        )


def _adversity(plan: SecAggPlan, cohort: int) -> Adversity:
    return Adversity(
        cohort,
        plan.corrupt,
        cohort - plan.min_survivors,
        roster=min(cohort + plan.max_silent, plan.max_cohort),
        silent=plan.max_silent,
    )


def propose(wish: Wish, rotation_seed: bytes, *, silent: int = 0) -> Plan:
    """The plan that gives what is wished, with as little noise and as few neighbours as that takes.

    Args:
        wish: What is to be learned, by how many, how private.
        rotation_seed: 32 bytes.
        silent: How many devices may keep back their part of the graph's randomness without ending the round.

    Raises:
        Malformed: there is none, for so few devices or so few bits.
    """
    privacy = plan_for(wish, rotation_seed)
    corrupt = wish.survivors - wish.honest
    if not 0 <= silent <= wish.cohort - wish.survivors:
        raise Malformed("Who keeps back a part of the graph is lost: as many at most may do so as may be lost.")
    # Both ends of what `exposure` is about; with fewer devices, as many corrupt ones are a larger share.
    largest, smallest = (
        Adversity(cohort, corrupt, cohort - wish.survivors, roster=wish.cohort, silent=silent)
        for cohort in (wish.cohort, wish.cohort - silent)
    )
    choice = find(largest, *([smallest] if silent else []))
    try:
        secagg = SecAggPlan(
            privacy.dimension,
            privacy.bits,
            choice.neighbours,
            choice.threshold,
            wish.cohort - silent,
            wish.cohort,
            wish.survivors,
            corrupt,
            silent,
        )
        return Plan(privacy, secagg, wish.participations, wish.delta)
    except ValueError as error:
        raise Malformed(f"There is no plan for so few devices: {error}. Ask for a larger cohort.") from None
