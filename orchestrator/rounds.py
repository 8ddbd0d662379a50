"""Rounds: who takes part, what each device sends and is told, and when a step is over.

A device's message is checked, kept and acknowledged in one transaction, which also keeps the round at its step:
what was acknowledged counts, and what comes after a step was closed doesn't. Masked updates are added to a sum at
once and kept nowhere else. Steps are closed by whichever replica finds one complete, or its time over.
"""

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.api import CheckInReply, Joined, State, Wait
from federation.digests import DIGEST_BYTES, digest
from federation.enrolment import Registrar
from federation.errors import Aborted, Malformed, Refused
from federation.messages import Message, decode, encode
from federation.secagg.plan import Round
from federation.secagg.server import STEPS
from federation.secagg.wire import Advertise, Consistency, Masked, Reveal, Share, Unmask, most_bytes
from federation.stream import Random
from federation.task import Task, read_task
from orchestrator.database import Database
from orchestrator.errors import NotAllowed, NotNow, NotThere
from orchestrator.round_store import COLUMNS, RoundStore, StoredRound, step_number
from orchestrator.tables import lanes, members, releases, rounds, tasks

__all__ = ["Rounds"]

_OVER_SELECTED = 1.3
"""Adverts by cohort at which no more are waited for: large deployments take 130 % (Bonawitz et al. 2019)."""
_LANES = 4
_RETRY_S = 5.0
_LONGEST_WAIT_S = 60.0
_AFTER_ABORT_S = 2.0
"""A round that can't be finished may be followed by another like it: not as fast as can be."""
_Sent = Advertise | Reveal | Share | Masked | Consistency | Unmask
_SENT: dict[str, type[_Sent]] = {
    "advertise": Advertise,
    "reveal": Reveal,
    "share": Share,
    "mask": Masked,
    "confirm": Consistency,
    "unmask": Unmask,
}


class Rounds:
    """All rounds of a federation.

    Args:
        database: Where they are kept.
        registrar: Who says which devices belong to the federation.
        now: Seconds since 1970.
        random: Gives unforeseeable bytes.
    """

    def __init__(
        self,
        database: Database,
        registrar: Registrar,
        *,
        now: Callable[[], float] = time.time,
        random: Random,
    ) -> None:
        self.store = RoundStore(registrar, random)
        self._database = database
        self._registrar = registrar
        self._now = now
        self._random = random
        self._lanes = _LANES if database.shared else 1

    async def check_in(self, name: str, device: bytes) -> CheckInReply:
        """A device is ready.

        Raises:
            NotThere: there is no such task.
            NotNow: it is over, or the device took part as often as it may.
        """
        async with self._database.transaction() as connection:
            query = select(tasks).where(tasks.c.name == name)
            row = (await connection.execute(query)).first()
            if row is None:
                raise NotThere("There is no such task.")
            task = read_task(bytes(row.message))
            if row.state != "open":
                raise NotNow("The task is paused." if row.state == "paused" else "The task is over.")
            if await self._took_part(connection, row.digest, device) >= task.plan.participations:
                raise NotNow("This device has taken part as often as the plan allows.")
            running = await self._running(connection, row.digest)
            if running is None:
                if row.not_before > self._now():
                    return self._wait(row.not_before - self._now(), "the next round begins later")
                running = await self._begin(connection, bytes(row.digest), task)
                if running is None:
                    return self._wait(_RETRY_S, "a round is about to begin")
            left = running.deadline - self._now()
            if running.step == "advertise" and left > 0:
                return Joined(running.number, encode(running.this), running.release, left)
            return self._wait(_until_next(running, left), "a round is under way")

    async def take(self, name: str, number: int, step: str, device: bytes, body: bytes) -> int | None:
        """Take a device's message.

        Returns:
            The id of the round, if its step may be complete now.

        Raises:
            NotThere: there is no such round, or no such step.
            NotNow: the round is at another step.
            NotAllowed: the message isn't one that this device can send.
        """
        if step not in _SENT:
            raise NotThere("There is no such step.")
        async with self._database.transaction() as connection:
            stored = await self.store.round(connection, name, number, lock="share")
            kind = _SENT[step]
            try:
                message = decode(body, kind, most_bytes(kind, stored.task.plan.secagg))
            except Malformed as error:
                raise NotAllowed(error.message) from None
            if message.device != device:
                raise NotAllowed("The message is another device's.")
            column = COLUMNS[step]
            kept = _kept_of(message)
            row = (await connection.execute(_member(stored.id, device))).first()
            if row is not None and getattr(row, column) is not None:
                if bytes(getattr(row, column)) == kept:
                    return None  # the answer to it was lost on the way
                raise NotAllowed("The device sent something else at this step before.")
            if stored.step != step or stored.deadline <= self._now():
                raise NotNow(f"The round is at the step “{stored.step}”, or beyond.")
            if step != "advertise" and (row is None or not row.chosen):
                raise NotAllowed("The device isn't in this round.")
            await self._check(connection, stored, message)
            if isinstance(message, Advertise):
                await connection.execute(
                    members.insert().values(round=stored.id, device=device, advert=kept, chosen=False)
                )
            else:
                if isinstance(message, Masked):
                    await self._add(connection, stored, message)
                changed = await connection.execute(
                    members.update()
                    .where(members.c.round == stored.id, members.c.device == device, members.c[column].is_(None))
                    .values({column: kept})
                )
                if changed.rowcount != 1:
                    raise NotAllowed("The device sent something at this step just now.")
            return stored.id if await self._complete(connection, stored) else None

    async def tell(self, name: str, number: int, step: str, device: bytes) -> bytes:
        """What a device is told at the beginning of a step.

        Raises:
            NotThere: there is no such round.
            NotNow: the round is at another step.
            NotAllowed: the device isn't in the round.
        """
        async with self._database.transaction() as connection:
            stored = await self.store.round(connection, name, number, lock="share")
            if stored.step != step or step not in STEPS:
                raise NotNow(f"The round is at the step “{stored.step}”.")
            row = (await connection.execute(_member(stored.id, device))).first()
            if row is None or not row.chosen:
                raise NotAllowed("The device isn't in this round.")
            try:
                server = await self.store.server(connection, stored)
                return encode(server.opening(device))
            except Refused as error:
                raise NotAllowed(error.message) from None

    async def state(self, name: str, number: int) -> State:
        """How far a round is.

        Raises:
            NotThere: there is no such round.
        """
        async with self._database.transaction() as connection:
            stored = await self.store.round(connection, name, number)
            left = stored.deadline - self._now() if stored.step in STEPS else 0.0
            return State(stored.step, max(0.0, left), stored.outcome)

    async def close_due(self) -> bool:
        """Close one step whose time is over; whether there was one."""
        async with self._database.transaction() as connection:
            stored = await self.store.due(connection, self._now())
            if stored is None:
                return False
            await self._close(connection, stored)
            return True

    async def close_complete(self, id_: int) -> None:
        """Close a round's step if all that can come has come."""
        async with self._database.transaction() as connection:
            stored = await self.store.locked(connection, id_)
            if stored is not None and stored.step in STEPS and await self._complete(connection, stored):
                await self._close(connection, stored)

    async def _close(self, connection: AsyncConnection, stored: StoredRound) -> None:
        """The next step, or the end. The round's row is locked."""
        after = (*STEPS, "sum")[step_number(stored.step) + 1]
        try:
            if stored.step == "advertise":
                await self._choose(connection, stored)
            server = await self.store.server(connection, stored, fresh=True)
            if stored.step != "unmask":
                {
                    "advertise": server.roster,
                    "reveal": server.graph,
                    "share": server.close_shares,
                    "mask": server.survivors,
                    "confirm": server.close_consistency,
                }[stored.step]()
        except (Aborted, Refused) as error:
            await self.abort(connection, stored, error.message)
            return
        if after == "mask":
            nothing = np.zeros(stored.task.plan.secagg.dimension, "<u4").tobytes()
            rows = [{"round": stored.id, "lane": lane, "total": nothing} for lane in range(self._lanes)]
            await connection.execute(lanes.insert(), rows)
        seconds = 0 if after == "sum" else getattr(stored.task.stages, after)
        await connection.execute(
            rounds.update().where(rounds.c.id == stored.id).values(step=after, deadline=self._now() + seconds)
        )

    async def abort(self, connection: AsyncConnection, stored: StoredRound, why: str) -> None:
        """End a round without a sum; the next one begins anew, a little later, with noise and masks of its own."""
        now = self._now()
        later = tasks.update().where(tasks.c.digest == stored.this.plan)
        await connection.execute(later.values(not_before=now + _AFTER_ABORT_S))
        await connection.execute(
            rounds.update()
            .where(rounds.c.id == stored.id)
            .values(step="aborted", deadline=now, ended=now, outcome=why[:300])
        )
        await self.forget(connection, stored.id)

    @staticmethod
    async def forget(connection: AsyncConnection, id_: int) -> None:
        """Remove what only the round itself needed: masked sums, shares, signatures."""
        await connection.execute(lanes.delete().where(lanes.c.round == id_))
        empty = {"nonce": None, "share": None, "signature": None, "unmask": None, "advert": b""}
        await connection.execute(members.update().where(members.c.round == id_).values(empty))

    async def _choose(self, connection: AsyncConnection, stored: StoredRound) -> None:
        """The cohort: of more than fit, those that a lot falls on which nobody can steer alone.

        The round, with the server's commitment in it, was fixed before any device's commitment was made, and each
        device's before it knew another's.
        """
        query = select(members.c.device, members.c.advert).where(members.c.round == stored.id)
        plan = stored.task.plan.secagg
        adverts = [
            decode(bytes(row.advert), Advertise, most_bytes(Advertise, plan))
            for row in (await connection.execute(query.order_by(members.c.device))).all()
        ]
        adverts.sort(key=lambda advert: digest("lot", stored.this.digest, advert.device, advert.commitment))
        keys, chosen = set[bytes](), list[bytes]()
        for advert in adverts:
            # Two replicas may each have taken a key of the same device's making: whose lot comes first has it.
            if len(chosen) < plan.max_cohort and not keys & (own := {advert.mask_key, advert.seal_key}):
                keys |= own
                chosen.append(advert.device)
        await connection.execute(
            members.update().where(members.c.round == stored.id, members.c.device.in_(chosen)).values(chosen=True)
        )

    async def _complete(self, connection: AsyncConnection, stored: StoredRound) -> bool:
        """Whether all that can come at a step has come."""
        column = members.c[COLUMNS[stored.step]]
        if stored.step == "advertise":
            query = select(func.count()).where(members.c.round == stored.id)
            wanted = int(stored.task.plan.secagg.max_cohort * _OVER_SELECTED)
            return int((await connection.execute(query)).scalar_one()) >= wanted
        # Who confirms and who unmasks is who uploaded; else who went on from the step before.
        before = STEPS[min(step_number(stored.step) - 1, STEPS.index("mask"))]
        both = select(func.count(members.c[COLUMNS[before]]), func.count(column)).where(
            members.c.round == stored.id, members.c.chosen
        )
        can, did = (await connection.execute(both)).one()
        return bool(did >= can)

    async def _check(self, connection: AsyncConnection, stored: StoredRound, message: Message) -> None:
        """See that a message fits the round; what is kept in memory of it doesn't matter."""
        try:
            server = await self.store.server(connection, stored)
            if isinstance(message, Advertise):
                server.check_advert(message)
            elif isinstance(message, Reveal):
                server.take_reveal(message)
            elif isinstance(message, Share):
                server.check_share(message)
            elif isinstance(message, Masked):
                server.check_masked(message)
            elif isinstance(message, Consistency):
                server.take_consistency(message)
            elif isinstance(message, Unmask):
                server.check_unmask(message)
        except (Refused, Malformed, Aborted) as error:
            raise NotAllowed(error.message) from None

    async def _add(self, connection: AsyncConnection, stored: StoredRound, masked: Masked) -> None:
        """Add an update to the sum, in one of a few lanes: so that replicas don't wait for each other."""
        of_round = select(lanes.c.lane, lanes.c.total).where(lanes.c.round == stored.id)
        free = of_round.limit(1).with_for_update(skip_locked=True)
        row = (await connection.execute(free)).first()
        if row is None:
            any_lane = random.randrange(self._lanes)  # noqa: S311  whichever
            row = (await connection.execute(of_round.where(lanes.c.lane == any_lane).with_for_update())).one()
        total = np.frombuffer(row.total, "<u4").astype(np.uint32)
        try:
            stored.task.plan.secagg.ring.add_packed(total, masked.packed)
        except Malformed as error:
            raise NotAllowed(error.message) from None
        where = lanes.c.round == stored.id, lanes.c.lane == row.lane
        await connection.execute(lanes.update().where(*where).values(total=total.astype("<u4").tobytes()))

    async def _running(self, connection: AsyncConnection, task: bytes) -> StoredRound | None:
        query = select(tasks.c.name, rounds.c.number).join_from(rounds, tasks)
        query = query.where(rounds.c.task == task, rounds.c.step.in_((*STEPS, "sum")))
        row = (await connection.execute(query)).first()
        return None if row is None else await self.store.round(connection, row.name, row.number)

    async def _begin(self, connection: AsyncConnection, task_digest: bytes, task: Task) -> StoredRound | None:
        """Begin the next round; nothing where another replica just does."""
        query = select(tasks.c.next_round).where(tasks.c.digest == task_digest)
        number = (await connection.execute(query.with_for_update(skip_locked=True))).scalar()
        if number is None or await self._running(connection, task_digest) is not None:
            return None
        newest = select(func.max(releases.c.number)).where(releases.c.task == task_digest)
        release = (await connection.execute(newest)).scalar_one()
        nonce, now = self._random(DIGEST_BYTES), self._now()
        this = Round.begin(self._registrar.federation, task.name, number, task_digest, nonce)
        await connection.execute(
            rounds.insert().values(
                task=task_digest,
                number=number,
                message=encode(this),
                nonce=nonce,
                release=release,
                step="advertise",
                deadline=now + task.stages.advertise,
                begun=now,
            )
        )
        await connection.execute(tasks.update().where(tasks.c.digest == task_digest).values(next_round=number + 1))
        return await self.store.round(connection, task.name, number)

    @staticmethod
    async def _took_part(connection: AsyncConnection, task: bytes, device: bytes) -> int:
        query = select(func.count()).select_from(members.join(rounds, members.c.round == rounds.c.id))
        query = query.where(rounds.c.task == task, members.c.device == device, members.c.upload.is_not(None))
        return int((await connection.execute(query)).scalar_one())

    @staticmethod
    def _wait(seconds: float, why: str) -> Wait:
        """Devices that were told to wait at the same moment don't come back at the same moment."""
        return Wait(round(max(1.0, seconds) * random.uniform(1.0, 1.5), 1), why)  # noqa: S311  spreads them


def _until_next(running: StoredRound, left: float) -> float:
    """Seconds until the next round begins, at the latest, if this one goes on to its end."""
    if running.step not in STEPS:
        return _RETRY_S
    later = STEPS[step_number(running.step) + 1 :]
    rest = float(sum(getattr(running.task.stages, step) for step in later))
    return min(max(0.0, left) + rest, _LONGEST_WAIT_S)


def _member(round_: int, device: bytes) -> "Select[Any]":
    return select(members).where(members.c.round == round_, members.c.device == device)


def _kept_of(message: Message) -> bytes:
    """What is kept of a message: what isn't known without it."""
    if isinstance(message, Reveal):
        return message.nonce
    if isinstance(message, Masked | Consistency):
        return message.signature
    return encode(message)
