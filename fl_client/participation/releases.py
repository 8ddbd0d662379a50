"""What comes back of a task: its release in use, verified, judged by one's own held-out examples, and taken or not.

A release is compared with what the skill uses now, on examples that nothing was learned from. It is used where it
is better, if the person agreed to that; else it waits. Each is an adapter of the vault like any other:
`claw skill adapters` shows it, uses it and takes it back.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from federation.task import AdapterTraining
from fl_client.errors import ConsentNeeded
from fl_client.participation.learning import Judgement, Learner
from fl_client.participation.offers import Offer, Released, offer_of, release_in_use, release_of
from fl_client.participation.round import Part
from fl_client.participation.seen_log import SeenLog
from fl_client.participation.stopping import Stopping
from vault.adapter_store import AdapterKind, AdapterStore, TrainedAdapter
from vault.classes import DataClass, HighlySensitive
from vault.connection import Connection
from vault.consent_store import Installs
from vault.participation_store import JudgedRelease, ParticipationStore

if TYPE_CHECKING:
    from vault.adapter_store import AdapterRecord

__all__ = ["Releases"]

ACCEPTED, REFUSED, WAITING = "accepted", "refused", "waiting"


class Releases:
    """The releases of one task, on one device.

    Args:
        part: What it takes part in.
        log: Of the federation's releases.
        learner: Judges.
        told: Told what is being done, in a few words.
    """

    def __init__(self, part: Part, log: SeenLog, learner: Learner, told: Callable[[str], None]) -> None:
        self._part = part
        self._log = log
        self._learner = learner
        self._told = told
        self._store = ParticipationStore(part.vault.database)
        self._adapters = AdapterStore(part.vault.database)

    async def offer(self) -> Offer:
        """The task as the federation has it now.

        Raises:
            ConsentNeeded: it isn't any more what the person agreed to.
            NotBelieved: it isn't in the log.
        """
        offer = await offer_of(self._part.link, self._log, self._part.task.name)
        if offer.task.digest != self._part.task.digest:
            raise ConsentNeeded(
                f"{offer.task.name} isn't any more what you agreed to; nothing is sent for it.",
                hint=f"`claw consent grant {offer.task.name}` shows what it is now.",
            )
        return offer

    async def to_begin_with(self, number: int) -> Released:
        """The release that a round begins with."""
        await self._log.advance()
        return await release_of(self._part.link, self._log, self._part.task, number)

    async def look(self, stop: Stopping) -> JudgedRelease | None:
        """See whether a release is in use that this device hasn't judged yet, and judge it; `None` if not.

        Raises:
            ConsentNeeded, NotBelieved: as `offer`.
            TrainingStopped: `stop` was set.
        """
        offer = await self.offer()
        number = offer.info.in_use
        known = self._store.releases(self._part.federation.id, self._part.consent.task)
        if seen := next((one for one in known if one.number == number), None):
            self._go_back(seen)
            return None
        released = await release_in_use(self._part.link, self._log, offer)
        if number == 0:
            return None
        self._told(f"release {number}: judging it by your held-out examples")
        return await asyncio.to_thread(self._judge, released, stop)

    def _judge(self, released: Released, stop: Stopping) -> JudgedRelease:
        before = self._loss_now(stop)
        judgement = self._learner.judge(released.numbers, stop=stop)
        better = before is None or judgement.loss < before
        decision = ACCEPTED if better else REFUSED
        if self._part.consent.installs is Installs.ASK:
            decision = WAITING
        return self._keep(released, judgement, before, decision)

    def _loss_now(self, stop: Stopping) -> float | None:
        """The loss of what the skill uses now."""
        active = self._active()
        if active is not None and not self._of_this_task(active) and active.loss_after is not None:
            return active.loss_after
        return self._learner.loss_of(self._numbers_in_use(active), stop=stop)

    def _numbers_in_use(self, active: "AdapterRecord | None") -> str:
        """The digest of the numbers that are in use; empty for the model alone."""
        known = self._store.releases(self._part.federation.id, self._part.consent.task)
        return next((one.sha256 for one in known if active is not None and one.adapter == active.id), "")

    def _active(self) -> "AdapterRecord | None":
        return self._adapters.active(self._part.task.skill, self._part.task.model.hex())

    def _of_this_task(self, record: "AdapterRecord") -> bool:
        known = self._store.releases(self._part.federation.id, self._part.consent.task)
        return any(one.adapter == record.id for one in known)

    def _keep(self, released: Released, judgement: Judgement, before: float | None, decision: str) -> JudgedRelease:
        release, task, training = released.release, self._part.task, self._part.task.training
        assert isinstance(training, AdapterTraining)
        adapter = TrainedAdapter(
            skill=task.skill,
            base_sha256=task.model.hex(),
            kind=AdapterKind(training.kind),
            rank=judgement.rank,
            parameters=task.plan.privacy.parameters,
            learned_from=(),
            loss_before=before,
            loss_after=judgement.loss,
            origin=f"{self._part.federation.name}/{task.name}, release {release.number}",
        )

        def work(connection: Connection) -> JudgedRelease:
            kept = self._adapters.put(
                connection, adapter, HighlySensitive(judgement.file), use=decision == ACCEPTED
            )
            judged = JudgedRelease(
                self._part.federation.id,
                self._part.consent.task,
                release.number,
                release.content.hex(),
                release.cohort,
                release.survivors,
                time.time_ns() // 1_000_000,
                before,
                judgement.loss,
                decision,
                kept,
            )
            self._store.judged(connection, judged)
            self._record(connection, judged)
            return judged

        return self._part.vault.database.write(work)

    def _go_back(self, seen: JudgedRelease) -> None:
        """Where the federation went back to an older release that was taken before, it is taken again."""
        active = self._active()
        newer = active is not None and any(
            one.adapter == active.id and one.number > seen.number
            for one in self._store.releases(self._part.federation.id, self._part.consent.task)
        )
        if newer and seen.decision == ACCEPTED and seen.adapter and self._part.consent.installs is Installs.BETTER:
            adapter = seen.adapter

            def work(connection: Connection) -> None:
                self._adapters.activate(connection, adapter)
                self._record(connection, seen)

            self._part.vault.database.write(work)
            self._told(f"release {seen.number}: the federation went back to it, and so does this device")

    def _record(self, connection: Connection, judged: JudgedRelease) -> None:
        from vault.log.entries import Action, Entry

        before = "" if judged.loss_before is None else f"{judged.loss_before:.3f} with what was in use, "
        entry = Entry(
            action=Action.TRAIN,
            purpose=f"learning with {self._part.federation.name}",
            data_class=DataClass.MEDIUM,
            description=(
                f"release {judged.number} of {self._part.task.name}, of {judged.survivors:,} devices: loss on "
                f"held-out examples {before}{judged.loss_after or 0:.3f} with it; {judged.decision}"
            ),
            consent=self._part.consent.label,
            payload_sha256=judged.sha256,
        )
        self._part.vault.log.record(connection, entry)
