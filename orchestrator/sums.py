"""From a round's masked sum to a release: the mean of the survivors' updates, and what the task makes of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from federation.combining import Combined, combine
from federation.errors import Aborted, Malformed
from federation.messages import decode
from federation.privacy.noise import mean_of
from federation.releases import Release
from federation.secagg.server import Server
from federation.task import Task
from orchestrator.content import Content
from orchestrator.database import Database
from orchestrator.release_store import MOST_RELEASE_BYTES, ReleaseStore
from orchestrator.round_store import StoredRound
from orchestrator.rounds import Rounds
from orchestrator.tables import members, releases, rounds, tasks

__all__ = ["Sums"]

_LEASE_S = 15.0
"""So long after a replica that works on a sum was last heard of, another one takes it over."""


class _Before(NamedTuple):
    """What a sum is added to."""

    parent: Release
    combined: Combined


class Sums:
    """Opens the sums of rounds whose devices have all said what they will say.

    Args:
        database: Where rounds are kept.
        content: Where released numbers go.
        rounds: The rounds.
        releases: The releases.
        now: Seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        content: Content,
        rounds: Rounds,
        releases: ReleaseStore,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._content = content
        self._rounds = rounds
        self._releases = releases
        self._now = now

    async def open_one(self) -> bool:
        """Open one sum, if there is one that nobody else is at; whether there was."""
        leased = await self._lease()
        if leased is None:
            return False
        stored, server = leased
        before = await self._before(stored)
        try:
            async with self._renewing(stored.id):
                combined = await asyncio.to_thread(_next, stored.task, server, before.combined)
        except (Aborted, Malformed) as error:
            async with self._database.transaction() as connection:
                locked = await self._rounds.store.locked(connection, stored.id)
                if locked is not None and locked.step == "sum":
                    await self._rounds.abort(connection, locked, error.message)
            return True
        await self._release(stored, before, combined)
        return True

    async def _lease(self) -> tuple[StoredRound, Server] | None:
        async with self._database.transaction() as connection:
            query = select(rounds.c.id).where(rounds.c.step == "sum", rounds.c.leased < self._now()).limit(1)
            id_ = (await connection.execute(query)).scalar()
            stored = None if id_ is None else await self._rounds.store.locked(connection, id_)
            if stored is None or stored.step != "sum":
                return None
            taken = await connection.execute(
                rounds.update()
                .where(rounds.c.id == stored.id, rounds.c.leased < self._now())
                .values(leased=self._now() + _LEASE_S)
            )
            if taken.rowcount != 1:
                return None
            return stored, await self._rounds.store.server(connection, stored, fresh=True)

    @contextlib.asynccontextmanager
    async def _renewing(self, id_: int) -> AsyncIterator[None]:
        """Others leave a sum alone for as long as this goes on; a replica that dies is heard of no more."""
        renewing = asyncio.create_task(self._renew(id_))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _renew(self, id_: int) -> None:
        while True:
            await asyncio.sleep(_LEASE_S / 3)
            with contextlib.suppress(SQLAlchemyError, OSError):  # the database is away: then for others, too
                async with self._database.transaction() as connection:
                    await connection.execute(
                        rounds.update()
                        .where(rounds.c.id == id_, rounds.c.step == "sum")
                        .values(leased=self._now() + _LEASE_S)
                    )

    async def _before(self, stored: StoredRound) -> _Before:
        async with self._database.transaction() as connection:
            query = select(releases.c.message, releases.c.moments)
            query = query.where(releases.c.task == stored.this.plan, releases.c.number == stored.release)
            row = (await connection.execute(query)).one()
        parent = decode(bytes(row.message), Release, MOST_RELEASE_BYTES)
        numbers = np.frombuffer(await self._content.get(parent.content), "<f4").astype(np.float64)
        moments: tuple[NDArray[np.float64], ...] = ()
        if row.moments is not None:
            kept = np.frombuffer(await self._content.get(bytes(row.moments)), "<f8")
            moments = tuple(kept.reshape(-1, numbers.size))
        return _Before(parent, Combined(numbers, moments))

    async def _release(self, stored: StoredRound, before: _Before, combined: Combined) -> None:
        content = await self._content.put(combined.numbers.astype("<f4").tobytes())
        moments = await self._content.put(np.concatenate(combined.moments).astype("<f8").tobytes())
        async with self._database.transaction() as connection:
            locked = await self._rounds.store.locked(connection, stored.id)
            if locked is None or locked.step != "sum":
                return  # another replica was quicker
            query = select(members.c.upload).where(members.c.round == stored.id, members.c.chosen)
            uploads = [row.upload is not None for row in (await connection.execute(query)).all()]
            release = Release(
                task=stored.this.plan,
                number=stored.release + 1,
                parent=before.parent.digest,
                round=stored.number,
                cohort=len(uploads),
                survivors=sum(uploads),
                epsilon=stored.task.plan.epsilon(stored.release + 1),
                content=content,
            )
            await self._releases.add(connection, release, moments)
            now = self._now()
            outcome = f"release {release.number}, of {release.survivors} of {release.cohort} devices"
            await connection.execute(
                rounds.update()
                .where(rounds.c.id == stored.id)
                .values(step="done", deadline=now, ended=now, outcome=outcome)
            )
            if release.number >= stored.task.rounds:
                await connection.execute(
                    tasks.update().where(tasks.c.digest == release.task).values(state="finished")
                )
            await self._rounds.forget(connection, stored.id)


def _next(task: Task, server: Server, before: Combined) -> Combined:
    """The numbers after a round: the heavy part, in a thread."""
    return combine(task.combining, before, mean_of(server.sum(), task.plan.privacy, server.summed))
