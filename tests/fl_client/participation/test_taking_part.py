"""People who learn together over TLS: what leaves, what is written down, and what ends it."""

import asyncio
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from federation.task import Task
from fl_client.errors import ConsentNeeded, Declined, InviteRefused, RoundLost
from fl_client.participation.consents import Consents
from fl_client.participation.learning import Judgement
from fl_client.participation.membership import Membership
from fl_client.participation.participant import Done, HeldUp, Participant
from tests.fl_client.participation.conftest import NewPerson
from tests.fl_client.participation.people import FREE, SKILL, Person, Pupil, adapter_task, in_a_loop
from tests.orchestrator.federations import NOISE
from tests.orchestrator.replicas import Operator
from vault.adapter_store import AdapterStore
from vault.consent_store import Consent, Installs
from vault.errors import ClawError, Paused
from vault.participation_store import ParticipationStore
from vault.pause import PauseLatch
from vault.settings import LimitSettings

PEOPLE = 6


def learned(number: int) -> Callable[[int], "np.typing.NDArray[np.float64]"]:
    """What one of them learns in each round."""
    return lambda _round: np.full(40, 0.01 * (number + 1))


async def gather_people(
    operator: Operator,
    new_person: NewPerson,
    task: Task,
    *,
    installs: Installs = Installs.BETTER,
    limits: LimitSettings = FREE,
) -> list[tuple[Person, Consent]]:
    """A task is opened, and six people have joined and agreed to it."""
    await asyncio.to_thread(operator.open, task)
    invite = str(operator.invite(PEOPLE))
    people = [new_person(limits) for _ in range(PEOPLE)]
    await asyncio.gather(*(person.join(invite) for person in people))
    return [(person, await person.agree(installs=installs)) for person in people]


async def one_round(participant: Participant) -> Done:
    """The next round that this one isn't lost to."""
    while True:
        try:
            result = await participant.round()
        except RoundLost:
            continue
        if isinstance(result, HeldUp):
            await asyncio.sleep(min(result.seconds, 0.3))
            continue
        return result


async def take_part(person: Person, consent: Consent, pupil: Pupil) -> Done:
    """One round, and a look at what came of it."""
    async with person.taking_part(consent, pupil) as (participant, stop), stop.unless(ended):
        done = await one_round(participant)
        await participant.look()
        return done


def ended() -> ConsentNeeded:
    return ConsentNeeded("the test ended it")


@in_a_loop
async def test_six_people_learn_the_mean_of_what_each_learned(operator: Operator, new_person: NewPerson) -> None:
    task = adapter_task(PEOPLE)
    people = await gather_people(operator, new_person, task)
    pupils = [Pupil(task, learned(number)) for number in range(PEOPLE)]
    done = await asyncio.gather(
        *(take_part(person, consent, pupil) for (person, consent), pupil in zip(people, pupils, strict=True))
    )
    assert [one.outcome for one in done] == ["summed"] * PEOPLE
    for person, consent in people:
        record = AdapterStore(person.vault.database).active(SKILL, task.model.hex())
        assert record is not None
        assert record.origin == "test/minutes, release 1"
        numbers = np.frombuffer(AdapterStore(person.vault.database).content(record.id).reveal()[4:], "<f4")
        assert np.abs(numbers - 0.035).max() < NOISE
        (round_,) = ParticipationStore(person.vault.database).all()
        assert (round_.cohort, round_.outcome, round_.consent) == (PEOPLE, "summed", consent.version)
    for number, (person, _) in enumerate(people):
        update = learned(number)(1)
        for file in (path for path in person.folder.rglob("*") if path.is_file()):
            data = file.read_bytes()
            assert b"canary-" not in data
            assert update[:4].tobytes() not in data
            assert update[:4].astype("<f4").tobytes() not in data


@in_a_loop
async def test_the_log_tells_of_each_update_before_it_leaves_what_it_is_and_costs(
    operator: Operator, new_person: NewPerson
) -> None:
    task = adapter_task(PEOPLE)
    people = await gather_people(operator, new_person, task)
    await asyncio.gather(*(take_part(person, consent, Pupil(task, learned(1))) for person, consent in people))
    for person, consent in people:
        (round_,) = ParticipationStore(person.vault.database).all()
        (upload,) = [
            entry
            for entry in person.departures()
            if entry.destination.endswith("/rounds/1/mask") and entry.payload_sha256
        ]
        assert upload.payload_sha256 == round_.sha256
        assert upload.bytes > round_.bytes > 0
        assert upload.encryption == "TLS 1.3, pinned key"
        assert upload.consent == consent.label
        assert f"{PEOPLE} devices" in upload.description
        assert f"ε so far {task.plan.epsilon(1):.2f} of {task.plan.epsilon():.2f}" in upload.description
        for entry in person.departures():
            assert entry.consent in (consent.label, "consent 1")
            assert "canary" not in entry.description
        assert person.vault.log.verify() is not None


@in_a_loop
async def test_a_release_waits_for_whoever_wants_to_be_asked(operator: Operator, new_person: NewPerson) -> None:
    task = adapter_task(PEOPLE)
    people = await gather_people(operator, new_person, task, installs=Installs.ASK)
    await asyncio.gather(*(take_part(person, consent, Pupil(task, learned(1))) for person, consent in people))
    for person, _ in people:
        assert AdapterStore(person.vault.database).active(SKILL, task.model.hex()) is None
        (release,) = ParticipationStore(person.vault.database).releases()
        assert release.decision == "waiting"
        assert release.adapter is not None


@in_a_loop
async def test_a_release_that_is_no_better_isnt_used(operator: Operator, new_person: NewPerson) -> None:
    task = adapter_task(PEOPLE)
    people = await gather_people(operator, new_person, task)

    class Worse(Pupil):
        def judge(self, *args: object, **options: object) -> Judgement:
            return super().judge(*args, **options)._replace(loss=2.5)  # type: ignore[arg-type]

    await asyncio.gather(*(take_part(person, consent, Worse(task, learned(1))) for person, consent in people))
    for person, _ in people:
        assert AdapterStore(person.vault.database).active(SKILL, task.model.hex()) is None
        assert [one.decision for one in ParticipationStore(person.vault.database).releases()] == ["refused"]


@in_a_loop
async def test_an_invite_joins_once_and_one_that_was_used_up_doesnt(
    operator: Operator, new_person: NewPerson
) -> None:
    invite = str(operator.invite(1))
    first, second = new_person(), new_person()
    await first.join(invite)
    with pytest.raises(InviteRefused, match="before"):
        await first.join(invite)
    with pytest.raises((Declined, AssertionError)):
        await second.join(invite)
    with pytest.raises(InviteRefused):
        Membership(second.vault).prepare(invite[:-8], "agreed")


@in_a_loop
async def test_a_privacy_budget_that_is_spent_ends_it_for_good(operator: Operator, new_person: NewPerson) -> None:
    task = adapter_task(PEOPLE)
    once = msgspec.structs.replace(FREE, epsilon_a_year=task.plan.epsilon(1) * 1.01)
    people = await gather_people(operator, new_person, task, limits=once)
    await asyncio.gather(*(take_part(*one, Pupil(task, learned(1))) for one in people))
    person, consent = people[0]
    sent = len(person.departures())
    with pytest.raises(ConsentNeeded, match="over for good"):
        await take_part(person, consent, Pupil(task, learned(1)))
    assert len(person.departures()) == sent
    assert not Consents(person.vault).store.holds(consent.version)
    newest = next(item.entry for item in person.vault.log.entries() if item.entry)
    assert (newest.action, newest.consent) == ("consent", consent.label)
    assert "withdrawn. Once more would cost" in newest.description


@in_a_loop
async def test_a_device_takes_part_as_often_as_the_plan_allows_and_no_more(
    operator: Operator, new_person: NewPerson
) -> None:
    task = adapter_task(PEOPLE, participations=1)
    people = await gather_people(operator, new_person, task)
    await asyncio.gather(*(take_part(*one, Pupil(task, learned(1))) for one in people))
    person, consent = people[0]
    async with person.taking_part(consent, Pupil(task, learned(1))) as (participant, _):
        result = await participant.round()
    assert isinstance(result, HeldUp)
    assert "as often as the plan allows" in result.why[0]


@pytest.mark.parametrize(("how", "error"), [("withdrawn", ConsentNeeded), ("paused", Paused)])
@in_a_loop
async def test_whoever_ends_it_while_learning_sends_no_update_and_the_others_go_on(
    operator: Operator, new_person: NewPerson, how: str, error: type[ClawError]
) -> None:
    task = adapter_task(PEOPLE, seconds=8)
    people = await gather_people(operator, new_person, task)
    pupils = [Pupil(task, learned(number)) for number in range(PEOPLE)]
    who, consent = people[0]
    pupils[0].may_go_on.clear()

    async def end() -> None:
        while not pupils[0].learns.is_set():
            await asyncio.sleep(0.05)
        if how == "withdrawn":
            Consents(who.vault).withdraw(consent)
        else:
            PauseLatch(who.home).engage("a test")

    async def stay() -> None:
        with pytest.raises(error):
            await take_part(who, consent, pupils[0])

    ending = asyncio.gather(end(), stay())
    done = await asyncio.gather(
        *(take_part(*one, pupil) for one, pupil in zip(people[1:], pupils[1:], strict=True)),
    )
    await ending
    assert [one.outcome for one in done] == ["summed"] * (PEOPLE - 1)
    assert not [entry for entry in who.departures() if "one update" in entry.description]
    assert ParticipationStore(who.vault.database).times(consent.federation, consent.task) == 0


@in_a_loop
async def test_an_orchestrator_that_is_gone_in_the_middle_is_waited_for(
    operator: Operator, new_person: NewPerson
) -> None:
    task = adapter_task(PEOPLE, seconds=60)
    people = await gather_people(operator, new_person, task)
    pupils = [Pupil(task, learned(number)) for number in range(PEOPLE)]
    for pupil in pupils:
        pupil.may_go_on.clear()

    async def gone_for_a_while() -> None:
        # By no thread: as many as a loop has are waited in by the pupils.
        while not all(pupil.learns.is_set() for pupil in pupils):
            await asyncio.sleep(0.05)
        operator.kill(0)
        for pupil in pupils:
            pupil.may_go_on.set()
        await asyncio.sleep(2)
        operator.start(0)

    *done, _ = await asyncio.gather(
        *(take_part(*one, pupil) for one, pupil in zip(people, pupils, strict=True)), gone_for_a_while()
    )
    assert [one.outcome for one in done if isinstance(one, Done)] == ["summed"] * PEOPLE
