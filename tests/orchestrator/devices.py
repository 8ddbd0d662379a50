"""Devices as an orchestrator sees them: they speak the protocol, and train nothing."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine

import httpx
import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from federation.api import Admitted, AskToJoin, CheckInReply, Joined, State, TaskInfo
from federation.enrolment import Registrar
from federation.errors import Refused
from federation.invites import Invite, proof_of
from federation.messages import Message, decode, encode
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import add_noise
from federation.requests import sign_request
from federation.secagg.client import Agreed, Client
from federation.secagg.plan import Round
from federation.secagg.server import STEPS
from federation.secagg.wire import Consistent, Deliver, Graph, Roster, Survivors, most_bytes
from federation.task import Task, read_task

__all__ = ["Device", "Lost"]

_TOLD: dict[str, type[Message]] = {
    "reveal": Roster,
    "share": Graph,
    "mask": Deliver,
    "confirm": Survivors,
    "unmask": Consistent,
}


class Lost(Exception):
    """The round went on without this device, or ended."""


class Device:
    """One device.

    Args:
        http: Reaches the orchestrator.
        update: What it learned in a round, shape (parameters,); given the round's number.
        pause_s: Between two questions whether a step begins.

    Attributes:
        sent: Rounds whose sums have its update, as it was told.
        client: Its part in the round that it was in last, with all its secrets.
    """

    def __init__(
        self, http: httpx.AsyncClient, update: Callable[[int], NDArray[np.float64]], *, pause_s: float = 0.05
    ) -> None:
        self.identity = Ed25519PrivateKey.generate()
        self.device = self.identity.public_key().public_bytes_raw()
        self._http = http
        self._update = update
        self._pause_s = pause_s
        self._counter = 0
        self.certificate = b""
        self.registrar: Registrar
        self.task: Task
        self.client: Client
        self.sent: set[int] = set()

    async def join(self, invite: Invite, task: str) -> None:
        proof = proof_of(invite.secret, invite.federation, self.device)
        asked = msgspec.json.encode(AskToJoin(self.device, invite.id, proof))
        (await self._again(lambda: self._http.post("/v1/devices", content=asked))).raise_for_status()
        address = f"/v1/devices/{self.device.hex()}/certificate"
        while not self.certificate:
            got = (await self._again(lambda: self._http.get(address))).raise_for_status()
            self.certificate = msgspec.json.decode(got.content, type=Admitted).certificate or b""
            await asyncio.sleep(0.02)
        self.registrar = Registrar(invite.registrar, invite.federation)
        got = await self._again(lambda: self._http.get(f"/v1/tasks/{task}"))
        self.task = read_task(msgspec.json.decode(got.content, type=TaskInfo).message)

    def begin(self, task: Task) -> None:
        """Turn to a task."""
        self.task, self.sent = task, set()

    @property
    def next_counter(self) -> int:
        """Of its next request."""
        return self._counter + 1

    async def signed(self, method: str, target: str, body: bytes = b"") -> httpx.Response:
        self._counter += 1
        headers = sign_request(self.identity, method, target, body, self._counter, time.time(), os.urandom)
        return await self._http.request(method, target, content=body, headers=headers)

    async def check_in(self) -> Joined:
        """Wait for a round."""
        while True:
            got = await self._persistent("POST", f"/v1/tasks/{self.task.name}/check-ins")
            if got.status_code == 409:
                raise Lost(got.text)
            got.raise_for_status()
            reply = msgspec.json.decode(got.content, type=CheckInReply)
            if isinstance(reply, Joined):
                return reply
            await asyncio.sleep(min(reply.seconds, 0.2))

    async def take_part(self, *, leaves_before: str = "") -> int:
        """One round, from check-in to its end; its number.

        Raises:
            Lost: it went on without this device, or ended without a sum.
        """
        joined = await self.check_in()
        this = decode(joined.message, Round, 512)
        agreed = Agreed(self.task.plan, self.task.name, self.task.digest, self.registrar, 3, 0)
        client = self.client = Client(self.identity, self.certificate, this, agreed, os.urandom)
        address = f"/v1/tasks/{self.task.name}/rounds/{joined.number}"
        for step in STEPS:
            if step == leaves_before:
                raise Lost(step)
            told = await self._told(address, step) if step in _TOLD else None
            try:
                message = self._said(client, told, joined.number)
            except Refused as error:
                raise Lost(error.message) from None
            got = await self._persistent("PUT", f"{address}/{step}", encode(message))
            if got.status_code != 204:
                raise Lost(got.text)
            if step == "mask":
                self.sent.add(joined.number)
        await self._ended(address)
        return joined.number

    async def _told(self, address: str, step: str) -> Message:
        while True:
            got = await self._persistent("GET", f"{address}/{step}")
            if got.status_code == 200:
                kind = _TOLD[step]
                return decode(got.content, kind, most_bytes(kind, self.task.plan.secagg))
            if got.status_code != 409 or self._is_over(await self._state(address), step):
                raise Lost(got.text)
            await asyncio.sleep(self._pause_s)

    async def _ended(self, address: str) -> None:
        while (state := await self._state(address)).step not in ("done", "aborted"):
            await asyncio.sleep(self._pause_s)
        if state.step == "aborted":
            raise Lost(state.outcome)

    async def _state(self, address: str) -> State:
        got = await self._persistent("GET", address)
        got.raise_for_status()
        return msgspec.json.decode(got.content, type=State)

    async def _persistent(self, method: str, target: str, body: bytes = b"") -> httpx.Response:
        """A signed request that is made again while nobody answers it."""
        return await self._again(lambda: self.signed(method, target, body))

    @staticmethod
    async def _again(request: Callable[[], Coroutine[None, None, httpx.Response]]) -> httpx.Response:
        for _ in range(600):
            try:
                got = await request()
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if got.status_code not in (429, 502, 503, 504):
                return got
            await asyncio.sleep(0.1)
        raise Lost("nobody answers")

    def _said(self, client: Client, told: Message | None, number: int) -> Message:
        """What it says to what it is told."""
        if isinstance(told, Roster):
            return client.reveal(told)
        if isinstance(told, Graph):
            return client.share(told)
        if isinstance(told, Deliver):
            privacy = self.task.plan.privacy
            noised = add_noise(clip(RawDelta(self._update(number)), privacy), privacy, os.urandom)
            return client.mask(told, noised).message
        if isinstance(told, Survivors):
            return client.confirm(told)
        if isinstance(told, Consistent):
            return client.unmask(told)
        return client.advertise()

    @staticmethod
    def _is_over(state: State, step: str) -> bool:
        return state.step not in STEPS or STEPS.index(state.step) > STEPS.index(step)
