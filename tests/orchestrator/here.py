"""A federation whose orchestrator is in the test's own process, over HTTP without a network."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.invites import Invite, federation_digest
from federation.task import Task
from orchestrator.app import application
from orchestrator.content import Content
from orchestrator.database import Database
from orchestrator.registrar import RegistrarDesk
from orchestrator.service import Service
from orchestrator.unsigned import Unsigned

__all__ = ["Here"]


class Here:
    """One orchestrator, its registrar, and their folder.

    Args:
        folder: An empty one.

    Attributes:
        service: The orchestrator's parts.
        unsigned: How much it does for those who don't sign.
        desk: The registrar's.
    """

    def __init__(self, folder: Path) -> None:
        registrar, log = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.registrar = registrar.public_key().public_bytes_raw()
        self.log = log.public_key().public_bytes_raw()
        self.federation = federation_digest(self.registrar, self.log)
        self.database = Database(f"sqlite:///{folder}/orchestrator.db")
        self.unsigned = Unsigned(0, 1_000_000)
        self.service = Service(self.database, Content(str(folder / "content")), self.registrar, log)
        (folder / "registrar").mkdir()
        self.desk = RegistrarDesk(folder / "registrar", registrar, self.federation, self.database)

    @contextlib.asynccontextmanager
    async def running(self, *, registrar: bool = True) -> AsyncIterator[httpx.AsyncClient]:
        """Both at work, and what reaches them."""
        app = application(self.service, self.unsigned)
        async with self.service.running():
            ending = asyncio.Event()
            admitting = asyncio.create_task(self._admit(ending)) if registrar else None
            transport = httpx.ASGITransport(app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="https://here") as http:
                yield http
            ending.set()
            if admitting:
                await admitting

    async def open(self, task: Task, *, promotes: bool = True) -> None:
        """Open a task."""
        async with self.database.transaction() as connection:
            await self.service.releases.create(connection, task, promotes=promotes)

    async def invite(self, uses: int = 1, *, days: float = 1, requests_a_minute: int = 100_000) -> Invite:
        """An invite."""
        secret = await self.desk.invite(uses=uses, days=days, requests_a_minute=requests_a_minute)
        return Invite("test", "https://here", (os.urandom(32),), self.registrar, self.log, secret)

    async def _admit(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            await self.desk.admit()
            await asyncio.sleep(0.02)
