"""A plan: what an orchestrator proposes, and what a device makes of it for itself."""

import msgspec
import pytest

from federation.errors import Malformed
from federation.messages import decode, encode
from federation.plan import Plan, propose
from federation.privacy.planner import Wish, forecast
from federation.secagg.finder import Adversity, failure, find
from tests.federation.rounds import Federation, run

WISH = Wish(15_360, 100, epsilon=8.0)
SEED = b"\x05" * 32


@pytest.fixture(scope="module")
def plan() -> Plan:
    return propose(WISH, SEED, silent=1)


def test_what_is_proposed_is_what_was_wished(plan: Plan) -> None:
    assert plan.epsilon() == pytest.approx(forecast(WISH, plan.privacy).epsilon)
    assert plan.epsilon() <= WISH.epsilon
    assert plan.exposure() <= -40
    assert plan.honest == WISH.honest
    assert plan.secagg.min_survivors == 80


def test_it_travels_whole_and_its_digest_stands_for_all_of_it(plan: Plan) -> None:
    assert decode(encode(plan), Plan, 1000) == plan
    digests = {plan.digest}
    digests.add(msgspec.structs.replace(plan, participations=plan.participations + 1).digest)
    wary = msgspec.structs.replace(plan.secagg, corrupt=plan.secagg.corrupt + 1)
    digests.add(msgspec.structs.replace(plan, secagg=wary).digest)
    digests.add(msgspec.structs.replace(plan, delta=plan.delta / 2).digest)
    quieter = msgspec.structs.replace(plan.privacy, variance=plan.privacy.variance - 1)
    digests.add(msgspec.structs.replace(plan, privacy=quieter).digest)
    assert len(digests) == 5


def test_a_device_sees_what_less_noise_or_fewer_survivors_would_cost(plan: Plan) -> None:
    quieter = msgspec.structs.replace(plan.privacy, variance=plan.privacy.variance // 100)
    assert msgspec.structs.replace(plan, privacy=quieter).epsilon() > 5 * plan.epsilon()
    fewer = msgspec.structs.replace(plan.secagg, min_survivors=55)
    assert msgspec.structs.replace(plan, secagg=fewer).epsilon() > 1.2 * plan.epsilon()
    weaker = msgspec.structs.replace(plan.secagg, threshold=plan.secagg.neighbours // 2 + 1)
    assert msgspec.structs.replace(plan, secagg=weaker).exposure() > -20


@pytest.mark.parametrize("field", ["bits", "dimension"])
def test_a_plan_whose_parts_are_of_different_rings_is_none(plan: Plan, field: str) -> None:
    other = msgspec.structs.replace(plan.secagg, **{field: 16})
    with pytest.raises(ValueError, match="ring"):
        msgspec.structs.replace(plan, secagg=other)
    data = encode(plan).replace(encode(plan.secagg)[1:], encode(other)[1:])
    with pytest.raises(Malformed):
        decode(data, Plan, 1000)


def test_so_few_devices_that_nothing_hides_one_are_refused() -> None:
    for cohort in (3, 4):
        with pytest.raises(Malformed):
            propose(Wish(100, cohort, dropout=0.5), SEED)


@pytest.mark.parametrize("silent", [5, 2, -1])
def test_more_silent_devices_than_may_be_lost_are_refused(silent: int) -> None:
    with pytest.raises(Malformed, match="lost"):
        propose(Wish(500, 100, dropout=0.01), SEED, silent=silent)


def test_the_graph_is_safe_for_the_cohort_that_is_left_when_all_who_may_be_silent_are() -> None:
    """As many corrupt devices are more of a smaller cohort: what is just safe for all of them isn't for these."""
    wish = Wish(500, 500, dropout=0.1, corrupt=0.1)
    alone = find(Adversity(500, 50, 50, roster=500, silent=4))
    left = Adversity(496, 50, 46, roster=500, silent=4)
    assert failure(left, alone.neighbours, alone.threshold)[0] > -40
    plan = propose(wish, SEED, silent=4)
    assert plan.exposure() <= -40
    assert (plan.secagg.neighbours, plan.secagg.threshold) == (alone.neighbours, alone.threshold + 1)


def test_what_a_plan_lets_be_lost_counts_as_lost() -> None:
    """Nothing but the least number of survivors keeps a server from losing devices."""
    plan = propose(Wish(500, 1000, corrupt=0.02, epsilon=50.0), SEED)
    secagg = msgspec.structs.replace(plan.secagg, neighbours=180, threshold=100)
    assert failure(Adversity(1000, 20, 0), 180, 100)[0] <= -40
    assert msgspec.structs.replace(plan, secagg=secagg).exposure() > -30


def test_a_round_by_a_proposed_plan_opens_the_sum() -> None:
    plan = propose(Wish(500, 12, dropout=0.2, corrupt=0.1, epsilon=50.0), SEED)
    federation = Federation(12, plan)
    updates = [federation.update(number) for number in range(12)]
    opened = run(federation, updates, {"mask": [4], "unmask": [9]})
    assert len(opened.sent) == 11
    assert opened.is_right
