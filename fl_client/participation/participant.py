"""Taking part in one task: what holds it up, the next round, and what came back.

Participant.held_up() -> why it can't begin now          Participant.round() -> one round, or how long to wait
Participant.look()    -> a release that was judged       Participant.preview() -> the very bytes that would leave
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from federation.api import Wait
from federation.privacy.clip import RawDelta
from fl_client.errors import ConsentNeeded, NotAcceptable
from fl_client.limits.judge import Limits, Spent
from fl_client.participation.bounds import Bounds
from fl_client.participation.consents import Consents, check_acceptable, task_of
from fl_client.participation.learning import Learned, Learner, Told
from fl_client.participation.releases import Releases
from fl_client.participation.round import OneRound, Part
from fl_client.participation.seen_log import SeenLog
from fl_client.participation.spent import after_one_more
from fl_client.participation.stopping import Stopping
from fl_client.training.example_rows import FEWEST
from vault.classes import DataClass
from vault.consent_store import Consent, ConsentStore
from vault.example_store import ExampleStore
from vault.learning_days import LearningDays
from vault.participation_store import JudgedRelease, ParticipationStore

if TYPE_CHECKING:
    from vault.settings import LimitSettings
    from vault.store import Vault

__all__ = ["Done", "HeldUp", "Participant", "gates"]

_HELD_UP_S = 60.0
"""Until a limit that didn't hold is looked at again."""


class HeldUp(NamedTuple):
    """No round now.

    Attributes:
        seconds: Until it is worth while to look again.
        why: In words, one sentence each.
    """

    seconds: float
    why: tuple[str, ...]


class Done(NamedTuple):
    """A round was taken part in.

    Attributes:
        number: Of the round.
        outcome: What came of it.
        learned: What was learned for it.
    """

    number: int
    outcome: str
    learned: Learned


class Participant:
    """One device in one task.

    Args:
        part: What it takes part in.
        log: Of the federation's releases.
        learner: Learns and judges.
        limits: What holds it up.
        stop: Ends it.
        told: Told what is being done, in a few words.
        on_progress: Told how far a training is.
    """

    def __init__(
        self,
        part: Part,
        log: SeenLog,
        learner: Learner,
        limits: Limits,
        stop: Stopping,
        *,
        told: Callable[[str], None] = lambda _what: None,
        on_progress: Told | None = None,
    ) -> None:
        self._part = part
        self._learner = learner
        self._limits = limits
        self._stop = stop
        self._told = told
        self._on_progress = on_progress
        self._releases = Releases(part, log, learner, told)
        self._learned: Learned | None = None

    def held_up(self) -> tuple[str, ...]:
        """Why it can't begin a round right now, one sentence each; empty where it can."""
        return gates(self._part.vault, self._part.consent, self._limits, self._part.limits)

    async def round(self) -> Done | HeldUp:
        """Take part in the next round.

        Raises:
            RoundLost: it went on without this device, or gave no sum.
            NotYet, Declined, Unreachable, NotBelieved: as `Link` says.
            NotTrainable, TrainingFailed, TrainingStopped: nothing could be learned.
            ConsentNeeded, Paused, Locked: it was ended.
        """
        if why := _spent_up(self._part.vault, self._part.consent, self._part.limits):
            # Not until the year is over, but for good: it takes a new consent to go on.
            Consents(self._part.vault).withdraw(self._part.consent, why)
            raise ConsentNeeded(why)
        if reasons := await asyncio.to_thread(self.held_up):
            return HeldUp(_HELD_UP_S, reasons)
        await asyncio.to_thread(self._learner.read, self._stop)
        await self._releases.offer()
        reply = await self._part.link.check_in(self._part.task.name)
        if isinstance(reply, Wait):
            return HeldUp(reply.seconds, (f"{self._part.federation.name}: {reply.why}.",))
        begins_with = await self._releases.to_begin_with(reply.release)
        this = OneRound(self._part, reply, self._told)

        async def update(until: float) -> RawDelta:
            self._told(f"round {this.number}: learning from your examples")
            return await asyncio.to_thread(self._update, begins_with.numbers, this.number, until)

        outcome = await this.take_part(update)
        assert self._learned is not None
        return Done(this.number, outcome, self._learned)

    def _update(self, numbers: bytes, round_: int, until: float) -> RawDelta:
        self._log(f"the examples of {self._part.task.skill} were read by the trainer, for round {round_}")
        database = self._part.vault.database
        bounds = Bounds(
            self._limits,
            lambda: _spent_today(self._part.vault),
            lambda seconds: database.write(lambda c: LearningDays.add(c, trained_s=seconds)),
        )
        self._learned = self._learner.learn(
            numbers, round_, until=until, stop=self._stop, bounds=bounds, told=self._on_progress
        )
        before, after = self._learned.loss
        self._log(
            f"an update was learned from {self._learned.rows:,} examples for round {round_}; loss on held-out ones "
            f"{before:.3f} before, {after:.3f} after; it is clipped, noised and masked before anything leaves"
        )
        return self._learned.delta

    def rest(self) -> None:
        """Let go of the examples that were read, until the next round."""
        self._learner.forget()

    def may_judge(self) -> bool:
        """Whether the limits allow to judge a release right now."""
        return not self._limits.reasons(_spent_today(self._part.vault))

    async def look(self) -> JudgedRelease | None:
        """See what came back; `None` where there is nothing new."""
        return await self._releases.look(self._stop)

    def _log(self, description: str) -> None:
        from vault.log.entries import Action, Entry

        entry = Entry(
            action=Action.TRAIN,
            purpose=f"learning with {self._part.federation.name}",
            data_class=DataClass.HIGHLY_SENSITIVE,
            description=description,
            consent=self._part.consent.label,
            sensitive=True,
        )
        self._part.vault.log.append(entry)


def gates(vault: "Vault", consent: Consent, limits: Limits, settings: "LimitSettings") -> tuple[str, ...]:
    """Why a device can't begin a round of a task right now, one sentence each; empty where it can.

    Args:
        vault: Open.
        consent: To the task.
        limits: Of this machine.
        settings: The person's.
    """
    if not ConsentStore(vault.database).holds(consent.version):
        return ("The consent to it doesn't hold any more.",)
    if over := _over(vault, consent, settings):
        return (over,)
    skill = task_of(consent).skill
    few = len(ExampleStore(vault.database).records(skill)) < FEWEST
    lacks = [f"{skill} has fewer than {FEWEST} examples (`claw skill examples`)."] if few else []
    used, size = (
        _spent_today(vault),
        task_of(consent).plan.secagg.ring.size(task_of(consent).plan.privacy.dimension),
    )
    # As if the next update had been sent: one that would be too many isn't learned.
    return (*lacks, *limits.reasons(used._replace(uploaded=used.uploaded + size - 1)))


def _over(vault: "Vault", consent: Consent, settings: "LimitSettings") -> str:
    """Why this device never takes part in a task again, as things are; empty while it may."""
    task = task_of(consent)
    times = ParticipationStore(vault.database).times(consent.federation, consent.task)
    if times >= task.plan.participations:
        return f"It has taken part {times:,} times, as often as the plan allows."
    try:
        check_acceptable(task, settings)
    except NotAcceptable as error:
        return f"{error.message} {error.hint}"
    return _spent_up(vault, consent, settings)


def _spent_up(vault: "Vault", consent: Consent, settings: "LimitSettings") -> str:
    """That a task has taken as much privacy this year as the person allows; empty while it hasn't."""
    cost = after_one_more(vault.database, consent.federation, task_of(consent))
    if cost <= settings.epsilon_a_year:
        return ""
    return (
        f"Once more would cost ε = {cost:.2f} this year; you allow {settings.epsilon_a_year:g}. It is over for "
        "good, unless you allow more (claw limits set epsilon NUMBER) and agree to it again."
    )


def _spent_today(vault: "Vault") -> Spent:
    """What learning took of today's limits."""
    used = LearningDays(vault.database).today()
    return Spent(used.uploaded, used.trained_s)
