"""The plan that keeps to a wished ε, what comes of it, and that the accounting is the published one."""

import math

import dp_accounting  # type: ignore[import-untyped]
import pytest
from dp_accounting import rdp

from federation.errors import Malformed
from federation.privacy.accounting import ORDERS, Sensitivity, epsilon, gaussian_rdp, skellam_rdp
from federation.privacy.planner import Wish, forecast, plan_for

SEED = bytes(32)


@pytest.mark.parametrize(
    ("wish", "noise", "epsilon_", "noise_to_clip"),
    [
        (Wish(2**18, 100, epsilon=19.1, bits=16), 1.0, 19.1, 6.4),
        (Wish(2**18, 500, epsilon=8.4), 2.0, 8.4, 2.6),
        (Wish(2**18, 1000, epsilon=3.9), 4.0, 3.9, 2.6),
        (Wish(2**18, 10_000, epsilon=2.15), 7.0, 2.15, 0.5),
    ],
)
def test_known_plans_come_out(wish: Wish, noise: float, epsilon_: float, noise_to_clip: float) -> None:
    found = forecast(wish, plan_for(wish, SEED))
    assert found.epsilon == pytest.approx(epsilon_, rel=0.005)
    assert found.epsilon <= wish.epsilon
    assert found.noise_multiplier == pytest.approx(noise, rel=0.03)
    assert found.noise_to_clip == pytest.approx(noise_to_clip, rel=0.1)
    assert found.overflow < 1e-3


@pytest.mark.parametrize("participations", [1, 8, 100])
@pytest.mark.parametrize("multiplier", [0.7, 2.0, 20.0])
def test_in_the_gaussian_limit_it_is_what_dp_accounting_says(multiplier: float, participations: int) -> None:
    """With noise of many steps Skellam is Gaussian; the orders are the same for both."""
    length = 1e7
    sensitivity = Sensitivity.of(length**2, 1 << 18)
    variance = (multiplier * length) ** 2
    ours = epsilon([participations * skellam_rdp(order, sensitivity, variance) for order in ORDERS], 1e-7)
    accountant = rdp.RdpAccountant(orders=list(ORDERS))
    accountant.compose(dp_accounting.GaussianDpEvent(multiplier), participations)
    theirs = accountant.get_epsilon(1e-7)
    assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("divergence", [math.nan, math.inf])
def test_a_cost_that_is_no_number_is_none(divergence: float) -> None:
    with pytest.raises(Malformed):
        epsilon([divergence, *([divergence] * (len(ORDERS) - 1))], 1e-7)


def test_fewer_steps_cost_more_than_gaussian_noise_and_never_less() -> None:
    for length in (3.0, 30.0, 3000.0):
        sensitivity = Sensitivity.of(length**2, 1 << 14)
        for order in (2, 8, 64, 512):
            variance = (2 * length) ** 2
            assert skellam_rdp(order, sensitivity, variance) > gaussian_rdp(order, sensitivity, variance)


def test_more_participations_fewer_honest_devices_and_fewer_bits_cost_privacy_or_use() -> None:
    wish = Wish(15_360, 200)
    base = forecast(wish, plan_for(wish, SEED))
    often = Wish(15_360, 200, participations=32)
    assert forecast(often, plan_for(wish, SEED)).epsilon > 1.5 * base.epsilon
    assert forecast(often, plan_for(often, SEED)).noise_to_clip > base.noise_to_clip
    distrusting = Wish(15_360, 200, corrupt=0.3)
    assert forecast(distrusting, plan_for(wish, SEED)).epsilon > base.epsilon


def test_the_operator_is_told_plainly_what_few_devices_come_to() -> None:
    wish = Wish(184_320, 8, dropout=0.1)
    (warning,) = forecast(wish, plan_for(wish, SEED)).warnings
    assert "At 8 devices this is a demonstration" in warning
    large = Wish(15_360, 5000, epsilon=4, delta=1e-9)
    assert forecast(large, plan_for(large, SEED)).warnings == ()
    weak = Wish(15_360, 100, epsilon=40, delta=0.1)
    told = " ".join(forecast(weak, plan_for(weak, SEED)).warnings)
    assert "promises little" in told
    assert "give one of them away whole" in told


def test_fewer_numbers_are_private_where_more_are_not() -> None:
    ffa, core = (Wish(parameters, 500) for parameters in (184_320, 15_360))
    noise = [forecast(wish, plan_for(wish, SEED)).noise_to_clip for wish in (ffa, core)]
    assert noise[0] / noise[1] == pytest.approx(math.sqrt(184_320 / 15_360), rel=0.05)


@pytest.mark.parametrize(
    "fields",
    [
        {"cohort": 2},
        {"parameters": 0},
        {"delta": 0.0},
        {"epsilon": -1.0},
        {"dropout": 1.0},
        {"corrupt": 0.79},
        {"participations": 0},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(Malformed):
        Wish(**{"parameters": 100, "cohort": 100, **fields})  # type: ignore[arg-type]


def test_a_ring_that_is_too_small_for_the_cohort_says_so() -> None:
    with pytest.raises(Malformed, match="bits"):
        plan_for(Wish(1000, 10_000, bits=8), SEED)
