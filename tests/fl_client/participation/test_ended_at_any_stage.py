"""A device that ends in the middle of a round, at any stage: nothing leaks, nothing is lost, the log says it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from federation.secagg.server import STEPS
from fl_client.errors import ConsentNeeded
from fl_client.participation.consents import Consents
from fl_client.participation.link import Link
from fl_client.participation.participant import Done
from tests.fixtures.models import PASSPHRASE
from tests.fl_client.participation.conftest import NewPerson
from tests.fl_client.participation.people import Person, Pupil, adapter_task, in_a_loop
from tests.fl_client.participation.test_taking_part import (
    PEOPLE,
    ended,
    gather_people,
    learned,
    one_round,
    take_part,
)
from tests.orchestrator.replicas import Operator
from vault.consent_store import Consent
from vault.errors import Paused
from vault.participation_store import ParticipationStore
from vault.pause import PauseLatch
from vault.store import Vault

SENT = STEPS.index("mask")


def at_step(monkeypatch: pytest.MonkeyPatch, who: Person, step: str, act: Callable[[], object]) -> None:
    """Have something happen just before a device says what it says at a step."""
    device = who.device
    say, upload = Link.say, Link.upload

    async def acts(link: Link, at: str) -> None:
        if link.device == device and at == step:
            act()
            await asyncio.sleep(0.5)  # as long as a network may take; within it everything has ended

    async def saying(self: Link, task: str, number: int, at: str, message: object) -> None:
        await acts(self, at)
        await say(self, task, number, at, message)  # type: ignore[arg-type]

    async def uploading(self: Link, task: str, number: int, masked: object, what: str) -> None:
        await acts(self, "mask")
        await upload(self, task, number, masked, what)  # type: ignore[arg-type]

    monkeypatch.setattr(Link, "say", saying)
    monkeypatch.setattr(Link, "upload", uploading)


def puts(person: Person) -> list[str]:
    """The steps at which something was sent, or was about to be."""
    return [
        entry.destination.rpartition("/")[2]
        for entry in person.departures()
        if entry.payload_sha256 and "/rounds/" in entry.destination
    ]


@pytest.mark.parametrize(("how", "steps"), [("withdrawn", ("reveal", "mask")), ("paused", ("unmask",))])
@in_a_loop
async def test_what_ends_it_at_any_stage_ends_it_there(
    operator: Operator, new_person: NewPerson, monkeypatch: pytest.MonkeyPatch, how: str, steps: tuple[str, ...]
) -> None:
    task = adapter_task(PEOPLE, seconds=5)
    people = await gather_people(operator, new_person, task)
    who = people[0][0]
    for step in steps:
        consent = await who.agree()
        before = len(puts(who))

        def end(consent: Consent = consent) -> None:
            if how == "withdrawn":
                Consents(who.vault).withdraw(consent)
            else:
                PauseLatch(who.home).engage("a test")

        async def ends_there(consent: Consent = consent) -> None:
            with pytest.raises(ConsentNeeded if how == "withdrawn" else Paused):
                await take_part(who, consent, Pupil(task, learned(0)))

        async def goes_on(person: Person, consent: Consent, number: int) -> Done:
            pupil = Pupil(task, learned(number))
            async with person.taking_part(consent, pupil) as (participant, stop), stop.unless(ended):
                return await one_round(participant)

        with monkeypatch.context() as patched:
            at_step(patched, who, step, end)
            others = [goes_on(person, consent, n) for n, (person, consent) in enumerate(people[1:], 1)]
            await asyncio.gather(ends_there(), *others)
        PauseLatch(who.home).release("a test")
        assert puts(who)[before:] == list(STEPS[: STEPS.index(step)])
        newest = ParticipationStore(who.vault.database).all()[0]
        assert (newest.sent_ms is not None) is (STEPS.index(step) >= SENT)
        assert newest.outcome
        assert who.vault.log.verify() is not None


@in_a_loop
async def test_a_device_that_is_killed_at_any_stage_takes_part_in_the_next_round(
    operator: Operator, new_person: NewPerson
) -> None:
    task = adapter_task(PEOPLE, seconds=5)
    people = await gather_people(operator, new_person, task)
    who, consent = people[0]
    who.vault.close()
    sent = 0
    for step in ("share", "confirm"):

        async def killed(step: str = step) -> None:
            command = [sys.executable, "-m", "tests.fl_client.participation.device_process", str(who.folder), step]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert (await process.stdout.readline()).decode().strip() == step
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()

        others: list[Awaitable[object]] = []
        for number, (person, agreed) in enumerate(people[1:], 1):
            others.append(take_part(person, agreed, Pupil(task, learned(number))))
        await asyncio.gather(killed(), *others)
        sent += STEPS.index(step) >= SENT
        with Vault.open_with_passphrase(who.home, PASSPHRASE) as vault:
            store = ParticipationStore(vault.database)
            assert store.end_unfinished("killed") == 1
            assert store.times(consent.federation, consent.task) == sent
            assert vault.log.verify() is not None
            assert not vault.alarm
    again = Person.back(who.folder)
    try:
        await asyncio.gather(
            take_part(again, consent, Pupil(task, learned(0))),
            *(
                take_part(person, agreed, Pupil(task, learned(n)))
                for n, (person, agreed) in enumerate(people[1:], 1)
            ),
        )
        assert ParticipationStore(again.vault.database).all()[0].outcome == "summed"
    finally:
        again.close()
