"""Rounds: who takes part, what each device sends and is told, and when a step is over.

A device's message is checked, kept and acknowledged in one transaction, which also keeps the round at its step:
what was acknowledged counts, and what comes after a step was closed doesn't. Masked updates are added to a sum at
once and kept nowhere else. Steps are closed by whichever replica finds one complete, or its time over.
"""

import random
import time
from collections.abc import Callable

import numpy as np
from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.api import State
from federation.digests import digest
from federation.enrolment import Registrar
from federation.errors import Aborted, Malformed, Refused
from federation.messages import Message, decode, encode
from federation.secagg.server import STEPS
from federation.secagg.wire import Advertise, Consistency, Masked, Reveal, Share, Unmask, most_bytes
from federation.stream import Random
from orchestrator.database import Database
from orchestrator.errors import NotAllowed, NotNow, NotThere
from orchestrator.round_store import COLUMNS, RoundStore, StoredRound, step_number
from orchestrator.tables import lanes, members, rounds, tasks

__all__ = ["Rounds"]

_OVER_SELECTED = 1.3
"""Adverts by cohort at which no more are waited for: large deployments take 130 % (Bonawitz et al. 2019)."""
_LANES = 4
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
        self._now = now
        self._lanes = _LANES if database.shared else 1

    async def take(
        self, connection: AsyncConnection, name: str, number: int, step: str, device: bytes, body: bytes
    ) -> int | None:
        """Take a device's message.

        Args:
            connection: In a transaction; what is taken counts once it is committed.
            name: Of the task.
            number: Of the round.
            step: Whose message it is.
            device: Who signed the request.
            body: The message.

        Returns:
            The id of the round, if its step may be complete now.

        Raises:
            NotThere: there is no such round, or no such step.
            NotNow: the round is at another step.
            NotAllowed: the message isn't one that this device can send.
        """
        if step not in _SENT:
            raise NotThere("There is no such step.")
        at_step = await self.store.at_step(connection, name, number, step, self._now())
        stored = at_step or await self.store.round(connection, name, number)
        kind = _SENT[step]
        try:
            message = decode(body, kind, most_bytes(kind, stored.task.plan.secagg))
        except Malformed as error:
            raise NotAllowed(error.message) from None
        if message.device != device:
            raise NotAllowed("The message is another device's.")
        kept = _kept_of(message)
        row = (await connection.execute(_SAID[step], {"in_round": stored.id, "of_device": device})).first()
        if row is not None and row.said is not None:
            if bytes(row.said) == kept:
                return None  # the answer to it was lost on the way
            raise NotAllowed("The device sent something else at this step before.")
        if at_step is None:
            raise NotNow(f"The round is at the step “{stored.step}”, or beyond.")
        if step != "advertise" and (row is None or not row.chosen):
            raise NotAllowed("The device isn't in this round.")
        await self._check(connection, stored, message)
        if isinstance(message, Masked):
            await self._add(connection, stored, message)
        values = {"in_round": stored.id, "of_device": device, "kept": kept}
        if isinstance(message, Advertise):
            await connection.execute(_ADVERTISED, values)
        elif (await connection.execute(_SAYS[step], values)).rowcount != 1:
            raise NotAllowed("The device sent something at this step just now.")
        return stored.id if await self._complete(connection, stored) else None

    async def tell(self, connection: AsyncConnection, name: str, number: int, step: str, device: bytes) -> bytes:
        """What a device is told at the beginning of a step.

        It follows from what came in the steps before, which are closed: so the round isn't kept at its step for it,
        and devices that ask don't keep anybody from closing it.

        Args:
            connection: In a transaction.
            name: Of the task.
            number: Of the round.
            step: Which begins.
            device: Who signed the request.

        Raises:
            NotThere: there is no such round.
            NotNow: the round is at another step.
            NotAllowed: the device isn't in the round.
        """
        stored = await self.store.round(connection, name, number)
        if stored.step != step or step not in STEPS:
            raise NotNow(f"The round is at the step “{stored.step}”.")
        row = (await connection.execute(_SAID[step], {"in_round": stored.id, "of_device": device})).first()
        if row is None or not row.chosen:
            raise NotAllowed("The device isn't in this round.")
        try:
            server = await self.store.server(connection, stored)
        except (Malformed, Aborted):
            raise NotNow("The round has ended.") from None  # just now: what it needed is gone
        try:
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


_OF_DEVICE = members.c.round == bindparam("in_round"), members.c.device == bindparam("of_device")
_SAID = {
    step: select(members.c.chosen, members.c[column].label("said")).where(*_OF_DEVICE)
    for step, column in COLUMNS.items()
}
_SAYS = {
    step: members.update().where(*_OF_DEVICE, members.c[column].is_(None)).values({column: bindparam("kept")})
    for step, column in COLUMNS.items()
}
_ADVERTISED = members.insert().values(
    round=bindparam("in_round"), device=bindparam("of_device"), advert=bindparam("kept"), chosen=False
)
"""Made once: putting a statement together takes longer than having it executed."""


def _kept_of(message: Message) -> bytes:
    """What is kept of a message: what isn't known without it."""
    if isinstance(message, Reveal):
        return message.nonce
    if isinstance(message, Masked | Consistency):
        return message.signature
    return encode(message)
