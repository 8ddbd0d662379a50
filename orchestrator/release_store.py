"""Tasks and their releases: what is in the log of releases, and which release is in use."""

from typing import NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from federation.digests import DIGEST_BYTES
from federation.messages import decode, encode
from federation.releases import Promotion, Release
from federation.task import Task, read_task
from orchestrator.content import Content
from orchestrator.errors import NotNow, NotThere
from orchestrator.release_log import ReleaseLog
from orchestrator.tables import releases, tasks

__all__ = ["MOST_RELEASE_BYTES", "InLog", "ReleaseStore"]

MOST_RELEASE_BYTES = 1024


class InLog(NamedTuple):
    """A message, and its place in the log of releases."""

    message: bytes
    place: int


class ReleaseStore:
    """Tasks and releases in the database.

    Args:
        log: The log of releases.
        content: Where numbers lie.
    """

    def __init__(self, log: ReleaseLog, content: Content) -> None:
        self.log = log
        self._content = content

    async def create(self, connection: AsyncConnection, task: Task, *, promotes: bool) -> None:
        """Open a task; its first release is of zeros, which change nothing.

        Raises:
            NotNow: there is one of this name.
        """
        zeros = await self._content.put(np.zeros(task.plan.privacy.parameters, "<f4").tobytes())
        place = await self.log.append(connection, task)
        try:
            await connection.execute(
                tasks.insert().values(
                    digest=task.digest,
                    name=task.name,
                    message=encode(task),
                    place=place,
                    state="open",
                    promotes=promotes,
                )
            )
        except IntegrityError:
            raise NotNow(f"There is a task {task.name} already.", hint="Give it another name.") from None
        first = Release(task.digest, 0, bytes(DIGEST_BYTES), 0, 0, 0, 0.0, zeros)
        await self.add(connection, first, None)

    async def add(self, connection: AsyncConnection, release: Release, moments: bytes | None) -> None:
        """Add a release to the log; where its task says so, it is in use at once."""
        place = await self.log.append(connection, release)
        await connection.execute(
            releases.insert().values(
                task=release.task,
                number=release.number,
                digest=release.digest,
                message=encode(release),
                place=place,
                moments=moments,
            )
        )
        query = select(tasks.c.promotes).where(tasks.c.digest == release.task)
        if release.number == 0 or (await connection.execute(query)).scalar_one():
            await self._put_to_use(connection, release)

    async def _put_to_use(self, connection: AsyncConnection, release: Release) -> None:
        place = await self.log.append(connection, Promotion(release.task, release.digest))
        await connection.execute(
            tasks.update().where(tasks.c.digest == release.task).values(in_use=release.number, promotion=place)
        )

    async def promote(self, connection: AsyncConnection, name: str, number: int) -> Release:
        """Have a release of a task used from now on: a newer one, or an older one again.

        Raises:
            NotThere: there is no such release.
        """
        query = select(releases.c.message).join_from(releases, tasks)
        query = query.where(tasks.c.name == name, releases.c.number == number)
        message = (await connection.execute(query)).scalar()
        if message is None:
            raise NotThere(f"{name} has no release {number}.")
        release = decode(bytes(message), Release, MOST_RELEASE_BYTES)
        await self._put_to_use(connection, release)
        return release

    async def task(self, connection: AsyncConnection, name: str) -> tuple[Task, int]:
        """A task, and its place in the log.

        Raises:
            NotThere: there is none.
        """
        query = select(tasks.c.message, tasks.c.place).where(tasks.c.name == name)
        row = (await connection.execute(query)).first()
        if row is None:
            raise NotThere("There is no such task.")
        return read_task(bytes(row.message)), int(row.place)

    async def release(self, connection: AsyncConnection, name: str, number: int | None) -> InLog:
        """A release of a task; the newest without a number.

        Raises:
            NotThere: there is none.
        """
        query = select(releases.c.message, releases.c.place).join_from(releases, tasks).where(tasks.c.name == name)
        if number is None:
            query = query.order_by(releases.c.number.desc()).limit(1)
        else:
            query = query.where(releases.c.number == number)
        row = (await connection.execute(query)).first()
        if row is None:
            raise NotThere("There is no such release.")
        return InLog(bytes(row.message), int(row.place))
