"""An audit: who tries to tell whether one update was in a sum does no better than the accounted ε allows.

Jagielski, Ullman, Oprea 2020: from many runs with a known update and without it, a lower bound on ε follows with
confidence. It has to stay below what the accounting claims; and with the noise taken away it has to be far above.
"""

import math
import os

import numpy as np
import pytest

from federation.privacy.accounting import ORDERS, Sensitivity, epsilon, skellam_rdp
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import add_noise
from federation.privacy.plan import PrivacyPlan
from federation.privacy.rotation import rotate
from federation.ring import Ring

TRIALS, DELTA = 2000, 1e-5
PARAMETERS = 64


def upper(successes: int, trials: int, confidence: float = 0.999) -> float:
    """The largest probability that a number of successes leaves likely (Clopper and Pearson 1934)."""
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        likely = math.fsum(
            math.exp(
                math.lgamma(trials + 1)
                - math.lgamma(count + 1)
                - math.lgamma(trials - count + 1)
                + count * math.log(middle)
                + (trials - count) * math.log1p(-middle)
            )
            for count in range(successes + 1)
        )
        low, high = (middle, high) if likely > 1 - confidence else (low, middle)
    return high


def audited(plan: PrivacyPlan) -> float:
    """The ε that the best guesses prove, of thresholds on how far the sum points along the update."""
    update = np.ones(PARAMETERS)
    direction = rotate(update / np.linalg.norm(update), plan.rotation_seed, plan.dimension)
    ring, seen = Ring(plan.bits), {}
    for there in (True, False):
        clipped = clip(RawDelta(update if there else np.zeros(PARAMETERS)), plan)
        seen[there] = np.array(
            [
                float(ring.to_signed(add_noise(clipped, plan, os.urandom).take(plan)) @ direction)
                for _ in range(TRIALS)
            ]
        )
    best = 0.0
    for threshold in np.quantile(np.concatenate(list(seen.values())), (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)):
        for sign in (1, -1):
            wrong_in = upper(int((sign * seen[True] < sign * threshold).sum()), TRIALS)
            wrong_out = upper(int((sign * seen[False] >= sign * threshold).sum()), TRIALS)
            for miss, alarm in ((wrong_in, wrong_out), (wrong_out, wrong_in)):
                if 1 - DELTA - miss > 0:
                    best = max(best, math.log((1 - DELTA - miss) / alarm))
    return best


def accounted(plan: PrivacyPlan) -> float:
    sensitivity = Sensitivity.of(plan.norm_bound, plan.dimension)
    return epsilon([skellam_rdp(order, sensitivity, plan.variance) for order in ORDERS], DELTA)


@pytest.mark.parametrize("multiplier", [0.5, 1.0, 3.0])
def test_an_update_is_told_from_its_absence_no_better_than_accounted_for(multiplier: float) -> None:
    scale = 200.0
    plan = PrivacyPlan(PARAMETERS, 1.0, scale, 18, math.ceil((multiplier * scale) ** 2), os.urandom(32))
    proven, claimed = audited(plan), accounted(plan)
    assert proven < claimed
    if multiplier <= 1:
        assert proven > 0.1 * claimed  # the audit sees something at all


def test_the_audit_finds_out_where_the_noise_is_missing() -> None:
    plan = PrivacyPlan(PARAMETERS, 1.0, 200.0, 18, 1, os.urandom(32))
    claimed = accounted(PrivacyPlan(PARAMETERS, 1.0, 200.0, 18, 200**2 * 4, plan.rotation_seed))
    assert audited(plan) > claimed
