"""An orchestrator put together: what a replica needs between its start and its end."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from federation.enrolment import Registrar
from federation.invites import federation_digest
from federation.releases import ORIGIN
from federation.secagg.server import STEPS
from orchestrator.authentication import Authentication
from orchestrator.check_ins import CheckIns
from orchestrator.content import Content
from orchestrator.database import Database
from orchestrator.enrolment import Enrolment
from orchestrator.errors import OrchestratorError
from orchestrator.release_log import ReleaseLog
from orchestrator.release_store import ReleaseStore
from orchestrator.rounds import Rounds
from orchestrator.sums import Sums
from orchestrator.tables import rounds
from tlog.note import Signer, origin_of

__all__ = ["Service"]

_EVERY_S = 0.5
_END_WITHIN_S = 20.0
_DATABASE_WITHIN_S = 120.0
_log = logging.getLogger("orchestrator")


class Service:
    """One replica's parts, over a database and a store that other replicas may use, too.

    Args:
        database: Holds everything but released numbers.
        content: Holds these.
        registrar: Its public key, 32 bytes.
        log_key: Signs the log of releases.

    Attributes:
        enrolment, authentication, check_ins, rounds, releases: What requests are about.
    """

    def __init__(self, database: Database, content: Content, registrar: bytes, log_key: Ed25519PrivateKey) -> None:
        public = log_key.public_key().public_bytes_raw()
        self.database = database
        self.content = content
        self.enrolment = Enrolment(database)
        self.authentication = Authentication(database)
        known = Registrar(registrar, federation_digest(registrar, public))
        self.check_ins = CheckIns(database, known, random=os.urandom)
        self.rounds = Rounds(database, known, random=os.urandom)
        self.releases = ReleaseStore(ReleaseLog(Signer(log_key, origin_of(ORIGIN, public))), content)
        self._sums = Sums(database, content, self.rounds, self.releases)
        self._complete: asyncio.Queue[int | None] = asyncio.Queue()
        self._ending = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Close steps and open sums, until the end."""
        await self._begin()
        work = [asyncio.create_task(self._close_complete()), asyncio.create_task(self._go_on())]
        try:
            yield
        finally:
            # What is in the middle of a transaction comes to its end.
            self._ending.set()
            self._complete.put_nowait(None)
            _, late = await asyncio.wait(work, timeout=_END_WITHIN_S)
            for one in late:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await self.database.close()

    async def _begin(self) -> None:
        """Prepare the database; where it is away, as after a power cut, it is waited for."""
        until = time.monotonic() + _DATABASE_WITHIN_S
        while True:
            try:
                await self.database.migrate()
                async with self.database.transaction() as connection:
                    await self.releases.log.begin(connection)
            except (SQLAlchemyError, OrchestratorError, OSError) as error:
                if time.monotonic() > until:
                    raise
                _log.warning("the database is waited for", extra={"error": str(error)[:200]})
                await asyncio.sleep(_EVERY_S)
            else:
                return

    def may_be_complete(self, round_: int) -> None:
        """A round's step may have all that can come: it is looked at soon."""
        self._complete.put_nowait(round_)

    async def _close_complete(self) -> None:
        while (round_ := await self._complete.get()) is not None:
            await _tried(self.rounds.close_complete(round_))

    async def _go_on(self) -> None:
        """What nobody's request begins: a time that is over, a sum, and what a replica that died left."""
        while not self._ending.is_set():
            await _tried(self._look())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _EVERY_S)

    async def _look(self) -> None:
        while await self.rounds.close_due():
            pass
        async with self.database.transaction() as connection:
            running = list(
                (await connection.execute(select(rounds.c.id).where(rounds.c.step.in_(STEPS)))).scalars()
            )
        for round_ in running:
            await self.rounds.close_complete(round_)
        while await self._sums.open_one():
            pass


async def _tried(work: Awaitable[None]) -> None:
    """Do something that is tried again later where the database is away for now."""
    begun = time.monotonic()
    try:
        await work
    except (SQLAlchemyError, OrchestratorError, OSError) as error:
        _log.warning(
            "put off", extra={"error": type(error).__name__, "after_s": round(time.monotonic() - begun, 3)}
        )
