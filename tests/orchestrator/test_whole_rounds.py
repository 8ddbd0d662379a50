"""Whole rounds over HTTP: whoever is lost, the release is the mean of who is left, or the round begins anew."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from federation.api import ReleaseInfo
from federation.invites import Invite, federation_digest
from federation.messages import decode
from federation.releases import Release
from orchestrator.app import application
from orchestrator.content import Content
from orchestrator.database import Database
from orchestrator.registrar import RegistrarDesk
from orchestrator.service import Service
from tests.orchestrator.devices import Device, Lost
from tests.orchestrator.federations import NOISE, task_of


class Here:
    """A federation whose orchestrator is in this process."""

    def __init__(self, folder: Path) -> None:
        registrar, self._log = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self._registrar_key = registrar.public_key().public_bytes_raw()
        self._log_key = self._log.public_key().public_bytes_raw()
        self.database = Database(f"sqlite:///{folder}/orchestrator.db")
        self.service = Service(self.database, Content(str(folder / "content")), self._registrar_key, self._log)
        federation = federation_digest(self._registrar_key, self._log_key)
        self.desk = RegistrarDesk(folder, registrar, federation, self.database)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        app = application(self.service)
        async with self.service.running():
            registrar = asyncio.create_task(self._admit())
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="https://here") as http:
                yield http
            registrar.cancel()

    async def _admit(self) -> None:
        while True:
            await self.desk.admit()
            await asyncio.sleep(0.05)

    async def invite(self, uses: int) -> Invite:
        secret = await self.desk.invite(uses=uses, days=1, requests_a_minute=100_000)
        return Invite("test", "https://here", (bytes(32),), self._registrar_key, self._log_key, secret)


def test_a_release_is_the_mean_of_the_survivors(tmp_path: Path) -> None:
    asyncio.run(_rounds(tmp_path))


async def _rounds(folder: Path) -> None:
    here = Here(folder)
    async with here.running() as http:
        task = task_of(10, least=9, seconds=5)
        async with here.database.transaction() as connection:
            await here.service.releases.create(connection, task, promotes=True)
        invite = await here.invite(10)
        updates = np.random.default_rng(1).normal(size=(10, 40)) * 0.1
        devices = [Device(http, partial(_same, update)) for update in updates]
        await asyncio.gather(*(device.join(invite, task.name) for device in devices))
        lost = {3: "mask", 5: "unmask"}
        done = await asyncio.gather(
            *(device.take_part(leaves_before=lost.get(n, "")) for n, device in enumerate(devices)),
            return_exceptions=True,
        )
        assert [n for n, one in enumerate(done) if isinstance(one, Lost)] == [3, 5], done
        release = await released(http, task.name, 1)
        assert (release.cohort, release.survivors, release.round) == (10, 9, 1)
        numbers = np.frombuffer((await http.get(f"/v1/content/{release.content.hex()}")).content, "<f4")
        there = [n for n in range(10) if n != 3]
        assert np.abs(numbers - updates[there].mean(axis=0)).max() < NOISE


def _same(update: NDArray[np.float64], _round: int) -> NDArray[np.float64]:
    return update


async def released(http: httpx.AsyncClient, task: str, number: int) -> Release:
    got = await http.get(f"/v1/tasks/{task}/releases/{number}")
    got.raise_for_status()
    return decode(msgspec.json.decode(got.content, type=ReleaseInfo).message, Release, 1024)
