"""A round as the database has it, and the state machine of secure aggregation made of that.

Between two requests nothing of a round is in memory but what can be made again: a replica that is killed loses
nothing, and any other one goes on.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.enrolment import Registrar
from federation.messages import decode
from federation.ring import Vector
from federation.secagg.plan import Round
from federation.secagg.server import STEPS, Kept, Server
from federation.secagg.wire import Advertise, Share, Unmask, most_bytes
from federation.stream import Random
from federation.task import Task, read_task
from orchestrator.errors import NotThere
from orchestrator.tables import lanes, members, rounds, tasks

__all__ = ["RoundStore", "StoredRound", "step_number"]

_CACHED = 8
_MOST_ROUND_BYTES = 512


class StoredRound(NamedTuple):
    """One round.

    Attributes:
        id: Of its row.
        number: In its task.
        this: What devices sign and derive from.
        nonce: The server's part of the graph's randomness.
        release: The number of the release that its devices begin with.
        step: That it is at: one of `STEPS`, `sum`, `done` or `aborted`.
        deadline: Of the step.
        outcome: What came of it, in words; empty while it goes on.
        task: What is learned.
    """

    id: int
    number: int
    this: Round
    nonce: bytes
    release: int
    step: str
    deadline: float
    outcome: str
    task: Task


def step_number(step: str) -> int:
    """Where a step stands; behind all of secure aggregation's for what comes after them."""
    return STEPS.index(step) if step in STEPS else len(STEPS)


class RoundStore:
    """Reads rounds.

    Args:
        registrar: Who says which devices belong to the federation.
        random: Gives unforeseeable bytes.
    """

    def __init__(self, registrar: Registrar, random: Random) -> None:
        self._registrar = registrar
        self._random = random
        self._servers: OrderedDict[tuple[int, str], Server] = OrderedDict()

    async def round(self, connection: AsyncConnection, task: str, number: int) -> StoredRound:
        """A round by its task's name and its number.

        Raises:
            NotThere: there is none.
        """
        row = (await connection.execute(_ONE, {"of_task": task, "numbered": number})).first()
        if row is None:
            raise NotThere("There is no such round.")
        return _round_of(row)

    async def at_step(
        self, connection: AsyncConnection, task: str, number: int, step: str, now: float
    ) -> StoredRound | None:
        """A round, kept at its step until the transaction ends; `None` if it is at another, or its time is over.

        Only a step that is open is kept: whoever closes it waits for those who are in time, and for nobody else.
        """
        values = {"of_task": task, "numbered": number, "at": step, "now": now}
        row = (await connection.execute(_AT_STEP, values)).first()
        return None if row is None else _round_of(row)

    async def due(self, connection: AsyncConnection, now: float) -> StoredRound | None:
        """A round whose step's time is over and that nobody else closes right now; locked."""
        query = (
            _QUERY.where(rounds.c.step.in_(STEPS), rounds.c.deadline <= now)
            .order_by(rounds.c.deadline)
            .limit(1)
            .with_for_update(of=rounds, skip_locked=True)
        )
        row = (await connection.execute(query)).first()
        return None if row is None else _round_of(row)

    async def locked(self, connection: AsyncConnection, id_: int) -> StoredRound | None:
        """A round that nobody else closes right now; locked."""
        query = _QUERY.where(rounds.c.id == id_).with_for_update(of=rounds, skip_locked=True)
        row = (await connection.execute(query)).first()
        return None if row is None else _round_of(row)

    async def server(self, connection: AsyncConnection, stored: StoredRound, *, fresh: bool = False) -> Server:
        """The state machine at the beginning of the round's step, or with all that came in it.

        Args:
            connection: In a transaction that keeps the round at its step.
            stored: The round, at a step of secure aggregation, or at `sum`.
            fresh: With what devices sent in this step, too; and it is the caller's own.

        Raises:
            Aborted: it can't have got there.
        """
        key = stored.id, stored.step
        if not fresh and (known := self._servers.get(key)):
            self._servers.move_to_end(key)
            return known
        step = "unmask" if stored.step == "sum" else stored.step
        server = Server(stored.task.plan.secagg, stored.this, stored.nonce, self._registrar, self._random)
        kept = await self._kept(connection, stored, step_number(step) + (1 if fresh else 0))
        total = await self._total(connection, stored) if stored.step == "sum" else None
        server.resume(step, kept, total)
        if not fresh:
            self._servers[key] = server
            if len(self._servers) > _CACHED:
                self._servers.popitem(last=False)
        return server

    @staticmethod
    async def _kept(connection: AsyncConnection, stored: StoredRound, steps: int) -> Kept:
        """What came in the first so many steps."""
        plan = stored.task.plan.secagg
        if steps == 0:
            return Kept()
        wanted = [members.c.device, *(members.c[column] for column in COLUMNS.values())][: steps + 1]
        query = select(*wanted).where(members.c.round == stored.id, members.c.chosen)
        rows = (await connection.execute(query)).all()

        def of(step: str) -> dict[bytes, bytes]:
            column = COLUMNS[step]
            if step_number(step) >= steps:
                return {}
            found = ((bytes(row.device), getattr(row, column)) for row in rows)
            return {device: bytes(value) for device, value in found if value is not None}

        return Kept(
            {key: decode(one, Advertise, most_bytes(Advertise, plan)) for key, one in of("advertise").items()},
            of("reveal"),
            {key: decode(one, Share, most_bytes(Share, plan)) for key, one in of("share").items()},
            of("mask"),
            of("confirm"),
            {key: decode(one, Unmask, most_bytes(Unmask, plan)) for key, one in of("unmask").items()},
        )

    @staticmethod
    async def _total(connection: AsyncConnection, stored: StoredRound) -> Vector:
        total = np.zeros(stored.task.plan.secagg.dimension, np.uint32)
        found = await connection.stream(select(lanes.c.total).where(lanes.c.round == stored.id))
        async for (lane,) in found:
            total += np.frombuffer(lane, "<u4")
        return total


COLUMNS = {
    "advertise": "advert",
    "reveal": "nonce",
    "share": "share",
    "mask": "upload",
    "confirm": "signature",
    "unmask": "unmask",
}
"""Of `members`, by the step in which it is filled."""

_QUERY = select(
    rounds.c.id,
    rounds.c.number,
    rounds.c.message,
    rounds.c.nonce,
    rounds.c.release,
    rounds.c.step,
    rounds.c.deadline,
    rounds.c.outcome,
    tasks.c.message.label("task_message"),
).join_from(rounds, tasks)

_ONE = _QUERY.where(tasks.c.name == bindparam("of_task"), rounds.c.number == bindparam("numbered"))
_AT_STEP = _ONE.where(rounds.c.step == bindparam("at"), rounds.c.deadline > bindparam("now")).with_for_update(
    read=True, of=rounds
)


def _round_of(row: Any) -> StoredRound:  # noqa: ANN401  a row of `_QUERY`
    return StoredRound(
        row.id,
        row.number,
        decode(bytes(row.message), Round, _MOST_ROUND_BYTES),
        bytes(row.nonce),
        row.release,
        row.step,
        row.deadline,
        row.outcome,
        read_task(bytes(row.task_message)),
    )
