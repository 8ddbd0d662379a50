"""Taking part, put together: a vault, the door, and whatever the person agreed to; one process at a time.

`run` takes part in a few rounds and ends; `serve` goes on until it is told to end, and keeps to retention.
"""

import asyncio
import contextlib
import fcntl
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fl_client.errors import (
    ConsentNeeded,
    HeldUpNow,
    LearningError,
    NotBelieved,
    NotTrainable,
    RoundLost,
    Unreachable,
)
from fl_client.limits.judge import Limits
from fl_client.participation.consents import Consents, task_of
from fl_client.participation.learning import Learner, OpenModel, Told
from fl_client.participation.link import Link
from fl_client.participation.participant import Done, HeldUp, Participant
from fl_client.participation.round import Part
from fl_client.participation.seen_log import SeenLog
from fl_client.participation.stopping import Stopping, ended
from vault.budget import Budget
from vault.consent_store import Consent
from vault.egress import AsyncEgress, EgressJournal
from vault.errors import ClawError, NotFound, Paused, VaultError
from vault.federation_store import FederationStore
from vault.participation_store import JudgedRelease, ParticipationStore
from vault.pause import PauseLatch

if TYPE_CHECKING:
    from vault.settings import Settings
    from vault.store import Vault

__all__ = ["LOCK", "Desk", "chosen", "door_of"]

LOCK = "learning.lock"
"""Held by the one process of a home that takes part."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 300.0
_AFTER_TROUBLE_S = 300.0
_SOON_S = 30.0
_LOOK_EVERY_S = 900.0
"""While it takes part in no round, it asks for releases so often."""
_INTERRUPTED = "this device ended in the middle of it"


def door_of(vault: "Vault", settings: "Settings") -> AsyncEgress:
    """The one door out, with this vault's journal and budget."""
    network = settings.network
    journal = EgressJournal(vault.database, vault.log, Budget(network.daily_send_limit), vault.closing)
    return AsyncEgress(network, journal, PauseLatch(vault.home))


def chosen(vault: "Vault", wanted: str | None) -> list[Consent]:
    """The tasks that a person agreed to; those of a name, `TASK` or `FEDERATION/TASK`, if one is given.

    Raises:
        ConsentNeeded: there is none.
    """
    held = [consent for consent in Consents(vault).store.held() if consent.task]
    if wanted is not None:
        federation, _, name = wanted.rpartition("/")
        held = [
            one
            for one in held
            if one.task_name == name
            and (
                not federation
                or one.name.casefold() == federation.casefold()
                or one.federation.startswith(federation)
            )
        ]
    if not held:
        what = f"to {wanted}" if wanted else "to any task"
        raise ConsentNeeded(
            f"You haven't agreed {what}.",
            hint="`claw consent show` lists what your federations offer; `claw consent grant TASK` agrees to one.",
        )
    return held


class Desk:
    """What taking part needs of one process.

    Args:
        vault: Open for writing.
        settings: The person's.
        open_model: Opens the model that a task is for.
        ends: Set when the process is to end.
        told: Told what is being done, in a few words.
        on_progress: Told how far a training is.
    """

    def __init__(
        self,
        vault: "Vault",
        settings: "Settings",
        open_model: OpenModel,
        ends: threading.Event,
        *,
        told: Callable[[str], None],
        on_progress: Told | None = None,
    ) -> None:
        self._vault = vault
        self._settings = settings
        self._open_model = open_model
        self._ends = ends
        self._told = told
        self._on_progress = on_progress
        self._limits = Limits(settings.limits)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that takes part; rounds that another one left unfinished are ended.

        Raises:
            LearningError: another one does already.
        """
        with _locked(self._vault.home.data / LOCK):
            ParticipationStore(self._vault.database).end_unfinished(_INTERRUPTED)
            yield

    @contextlib.asynccontextmanager
    async def participant(self, consent: Consent) -> AsyncIterator[tuple[Participant, Stopping]]:
        """A device in one task, and what ends it.

        Raises:
            NotFound: this device left the federation.
            NotTrainable: it can't take part in such a task.
        """
        task = task_of(consent)
        store = FederationStore(self._vault.database)
        federation = store.get(consent.federation)
        if not federation.certificate:
            raise ConsentNeeded(
                f"{federation.name} hasn't admitted this device yet.", hint="`claw fl status` asks again."
            )
        learner = Learner(self._vault, task, self._open_model, self._limits.machine)
        stop = Stopping(self._vault, consent, self._ends)
        async with door_of(self._vault, self._settings) as door:
            link = Link(door, store, federation, consent.label)
            part = Part(self._vault, federation, consent, task, link, self._settings.limits)
            log = SeenLog(link, store, federation.id)
            yield (
                Participant(part, log, learner, self._limits, stop, told=self._told, on_progress=self._on_progress),
                stop,
            )

    async def run(self, consent: Consent, rounds: int, *, waits: bool) -> list[Done]:
        """Take part in so many rounds of a task, and look what came back of each.

        Args:
            consent: To the task.
            rounds: How many.
            waits: Whether to wait while a limit holds it up; else it ends there.

        Raises:
            ConsentNeeded, Paused, Locked: it was ended.
            NotTrainable, TrainingFailed, NotBelieved, NotYet, Declined: it can't go on.
            HeldUpNow: a limit holds it up, and it doesn't wait.
        """
        done: list[Done] = []
        said = ""
        async with self.participant(consent) as (participant, stop), stop.unless(ended):
            while len(done) < rounds:
                result = await self._next(participant)
                if isinstance(result, HeldUp):
                    if not waits and await asyncio.to_thread(lambda: bool(participant.held_up())):
                        await self._look_if_allowed(participant)
                        raise HeldUpNow("\n".join(result.why), hint="`claw limits show` shows every limit.")
                    if said != (said := "\n".join(result.why)):
                        self._told(said)
                    await asyncio.sleep(result.seconds)
                    continue
                done.append(result)
                await self._look(participant)
        return done

    async def serve(self, retention: Callable[[], object], every_s: float = 3600.0) -> None:
        """Take part in everything that the person agreed to, until the process is to end."""
        upkeep = asyncio.create_task(self._keep_up(retention, every_s))
        running: dict[int, asyncio.Task[None]] = {}
        try:
            while not self._ends.is_set():
                if locked := self._vault.closing.refusal():
                    raise locked
                held = {one.version: one for one in Consents(self._vault).store.held() if one.task}
                for version in [version for version, task in running.items() if task.done()]:
                    del running[version]
                for version in held.keys() - running.keys():
                    running[version] = asyncio.create_task(self._serve_one(held[version]))
                await asyncio.sleep(1.0)
        finally:
            for task in (upkeep, *running.values()):
                task.cancel()
            await asyncio.gather(upkeep, *running.values(), return_exceptions=True)

    async def _serve_one(self, consent: Consent) -> None:
        """One task, for as long as its consent holds; what goes wrong is said, and tried again later."""
        wait, said, looked = _FIRST_WAIT_S, "", 0.0
        while not self._ends.is_set() and Consents(self._vault).store.holds(consent.version):
            try:
                async with self.participant(consent) as (participant, stop), stop.unless(ended):
                    while True:
                        result = await self._next(participant)
                        if isinstance(result, HeldUp):
                            if said != (said := " ".join(result.why)):
                                self._told(f"{consent.task_name}: {said}")
                            if time.monotonic() - looked > _LOOK_EVERY_S:
                                looked = time.monotonic()
                                await self._look_if_allowed(participant)
                            if result.seconds > _SOON_S:
                                participant.rest()
                            await asyncio.sleep(result.seconds)
                            continue
                        await self._look(participant)
                        wait, said, looked = _FIRST_WAIT_S, "", time.monotonic()
            except (ConsentNeeded, NotFound) as error:
                self._told(f"{consent.task_name}: {error.message}")
                await asyncio.sleep(_AFTER_TROUBLE_S)
            except Paused:
                await asyncio.sleep(1.0)
            except ClawError as error:
                if said != (said := error.message):
                    self._told(f"{consent.task_name}: {said}")
                wait = (
                    _LONGEST_WAIT_S
                    if isinstance(error, NotBelieved | NotTrainable)
                    else min(wait * 2, _LONGEST_WAIT_S)
                )
                await asyncio.sleep(wait)

    async def _next(self, participant: Participant) -> Done | HeldUp:
        """The next round; one that is lost isn't the end, and an orchestrator that is gone is waited for."""
        wait = _FIRST_WAIT_S
        while True:
            try:
                return await participant.round()
            except RoundLost as error:
                self._told(error.message)
                return HeldUp(_FIRST_WAIT_S, (error.message,))
            except Unreachable as error:
                self._told(f"{error.message} It is tried again in {wait:.0f} s.")
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT_S)

    async def _look(self, participant: Participant) -> JudgedRelease | None:
        with contextlib.suppress(Unreachable):
            judged = await participant.look()
            if judged is not None:
                self._told(told_of(judged))
            return judged
        return None

    async def _look_if_allowed(self, participant: Participant) -> None:
        """What others learned comes back to a device that takes part no more, too."""
        if await asyncio.to_thread(participant.may_judge):
            await self._look(participant)

    async def _keep_up(self, retention: Callable[[], object], every_s: float) -> None:
        while True:
            with contextlib.suppress(VaultError):  # a full disk, say: it is tried again
                await asyncio.to_thread(retention)
            await asyncio.sleep(every_s)


def told_of(judged: JudgedRelease) -> str:
    """What to say of a release that was judged."""
    after = judged.loss_after or 0.0
    if judged.loss_before is None:
        compared = f"its loss on your held-out examples is {after:.3f}"
    else:
        compared = f"on your held-out examples the loss was {judged.loss_before:.3f}, and is {after:.3f} with it"
    decided = {
        "accepted": "better, so it is used from now on",
        "refused": "no better, so it isn't used",
        "waiting": f"it waits for you: claw skill adapters use {judged.adapter}",
    }[judged.decision]
    return f"release {judged.number}, of {judged.survivors:,} devices: {compared}; {decided}."


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LearningError(
                "Another process takes part already.", hint="`claw fl status` shows what it does."
            ) from None
        yield
    finally:
        os.close(descriptor)
