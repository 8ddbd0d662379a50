"""People with a vault each, who learn together: everything real but the training, which others' tests are about."""

import asyncio
import functools
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.privacy.clip import RawDelta
from federation.task import AdapterTraining, Task
from fl_client.errors import TrainingStopped
from fl_client.limits.judge import Limits
from fl_client.participation.bounds import Bounds
from fl_client.participation.consents import Consents, task_of
from fl_client.participation.desk import door_of
from fl_client.participation.learning import Judgement, Learned, Told
from fl_client.participation.link import Link
from fl_client.participation.membership import Membership
from fl_client.participation.participant import Participant
from fl_client.participation.round import Part
from fl_client.participation.seen_log import SeenLog
from fl_client.participation.stopping import Stopping
from fl_client.participation.trial import offered
from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.orchestrator.federations import task_of as head_task
from vault.consent_store import Consent, Installs
from vault.example_store import ExampleKind, ExampleStore
from vault.home import Home
from vault.log.entries import Entry
from vault.settings import LimitSettings, NetworkSettings, Settings
from vault.store import Vault

__all__ = ["FREE", "MODEL", "SKILL", "Person", "Pupil", "adapter_task", "in_a_loop"]

SKILL = "backwards"
MODEL = bytes(range(32))
FREE = LimitSettings(
    charger=False,
    idle_minutes=0,
    unmetered=False,
    temperature=0,
    disk_free_mib=0,
    least_cohort=3,
    least_corrupt=0,
    epsilon_a_year=1e9,
)
"""Limits that always hold."""


def adapter_task(
    cohort: int = 6, *, least: int = 5, seconds: int = 20, name: str = "minutes", **others: int
) -> Task:
    """A task of an adapter of forty numbers, with hardly any noise."""
    head = head_task(cohort, least=least, name=name, seconds=seconds, **others)
    training = AdapterTraining("core", 2, 1.0, ("attn_q",), 1e-2, 1, 10, 4, 64, bytes(32))
    # More than a cohort is waited for: with no more people than that, for all of the time.
    stages = head.stages._replace(advertise=3)
    return msgspec.structs.replace(
        head, skill=SKILL, model=MODEL, training=training, most_examples=10, stages=stages
    )


class Pupil:
    """Stands where a `Learner` does: what it learns is known beforehand, and it waits where it is told to."""

    def __init__(self, task: Task, update: Callable[[int], "np.typing.NDArray[np.float64]"]) -> None:
        self._parameters = task.plan.privacy.parameters
        self._update = update
        self.begins_with: list[bytes] = []
        self.learns, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()
        self.losses: dict[bytes, float] = {}

    def read(self, stop: threading.Event | None = None) -> None:
        """Nothing is needed."""

    def learn(
        self,
        numbers: bytes,
        round_: int,
        *,
        until: float,
        stop: threading.Event,
        bounds: Bounds,
        told: Told | None = None,
    ) -> Learned:
        """As `Learner.learn`: what was said before, when it may go on."""
        self.begins_with.append(numbers)
        self.learns.set()
        while not self.may_go_on.wait(0.05):
            if stop.is_set():
                raise TrainingStopped("stopped")
        if stop.is_set():
            raise TrainingStopped("stopped")
        return Learned(RawDelta(self._update(round_)), 10, (2.0, 1.5))

    def judge(self, numbers: bytes, *, stop: threading.Event, told: Told | None = None) -> Judgement:
        """As `Learner.judge`: better, the further its numbers are from zero."""
        return Judgement(2.0 - float(np.abs(np.frombuffer(numbers, "<f4")).sum()), b"GGUF" + numbers, 2, 0.0)

    def loss_of(self, name: str, *, stop: threading.Event) -> float | None:
        """As `Learner.loss_of`: of the model alone."""
        return None if name else 2.0


class Person:
    """One person: a home, an open vault with examples, and limits that hold.

    Args:
        folder: An empty one.
        limits: Others than those that always hold.
    """

    def __init__(self, folder: Path, limits: LimitSettings = FREE) -> None:
        folder.mkdir(parents=True)
        home = Home.locate({"CLAW_HOME": str(folder / "claw")})
        self._sit_down(folder, Vault.create(home, PASSPHRASE, cost=CHEAP), limits)
        store = ExampleStore(self.vault.database)
        texts = [(f"canary-{os.urandom(4).hex()} {number}", f"answer {number}") for number in range(12)]
        self.vault.database.write(lambda c: [store.put(c, SKILL, ExampleKind.ADDED, pair) for pair in texts])

    @classmethod
    def back(cls, folder: Path, limits: LimitSettings = FREE) -> "Person":
        """The person of a folder, whose vault is opened again."""
        person = cls.__new__(cls)
        home = Home.locate({"CLAW_HOME": str(folder / "claw")})
        person._sit_down(folder, Vault.open_with_passphrase(home, PASSPHRASE), limits)
        return person

    def _sit_down(self, folder: Path, vault: Vault, limits: LimitSettings) -> None:
        self.folder, self.vault, self.home = folder, vault, vault.home
        network = NetworkSettings(timeout_s=10, daily_send_limit=1 << 30)
        self.settings = Settings(limits=limits, network=network)
        self.ends = threading.Event()
        self.told: list[str] = []

    @property
    def device(self) -> bytes:
        """The device's identity in the one federation that it belongs to."""
        store = Membership(self.vault).store
        (federation,) = store.all()
        private = Ed25519PrivateKey.from_private_bytes(store.identity(federation.id).reveal())
        return private.public_key().public_bytes_raw()

    async def join(self, invite: str) -> None:
        """Agree to belong to the federation, and be admitted."""
        membership = Membership(self.vault)
        federation = membership.prepare(invite, "agreed")
        async with door_of(self.vault, self.settings) as door:
            assert await membership.ask(door, federation, 30)

    async def agree(self, task: str = "minutes", installs: Installs = Installs.BETTER) -> Consent:
        """Agree to a task, as it is offered."""
        (one,) = await offered(self.vault, self.settings, task)
        return Consents(self.vault).to_task(one.federation, one.offer.task, one.message, one.text, installs)

    @asynccontextmanager
    async def taking_part(self, consent: Consent, pupil: Pupil) -> AsyncIterator[tuple[Participant, Stopping]]:
        """What `claw fl run` puts together."""
        task = task_of(consent)
        store = Membership(self.vault).store
        federation = store.get(consent.federation)
        stop = Stopping(self.vault, consent, self.ends)
        async with door_of(self.vault, self.settings) as door:
            link = Link(door, store, federation, consent.label)
            part = Part(self.vault, federation, consent, task, link, self.settings.limits)
            log = SeenLog(link, store, federation.id)
            limits = Limits(self.settings.limits)
            yield Participant(part, log, pupil, limits, stop, told=self.told.append), stop  # type: ignore[arg-type]

    def departures(self) -> list[Entry]:
        """What the log says was sent, or was about to be, the oldest first."""
        stored = [item.entry for item in reversed(self.vault.log.entries()) if item.entry]
        return [entry for entry in stored if entry.action == "network" and entry.about is None]

    def close(self) -> None:
        """Close the vault."""
        self.vault.close()


def in_a_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    """Runs a test in an event loop of its own."""

    @functools.wraps(test)
    def run(*arguments: object, **options: object) -> None:
        asyncio.run(test(*arguments, **options))

    return run
