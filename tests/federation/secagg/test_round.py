"""Whole rounds: whoever is lost at whatever step, the server opens the sum of those that are left, or nothing."""

import random
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Aborted, OutOfTurn, Refused
from federation.privacy.plan import PrivacyPlan
from federation.secagg.plan import SecAggPlan
from federation.secagg.wire import Masked, Unmask
from tests.federation.rounds import Federation, Lost, plan_of, run

STEPS = ("advertise", "reveal", "share", "mask", "confirm", "unmask")


def privacy_of(bits: int, parameters: int = 5) -> PrivacyPlan:
    return PrivacyPlan(parameters, 1.0, 10.0, bits, 3, bytes(32))


@cache
def federation_of(cohort: int, neighbours: int, threshold: int, bits: int, silent: int = 2) -> Federation:
    privacy = privacy_of(bits)
    least = max(neighbours + 1, threshold + 1)
    survivors = max(threshold + 1, cohort // 2 + 1)
    secagg = SecAggPlan(
        privacy.dimension, bits, neighbours, threshold, max(least, survivors), cohort, survivors, 0, silent
    )
    return Federation(cohort, plan_of(secagg, privacy))


@st.composite
def rounds(draw: st.DrawFn) -> tuple[Federation, Lost]:
    """A federation, and who is lost before which step."""
    cohort = draw(st.integers(3, 12))
    neighbours = 2 * draw(st.integers(1, (cohort - 1) // 2))
    threshold = draw(st.integers(neighbours // 2 + 1, min(neighbours, max(neighbours // 2 + 1, cohort - 2))))
    bits = draw(st.sampled_from((8, 12, 16, 18, 23, 31)))
    lost = {
        step: draw(st.lists(st.integers(0, cohort - 1), max_size=3, unique=True))
        for step in draw(st.lists(st.sampled_from(STEPS), unique=True, max_size=4))
    }
    return federation_of(cohort, neighbours, threshold, bits), lost


@settings(max_examples=150, deadline=None)
@given(rounds())
def test_the_sum_of_the_survivors_is_opened_or_nothing(given_: tuple[Federation, Lost]) -> None:
    federation, lost = given_
    federation.begin()
    updates = [federation.update(number) for number in range(federation.size)]
    try:
        opened = run(federation, updates, lost)
    except Aborted:
        assert any(lost.values())
    else:
        assert opened.is_right


@pytest.mark.parametrize("step", STEPS)
def test_a_device_that_is_lost_at_any_step_costs_itself_alone(step: str) -> None:
    federation = federation_of(12, 6, 4, 18)
    federation.begin()
    updates = [federation.update(number) for number in range(12)]
    opened = run(federation, updates, {step: [3, 8]})
    left = set(range(12)) - ({3, 8} if STEPS.index(step) <= STEPS.index("mask") else set())
    assert set(opened.sent) == left
    assert opened.is_right


def test_devices_lost_at_different_steps_together_cost_themselves_alone() -> None:
    federation = federation_of(30, 14, 8, 18)
    federation.begin()
    updates = [federation.update(number) for number in range(30)]
    lost = {"advertise": [0], "reveal": [1, 2], "share": [3], "mask": [4, 5], "confirm": [6], "unmask": [7]}
    opened = run(federation, updates, lost)
    assert opened.sent == list(range(6, 30))
    assert opened.is_right


def test_an_update_is_taken_for_what_it_is_in_the_sum_of_hundreds() -> None:
    privacy = privacy_of(18, parameters=100)
    secagg = SecAggPlan(privacy.dimension, 18, 20, 11, 100, 120, 80, 0, 2)
    federation = Federation(120, plan_of(secagg, privacy))
    updates = [federation.update(number) for number in range(120)]
    dice = random.Random(3)
    gone = dice.sample(range(120), 15)
    opened = run(federation, updates, {"mask": gone[:8], "unmask": gone[8:]})
    assert opened.is_right


def lies(federation: Federation, liars: set[int], lie: Callable[[bytes], bytes]) -> None:
    """Have some devices give other shares than they hold."""
    honest = federation.server.take_unmask

    def take(unmask: Unmask) -> None:
        if federation.number_of(unmask.device) in liars:
            unmask = Unmask(unmask.device, tuple(lie(share) if share else share for share in unmask.shares))
        honest(unmask)

    federation.server.take_unmask = take  # type: ignore[method-assign]


def nothing(share: bytes) -> bytes:
    return bytes(len(share))


def nearly(share: bytes) -> bytes:
    """One limb is wrong, so that every second set of shares gives something that looks like a secret."""
    return bytes([share[0] ^ 1]) + share[1:]


@pytest.mark.parametrize("lie", [nothing, nearly])
@pytest.mark.parametrize("liars", [{2}, {2, 7}])
def test_wrong_shares_of_some_are_passed_over(liars: set[int], lie: Callable[[bytes], bytes]) -> None:
    federation = federation_of(12, 8, 5, 18)
    federation.begin()
    updates = [federation.update(number) for number in range(12)]
    lies(federation, liars, lie)
    assert run(federation, updates, {"mask": [11]}).is_right


@pytest.mark.parametrize("lie", [nothing, nearly])
def test_wrong_shares_of_too_many_give_nothing(lie: Callable[[bytes], bytes]) -> None:
    federation = federation_of(12, 8, 5, 18)
    federation.begin()
    lies(federation, set(range(5)), lie)
    with pytest.raises(Aborted):
        run(federation, [federation.update(number) for number in range(12)], {})


def test_who_gave_a_wrong_share_is_not_believed_any_more() -> None:
    privacy = privacy_of(18)
    secagg = SecAggPlan(privacy.dimension, 18, 12, 7, 13, 14, 9, 2, 0)
    federation = Federation(14, plan_of(secagg, privacy))
    lies(federation, {3, 9}, nearly)
    opened = run(federation, [federation.update(number) for number in range(14)], {})
    assert opened.is_right
    server = federation.server
    assert {server.devices[number] for number in server._liars} == {
        federation.devices[number].device for number in (3, 9)
    }


def test_a_server_takes_no_step_twice_and_no_message_out_of_turn() -> None:
    federation = federation_of(6, 4, 3, 18)
    federation.begin()
    server = federation.server
    advert = federation.devices[0].advertise()
    server.take_advert(advert)
    with pytest.raises(Refused):
        server.take_advert(advert)
    with pytest.raises(OutOfTurn):
        server.graph()
    for device in federation.devices[1:]:
        server.take_advert(device.advertise())
    server.roster()
    with pytest.raises(OutOfTurn):
        server.roster()
    with pytest.raises(OutOfTurn):
        server.take_advert(advert)


def test_an_update_is_summed_once() -> None:
    federation = federation_of(6, 4, 3, 18)
    federation.begin()
    server, taken = federation.server, list[Masked]()
    honest = server.take_masked

    def again(masked: Masked) -> None:
        honest(masked)
        with pytest.raises(Refused):
            honest(masked)
        taken.append(masked)

    server.take_masked = again  # type: ignore[method-assign]
    updates = [federation.update(number) for number in range(6)]
    opened = run(federation, updates, {})
    assert len(taken) == 6
    assert opened.is_right
