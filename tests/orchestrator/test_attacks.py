"""What an attacker sends is refused, and nothing changes."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path

import httpx
import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.api import Joined
from federation.enrolment import certify
from federation.messages import PROTOCOL, Message, decode, encode
from federation.requests import sign_request
from federation.secagg.client import Agreed, Client
from federation.secagg.plan import Round
from federation.secagg.wire import Advertise, Reveal
from orchestrator.tables import devices, metadata
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.here import Here

TASK = task_of(20)
ROUND = f"/v1/tasks/{TASK.name}/rounds/1"
CHECK_IN = f"/v1/tasks/{TASK.name}/check-ins"
_OF_REQUESTS = {"counter", "minute", "requests"}


class Scene:
    """A federation with two devices in a round that is at its first step."""

    def __init__(self, here: Here, http: httpx.AsyncClient) -> None:
        self.here, self.http = here, http
        self.honest, self.other = (Device(http, lambda _round: np.zeros(40)) for _ in range(2))

    async def begin(self) -> None:
        """Both join; the honest one has advertised."""
        await self.here.open(TASK)
        invite = await self.here.invite(2)
        for device in (self.honest, self.other):
            await device.join(invite, TASK.name)
        joined = await self.honest.check_in()
        self.round = decode(joined.message, Round, 512)
        assert isinstance(joined, Joined)
        self.advert = self.client(self.honest).advertise()
        assert (await self.honest.signed("PUT", f"{ROUND}/advertise", encode(self.advert))).status_code == 204

    def client(self, device: Device, certificate: bytes | None = None) -> Client:
        """A device's part in the round."""
        agreed = Agreed(TASK.plan, TASK.name, TASK.digest, device.registrar, 3, 0)
        return Client(device.identity, certificate or device.certificate, self.round, agreed, os.urandom)

    async def kept(self) -> dict[str, list[tuple[object, ...]]]:
        """All that the database holds, but for how often devices asked."""
        async with self.here.database.transaction() as connection:
            return {
                table.name: [
                    tuple(value for name, value in row._mapping.items() if name not in _OF_REQUESTS)
                    for row in (await connection.execute(table.select())).all()
                ]
                for table in metadata.sorted_tables
            }

    async def refused(self, got: httpx.Response, before: object) -> None:
        """It was, and nothing changed."""
        assert 400 <= got.status_code < 500, got.text
        assert await self.kept() == before


def told(folder: Path, story: Callable[[Scene], Coroutine[None, None, None]]) -> None:
    async def tell() -> None:
        here = Here(folder)
        async with here.running() as http:
            scene = Scene(here, http)
            await scene.begin()
            await story(scene)

    asyncio.run(tell())


def test_messages_that_a_device_can_not_send_change_nothing(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        before = await scene.kept()
        honest, other = scene.honest, scene.other
        own = scene.client(other).advertise()
        stranger = Ed25519PrivateKey.generate()
        self_made = certify(stranger, scene.here.federation, other.device)
        elsewhere = Round.begin(scene.here.federation, TASK.name, 2, TASK.digest, os.urandom(32))
        agreed = Agreed(TASK.plan, TASK.name, TASK.digest, other.registrar, 3, 0)
        bad: dict[str, tuple[str, bytes]] = {
            "another device's advert": ("advertise", encode(scene.advert)),
            "a certificate of one's own": ("advertise", encode(scene.client(other, self_made).advertise())),
            "keys that it didn't sign": ("advertise", changed(own, mask_key=os.urandom(32))),
            "a key of small order": ("advertise", changed(own, mask_key=bytes(32))),
            "an advert of another round": (
                "advertise",
                encode(Client(other.identity, other.certificate, elsewhere, agreed, os.urandom).advertise()),
            ),
            "another encoding": ("advertise", encode(own).replace(b"\xc4\x20", b"\xc5\x00\x20", 1)),
            "another version": ("advertise", bytes([PROTOCOL + 1]) + encode(own)[1:]),
            "something behind it": ("advertise", encode(own) + b"\0"),
            "a message of a later step": ("reveal", encode(Reveal(other.device, os.urandom(32)))),
            "an advert at another step": ("share", encode(own)),
            "a step that there isn't": ("steal", encode(own)),
            "nothing": ("advertise", b""),
        }
        for name, (step, body) in bad.items():
            got = await other.signed("PUT", f"{ROUND}/{step}", body)
            assert 400 <= got.status_code < 500, name
            assert await scene.kept() == before, name
        for address in (f"{ROUND[:-1]}9/advertise", "/v1/tasks/none/rounds/1/advertise"):
            await scene.refused(await other.signed("PUT", address, encode(own)), before)
        second = encode(scene.client(honest).advertise())
        await scene.refused(await honest.signed("PUT", f"{ROUND}/advertise", second), before)
        assert (await honest.signed("PUT", f"{ROUND}/advertise", encode(scene.advert))).status_code == 204
        assert await scene.kept() == before  # the same once more: its answer may have been lost
        assert (await other.signed("PUT", f"{ROUND}/advertise", encode(own))).status_code == 204

    told(tmp_path, story)


def test_requests_that_nobody_signed_so_change_nothing(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        other, address = scene.other, f"{ROUND}/advertise"
        body = encode(scene.client(other).advertise())
        before = await scene.kept()

        def headers(
            identity: Ed25519PrivateKey = other.identity, counter: int = 10_000, late_s: float = 0
        ) -> dict[str, str]:
            return sign_request(identity, "PUT", address, body, counter, time.time() - late_s, os.urandom)

        good = headers()
        thief = Ed25519PrivateKey.generate()
        as_other = headers(thief)
        named = as_other["Signature-Input"].replace(thief.public_key().public_bytes_raw().hex(), other.device.hex())
        bad = {
            "no signature": {},
            "a stranger's": as_other,
            "a stranger's in a device's name": {**as_other, "Signature-Input": named},
            "an old one": headers(late_s=3600),
            "one of tomorrow": headers(late_s=-3600),
            "another counter": {**good, "Claw-Counter": "10001"},
            "two signatures": {**good, "Signature-Input": f"{good['Signature-Input']}, {good['Signature-Input']}"},
        }
        for name, sent in bad.items():
            got = await scene.http.put(address, content=body, headers=sent)
            assert got.status_code == 403, name
            assert await scene.kept() == before, name
        await scene.refused(await scene.http.put(address, content=body + b"\0", headers=good), before)
        await scene.refused(await scene.http.put(f"{ROUND}/reveal", content=body, headers=good), before)
        assert (await scene.http.put(address, content=body, headers=good)).status_code == 204
        after = await scene.kept()
        await scene.refused(await scene.http.put(address, content=body, headers=good), after)

    told(tmp_path, story)


def test_a_request_that_is_refused_is_used_up_all_the_same(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        other = scene.other
        body = encode(Reveal(other.device, os.urandom(32)))
        headers = sign_request(other.identity, "PUT", f"{ROUND}/reveal", body, 500, time.time(), os.urandom)
        assert (await scene.http.put(f"{ROUND}/reveal", content=body, headers=headers)).status_code == 409
        again = await scene.http.put(f"{ROUND}/reveal", content=body, headers=headers)
        assert (again.status_code, "before" in again.text) == (403, True)
        lower = sign_request(other.identity, "POST", CHECK_IN, b"", 499, time.time(), os.urandom)
        assert (await scene.http.post(CHECK_IN, headers=lower)).status_code == 403

    told(tmp_path, story)


def test_who_is_revoked_in_the_middle_of_a_round_is_out_of_it_at_once(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        async with scene.here.database.transaction() as connection:
            revoked = devices.update().where(devices.c.identity == scene.other.device).values(revoked=time.time())
            await connection.execute(revoked)
        before = await scene.kept()
        own = encode(scene.client(scene.other).advertise())
        for method, address, body in (
            ("PUT", f"{ROUND}/advertise", own),
            ("GET", f"{ROUND}/reveal", b""),
            ("POST", CHECK_IN, b""),
        ):
            await scene.refused(await scene.other.signed(method, address, body), before)
        assert (await scene.honest.signed("POST", CHECK_IN)).status_code == 200

    told(tmp_path, story)


def test_what_is_too_long_is_refused_before_it_is_read_to_its_end(tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        before = await scene.kept()
        for step, size in (("advertise", 1 << 20), ("mask", 1 << 24), ("share", 1 << 16)):
            got = await scene.other.signed("PUT", f"{ROUND}/{step}", bytes(size))
            assert got.status_code == 413
            assert await scene.kept() == before
        await scene.refused(await scene.http.post("/v1/devices", content=bytes(1 << 20)), before)
        await scene.refused(await scene.other.signed("POST", CHECK_IN, b"x"), before)

    told(tmp_path, story)


def changed(advert: Advertise, **fields: bytes) -> bytes:
    """An advert with other fields, under the same signature."""
    other: Message = msgspec.structs.replace(advert, **fields)
    return encode(other)
