"""Check-ins: which round a device that is ready can take part in, and when the next one begins."""

import random
import time
from collections.abc import Callable

from sqlalchemy import bindparam, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.api import CheckInReply, Joined, Wait
from federation.digests import DIGEST_BYTES
from federation.enrolment import Registrar
from federation.messages import encode
from federation.secagg.plan import Round
from federation.secagg.server import STEPS
from federation.stream import Random
from federation.task import Task, read_task
from orchestrator.database import Database
from orchestrator.errors import NotNow, NotThere
from orchestrator.round_store import step_number
from orchestrator.tables import members, releases, rounds, tasks

__all__ = ["CheckIns"]

_RETRY_S = 5.0
_LONGEST_WAIT_S = 60.0


class CheckIns:
    """Answers devices that are ready.

    Args:
        database: Where rounds are kept.
        registrar: Who says which devices belong to the federation.
        now: Seconds since 1970.
        random: Gives unforeseeable bytes.
    """

    def __init__(
        self, database: Database, registrar: Registrar, *, now: Callable[[], float] = time.time, random: Random
    ) -> None:
        self._database = database
        self._registrar = registrar
        self._now = now
        self._random = random

    async def check_in(self, name: str, device: bytes) -> CheckInReply:
        """A device is ready.

        Args:
            name: Of the task.
            device: Its identity.

        Raises:
            NotThere: there is no such task.
            NotNow: it is over, or the device took part as often as it may.
        """
        row = await self._database.first(_STATE, {"task": name, "device": device})
        if row is None:
            raise NotThere("There is no such task.")
        task, now = read_task(bytes(row.task_message)), self._now()
        if row.state != "open":
            raise NotNow("The task is paused." if row.state == "paused" else "The task is over.")
        if row.took_part >= task.plan.participations:
            raise NotNow("This device has taken part as often as the plan allows.")
        if row.step is None:
            if row.not_before > now:
                return _wait(row.not_before - now, "the next round begins later")
            async with self._database.transaction() as connection:
                return await self._begin(connection, name)
        left = row.deadline - now
        if row.step == "advertise" and left > 0:
            return Joined(row.number, bytes(row.message), row.release, left)
        return _wait(_until_next(task, row.step, left), "a round is under way")

    async def _begin(self, connection: AsyncConnection, name: str) -> CheckInReply:
        """Begin a task's next round, where nobody else just does."""
        query = select(tasks).where(
            tasks.c.name == name, tasks.c.state == "open", tasks.c.not_before <= self._now()
        )
        row = (await connection.execute(query.with_for_update(skip_locked=True))).first()
        if row is None:
            return _wait(_RETRY_S, "a round is about to begin")
        task, task_digest, number = read_task(bytes(row.message)), bytes(row.digest), int(row.next_round)
        running = select(rounds.c.id).where(rounds.c.task == task_digest, rounds.c.step.in_(_RUNNING))
        if (await connection.execute(running)).first() is not None:
            return _wait(0.0, "a round has just begun")
        newest = select(func.max(releases.c.number)).where(releases.c.task == task_digest)
        release = (await connection.execute(newest)).scalar_one()
        nonce, now = self._random(DIGEST_BYTES), self._now()
        message = encode(Round.begin(self._registrar.federation, task.name, number, task_digest, nonce))
        await connection.execute(
            rounds.insert().values(
                task=task_digest,
                number=number,
                message=message,
                nonce=nonce,
                release=release,
                step="advertise",
                deadline=now + task.stages.advertise,
                begun=now,
            )
        )
        await connection.execute(tasks.update().where(tasks.c.digest == task_digest).values(next_round=number + 1))
        return Joined(number, message, release, float(task.stages.advertise))


# Literals: values of an `in` that are bound are put into the statement anew each time.
_RUNNING = [literal(step) for step in (*STEPS, "sum")]
_TOOK_PART = (
    select(func.count())
    .select_from(members.join(rounds, members.c.round == rounds.c.id))
    .where(rounds.c.task == tasks.c.digest, members.c.device == bindparam("device"), members.c.upload.is_not(None))
    .correlate(tasks)
    .scalar_subquery()
)
_STATE = (
    select(
        tasks.c.digest,
        tasks.c.message.label("task_message"),
        tasks.c.state,
        tasks.c.not_before,
        _TOOK_PART.label("took_part"),
        rounds.c.number,
        rounds.c.message,
        rounds.c.release,
        rounds.c.step,
        rounds.c.deadline,
    )
    .join_from(tasks, rounds, (rounds.c.task == tasks.c.digest) & rounds.c.step.in_(_RUNNING), isouter=True)
    .where(tasks.c.name == bindparam("task"))
)
"""All that a check-in has to know, in one statement."""


def _wait(seconds: float, why: str) -> Wait:
    """Devices that were told to wait at the same moment don't come back at the same moment."""
    return Wait(round(max(1.0, seconds) * random.uniform(1.0, 1.5), 1), why)  # noqa: S311  spreads them


def _until_next(task: Task, step: str, left: float) -> float:
    """Seconds until the next round begins, at the latest, if this one goes on to its end."""
    if step not in STEPS:
        return _RETRY_S
    rest = float(sum(getattr(task.stages, later) for later in STEPS[step_number(step) + 1 :]))
    return min(max(0.0, left) + rest, _LONGEST_WAIT_S)
