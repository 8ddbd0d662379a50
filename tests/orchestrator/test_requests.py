"""Who is answered: a device that was admitted, for what it signed, once, and not too often."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.api import Admitted, AskToJoin
from federation.invites import Invite, proof_of
from federation.requests import sign_request
from orchestrator.tables import devices
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.here import Here

TASK = task_of(20)
CHECK_IN = f"/v1/tasks/{TASK.name}/check-ins"

Story = Callable[[Here, httpx.AsyncClient], Coroutine[Any, Any, None]]


def tell(folder: Path, story: Story, *, registrar: bool = True) -> None:
    """Run a story in a federation with one open task."""

    async def told() -> None:
        here = Here(folder)
        async with here.running(registrar=registrar) as http:
            await here.open(TASK)
            await story(here, http)

    asyncio.run(told())


def device_of(http: httpx.AsyncClient) -> Device:
    return Device(http, lambda _round: np.zeros(40))


async def joined(here: Here, http: httpx.AsyncClient, requests_a_minute: int = 100_000) -> Device:
    device = device_of(http)
    await device.join(await here.invite(requests_a_minute=requests_a_minute), TASK.name)
    return device


def test_a_request_is_taken_once(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        device = await joined(here, http)
        headers = sign_request(device.identity, "POST", CHECK_IN, b"", 5, time.time(), os.urandom)
        assert (await http.post(CHECK_IN, headers=headers)).status_code == 200
        assert (await http.post(CHECK_IN, headers=headers)).status_code == 403
        older = sign_request(device.identity, "POST", CHECK_IN, b"", 4, time.time(), os.urandom)
        assert (await http.post(CHECK_IN, headers=older)).status_code == 403
        newer = sign_request(device.identity, "POST", CHECK_IN, b"", 6, time.time(), os.urandom)
        assert (await http.post(CHECK_IN + "?more", headers=newer)).status_code == 403
        assert (await http.post(CHECK_IN, headers=newer)).status_code == 200

    tell(tmp_path, story)


def test_who_is_not_admitted_or_was_revoked_is_not_answered(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        stranger = device_of(http)
        assert (await http.post(CHECK_IN)).status_code == 403
        assert (await stranger.signed("POST", CHECK_IN)).status_code == 403
        device = await joined(here, http)
        assert (await device.signed("POST", CHECK_IN)).status_code == 200
        async with here.database.transaction() as connection:
            await connection.execute(devices.update().values(revoked=time.time()))
        assert (await device.signed("POST", CHECK_IN)).status_code == 403

    tell(tmp_path, story)


def test_a_device_that_asks_too_often_is_told_so(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        device = await joined(here, http, requests_a_minute=3)
        got = [await device.signed("POST", CHECK_IN) for _ in range(8)]
        assert [one.status_code for one in got].count(429) >= 2  # a minute may have ended between
        (late,) = [one for one in got if one.status_code == 429][:1]
        assert late.headers["retry-after"]

    tell(tmp_path, story)


async def ask(http: httpx.AsyncClient, invite: Invite, proof: bytes | None = None) -> tuple[int, bytes]:
    """Ask to be admitted, as somebody new."""
    device = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    proof = proof or proof_of(invite.secret, invite.federation, device)
    body = msgspec.json.encode(AskToJoin(device, invite.id, proof))
    return (await http.post("/v1/devices", content=body)).status_code, device


async def certificate(http: httpx.AsyncClient, device: bytes) -> httpx.Response:
    return await http.get(f"/v1/devices/{device.hex()}/certificate")


def test_an_invite_admits_as_many_as_it_says_and_nobody_without_its_secret(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        invite = await here.invite(2)
        for _ in range(2):
            status, device = await ask(http, invite)
            assert status == 202
            await here.desk.admit()
            admitted = msgspec.json.decode((await certificate(http, device)).content, type=Admitted)
            assert admitted.certificate
        assert (await ask(http, invite))[0] == 403

        forged = await here.invite(1)
        status, device = await ask(http, forged, os.urandom(32))
        assert status == 202  # the orchestrator can't tell
        await here.desk.admit()
        assert (await certificate(http, device)).status_code == 403
        assert (await certificate(http, os.urandom(32))).status_code == 404

    tell(tmp_path, story, registrar=False)


def test_an_orchestrator_that_makes_devices_up_gets_no_certificates_for_them(tmp_path: Path) -> None:
    """It has the invites' ids, and the proofs of devices that asked: neither admits another identity."""

    async def story(here: Here, http: httpx.AsyncClient) -> None:
        invite = await here.invite(5)
        status, honest = await ask(http, invite)
        assert status == 202
        async with here.database.transaction() as connection:
            row = (await connection.execute(devices.select())).one()
            sybil = os.urandom(32)
            await connection.execute(
                devices.insert().values(
                    identity=sybil, invite=row.invite, proof=row.proof, asked=0.0, requests_a_minute=1
                )
            )
        await here.desk.admit()
        assert (await certificate(http, honest)).status_code == 200
        assert (await certificate(http, sybil)).status_code == 403

    tell(tmp_path, story, registrar=False)


def test_an_invite_s_time_ends(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        assert (await ask(http, await here.invite(1, days=-1)))[0] == 403

    tell(tmp_path, story, registrar=False)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/tasks/none", 404),
        ("GET", "/v1/tasks/UPPER", 400),
        ("GET", f"/v1/tasks/{TASK.name}/releases/7", 404),
        ("GET", f"/v1/tasks/{TASK.name}/releases/-1", 400),
        ("GET", f"/v1/tasks/{TASK.name}/releases/{1 << 60}", 400),
        ("GET", f"/v1/tasks/{TASK.name}/rounds/1", 404),
        ("GET", f"/v1/content/{'0' * 64}", 404),
        ("GET", "/v1/content/..%2f..%2forchestrator.db", 404),
        ("GET", "/v1/log/leaves/0?size=99", 404),
        ("GET", "/v1/log/consistency?old=3&size=1", 404),
        ("POST", "/v1/devices", 403),
        ("PUT", f"/v1/tasks/{TASK.name}/rounds/1/mask", 403),
        ("DELETE", f"/v1/tasks/{TASK.name}", 405),
    ],
)
def test_what_is_not_there_or_malformed_is_said_so(tmp_path: Path, method: str, target: str, status: int) -> None:
    async def story(_here: Here, http: httpx.AsyncClient) -> None:
        got = await http.request(method, target)
        assert got.status_code == status, got.text

    tell(tmp_path, story)


def test_what_is_longer_than_a_message_can_be_is_not_waited_for(tmp_path: Path) -> None:
    async def story(here: Here, http: httpx.AsyncClient) -> None:
        device = await joined(here, http)
        for step in ("advertise", "mask"):
            got = await device.signed("PUT", f"/v1/tasks/{TASK.name}/rounds/1/{step}", bytes(1 << 20))
            assert got.status_code == 413
            assert "longer" in got.text
            assert got.headers["connection"] == "close"

    tell(tmp_path, story)
