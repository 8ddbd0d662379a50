"""One round, as a device takes part in it: from checking in to its end, step by step.

A round's secrets live in memory alone. So a device that ends in the middle of one is lost to it, as the protocol
allows for, and takes part in the next; it never says two things in one round.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from federation.api import Joined, State
from federation.enrolment import Registrar
from federation.errors import FederationError, TooFew
from federation.messages import decode, encode
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import add_noise
from federation.secagg.client import Agreed, Client, MaskedUpdate
from federation.secagg.plan import Round
from federation.secagg.server import STEPS
from federation.secagg.wire import Consistent, Deliver, Graph, Roster, Survivors
from federation.task import Task
from fl_client.errors import Declined, NotBelieved, NotYet, RoundLost, Unreachable
from fl_client.participation.link import Link, Said, Told
from fl_client.participation.seen_log import believed
from vault.federation_store import FederationRecord
from vault.learning_days import LearningDays
from vault.participation_store import Participation, ParticipationStore

if TYPE_CHECKING:
    from vault.consent_store import Consent
    from vault.settings import LimitSettings
    from vault.store import Vault

__all__ = ["OneRound", "Part"]

_MOST_ROUND = 1024
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0
_GRACE_S = 120.0
_FORBIDDEN = 403

Kind = TypeVar("Kind")
Update = Callable[[float], Awaitable[RawDelta]]
"""Learns an update, until a time by the monotonic clock."""


class Part(NamedTuple):
    """What a device takes part in, and by what right.

    Attributes:
        vault: Open.
        federation: Which.
        consent: To the task.
        task: What was agreed to.
        link: To the orchestrator, with that consent.
        limits: The person's.
    """

    vault: "Vault"
    federation: FederationRecord
    consent: "Consent"
    task: Task
    link: Link
    limits: "LimitSettings"


class OneRound:
    """A device in one round.

    Args:
        part: What in.
        joined: As the orchestrator announced it.
        told: Told what is being done, in a few words.

    Raises:
        NotBelieved: the round is another one than was agreed to.
    """

    def __init__(self, part: Part, joined: Joined, told: Callable[[str], None]) -> None:
        self._part = part
        self._told = told
        self._plan = part.task.plan
        self._link = part.link
        self._store = ParticipationStore(part.vault.database)
        self.number = joined.number
        with believed(part.federation.name):
            this = decode(joined.message, Round, _MOST_ROUND)
            registrar = Registrar(part.federation.registrar, bytes.fromhex(part.federation.id))
            least = max(3, part.limits.least_cohort)
            agreed = Agreed(
                self._plan, part.task.name, part.task.digest, registrar, least, part.limits.least_corrupt
            )
            certificate = part.federation.certificate
            self._client = Client(part.link.identity, certificate, this, agreed, os.urandom)
        if this.number != joined.number:
            raise NotBelieved("The orchestrator calls a round by another number than its own.")
        self._ends = time.monotonic() + sum(part.task.stages) + _GRACE_S
        now_ms = time.time_ns() // 1_000_000
        self.record = Participation(
            part.federation.id,
            part.consent.task,
            joined.number,
            part.consent.version,
            joined.release,
            now_ms,
        )

    async def take_part(self, update: Update) -> str:
        """Take part, from the first message to the round's end; what came of it, in words.

        Args:
            update: Learns what is sent.

        Raises:
            RoundLost: the round goes on without this device, or gave no sum.
            NotBelieved: what the orchestrator says could cost this device its privacy.
        """
        self._store.begin(self.record)
        try:
            outcome = await self._steps(update)
        except BaseException as error:
            what = getattr(error, "message", "") or "it was ended here"
            self._store.end(self.record, str(what))
            raise
        self._store.end(self.record, outcome)
        return outcome

    async def _steps(self, update: Update) -> str:
        self._told(f"round {self.number}: joining")
        await self._say("advertise", self._do(self._client.advertise))
        roster = await self._hear("reveal", Roster)
        await self._say("reveal", self._do(lambda: self._client.reveal(roster)))
        graph = await self._hear("share", Graph)
        cohort = sum(bool(nonce) for nonce in graph.nonces)
        self._told(f"round {self.number}: {cohort:,} devices")
        await self._say("share", self._do(lambda: self._client.share(graph)))
        deliver = await self._hear("mask", Deliver)
        state = await self._again(lambda: self._link.state(self._part.task.name, self.number))
        raw = await update(time.monotonic() + state.seconds_left)
        await self._send(raw, deliver, cohort)
        survivors = await self._hear("confirm", Survivors)
        await self._say("confirm", self._do(lambda: self._client.confirm(survivors)))
        consistent = await self._hear("unmask", Consistent)
        await self._say("unmask", self._do(lambda: self._client.unmask(consistent)))
        return await self._ended()

    async def _send(self, raw: RawDelta, deliver: Deliver, cohort: int) -> None:
        """Clip, noise, mask, count and send an update; in this order, and no other is possible."""
        privacy, name = self._plan.privacy, self._part.task.name

        def prepared() -> MaskedUpdate:
            noised = add_noise(clip(raw, privacy), privacy, os.urandom)
            return self._client.mask(deliver, noised)

        masked = self._do(prepared)
        data = encode(masked.message)
        sha256 = hashlib.sha256(data).hexdigest()
        times = self._store.sending(self.record, cohort, len(data), sha256, self._plan.participations)
        self._part.vault.database.write(lambda connection: LearningDays.add(connection, uploaded=len(data)))
        what = (
            f"round {self.number} of {name}: one update of {privacy.parameters:,} numbers, clipped, noised and "
            f"masked, to be summed with those of {cohort:,} devices; ε so far {self._plan.epsilon(times):.2f} of "
            f"{self._plan.epsilon():.2f}"
        )
        self._told(f"round {self.number}: sending {len(data):,} bytes")
        await self._again(lambda: self._link.upload(name, self.number, masked, what))

    async def _say(self, step: str, message: Said) -> None:
        await self._again(lambda: self._link.say(self._part.task.name, self.number, step, message))

    async def _hear(self, step: str, kind: type[Kind]) -> Kind:
        """Wait for a step, and hear what it begins with."""
        wait = _FIRST_WAIT_S
        longest = min(_LONGEST_WAIT_S, min(self._part.task.stages) / 4)
        while (state := await self._again(self._state)).step != step:
            if state.step not in STEPS or STEPS.index(state.step) > STEPS.index(step):
                raise RoundLost(
                    f"Round {self.number} went on without this device. {state.outcome}".strip(),
                )
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, max(_FIRST_WAIT_S, longest))
        name, secagg = self._part.task.name, self._plan.secagg
        told: Told = await self._again(lambda: self._link.told(name, self.number, step, secagg))
        assert isinstance(told, kind)
        return told

    async def _state(self) -> State:
        return await self._link.state(self._part.task.name, self.number)

    async def _ended(self) -> str:
        wait = _FIRST_WAIT_S
        while (state := await self._again(self._state)).step not in ("done", "aborted"):
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT_S)
        if state.step == "aborted":
            raise RoundLost(f"Round {self.number} gave no sum: {state.outcome}")
        return "summed"

    async def _again(self, ask: Callable[[], Awaitable[Kind]]) -> Kind:
        """Ask until somebody answers, or the round is over by any clock.

        Raises:
            RoundLost: the round goes on without this device.
        """
        wait = _FIRST_WAIT_S
        while True:
            try:
                return await ask()
            except Unreachable as error:
                if time.monotonic() > self._ends:
                    raise RoundLost(f"Round {self.number} is over, and nobody answered. {error.message}") from None
            except NotYet as error:
                raise RoundLost(f"Round {self.number} went on without this device. {error.message}") from None
            except Declined as error:
                if error.status != _FORBIDDEN:
                    raise
                raise RoundLost(f"This device isn't in round {self.number}. {error.message}") from None
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_S)

    @staticmethod
    def _do(step: Callable[[], Kind]) -> Kind:
        """A step of the protocol; what it refuses, this device takes no further.

        Raises:
            RoundLost: too few devices are left for it to be safe.
            NotBelieved: what it was told could cost this device its privacy.
        """
        try:
            return step()
        except TooFew as error:
            raise RoundLost(f"This device left the round. {error.message}") from None
        except FederationError as error:
            raise NotBelieved(f"This device left the round. {error.message}") from None
