"""An orchestrator, as a device reaches it: through the one door out, at a pinned key, each time with a consent.

What comes back is bounded, and read as what it has to be; nothing else of it is believed here. Updates go out as
`MaskedUpdate`, and in no other way.
"""

import os
import time
from collections.abc import Awaitable, Iterator
from typing import Literal, TypeVar, final
from urllib.parse import quote

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.api import (
    Admitted,
    AskToJoin,
    CheckInReply,
    Consistency,
    Failure,
    Joined,
    Leaf,
    ReleaseInfo,
    State,
    TaskInfo,
    Wait,
)
from federation.errors import Malformed
from federation.messages import decode, encode
from federation.requests import sign_request
from federation.secagg import wire
from federation.secagg.client import MaskedUpdate
from federation.secagg.plan import SecAggPlan
from fl_client.errors import Declined, NotBelieved, NotYet, Unreachable
from vault.classes import DataClass
from vault.egress import AsyncEgress, Pin, Purpose, Reply, Request
from vault.errors import EgressError, EgressRefused, VerificationFailed
from vault.federation_store import FederationRecord, FederationStore
from vault.sanitize import sanitize_line

__all__ = ["TOLD", "Link", "Said", "Told"]

_SMALL = 1 << 16
_TASKS = 1 << 22
_PROOF = 1 << 19
_SHOWN = 200
_AGAIN = frozenset({408, 429, 502, 503, 504})

Kind = TypeVar("Kind")
Told = wire.Roster | wire.Graph | wire.Deliver | wire.Survivors | wire.Consistent
Said = wire.Advertise | wire.Reveal | wire.Share | wire.Consistency | wire.Unmask
"""All that a device says in a round, but for its update."""

TOLD: dict[str, type[Told]] = {
    "reveal": wire.Roster,
    "share": wire.Graph,
    "mask": wire.Deliver,
    "confirm": wire.Survivors,
    "unmask": wire.Consistent,
}
"""What a device is told at the beginning of a step."""

_SAID: dict[type[Said], str] = {
    wire.Advertise: "keys for one round",
    wire.Reveal: "a random number that makes the round's graph",
    wire.Share: "shares of this round's secrets, sealed for other devices",
    wire.Consistency: "a signature: whose updates are summed",
    wire.Unmask: "shares of other devices' secrets of this round",
}


@final
class Link:
    """One federation's orchestrator.

    Args:
        door: The one door out.
        store: Holds this device's key in the federation.
        federation: Which.
        consent: That allows what is asked, as the transparency log names it.
    """

    def __init__(
        self, door: AsyncEgress, store: FederationStore, federation: FederationRecord, consent: str
    ) -> None:
        self._door = door
        self._store = store
        self._federation = federation
        self._consent = consent
        self._pins = tuple(Pin(pin) for pin in federation.pins)
        self._counters: Iterator[int] = iter(())
        self.identity = Ed25519PrivateKey.from_private_bytes(store.identity(federation.id).reveal())

    @property
    def device(self) -> bytes:
        """This device's identity in the federation, 32 bytes."""
        return self.identity.public_key().public_bytes_raw()

    async def ask_to_join(self, invite: bytes, proof: bytes) -> None:
        """Ask to be admitted.

        Args:
            invite: Which invite this device has, 32 bytes.
            proof: That it has it, 32 bytes.
        """
        asked = msgspec.json.encode(AskToJoin(self.device, invite, proof))
        what = "a public key that was made for this federation, and a proof of its invite"
        self._body(await self._send("POST", "/v1/devices", asked, what, signed=False))

    async def certificate(self) -> bytes | None:
        """The registrar's answer, 64 bytes; `None` while it hasn't looked."""
        path = f"/v1/devices/{self.device.hex()}/certificate"
        return self._json(await self._fetch(path, _SMALL, "whether this device is admitted"), Admitted).certificate

    async def tasks(self) -> list[TaskInfo]:
        """Every task that the federation has or had."""
        return self._json(await self._fetch("/v1/tasks", _TASKS, "which tasks there are"), list[TaskInfo])

    async def task(self, name: str) -> TaskInfo:
        """A task."""
        return self._json(await self._fetch(f"/v1/tasks/{quote(name)}", _PROOF, "how a task is"), TaskInfo)

    async def release(self, task: str, number: int) -> ReleaseInfo:
        """A release of a task."""
        path = f"/v1/tasks/{quote(task)}/releases/{number}"
        return self._json(await self._fetch(path, _SMALL, "what a release is"), ReleaseInfo)

    async def content(self, digest: bytes, size: int) -> bytes:
        """Released numbers; whether they are the right ones, the caller sees."""
        return self._body(await self._fetch(f"/v1/content/{digest.hex()}", size, "a release's numbers"))

    async def checkpoint(self) -> str:
        """The signed head of the log of releases."""
        data = self._body(await self._fetch("/v1/log/checkpoint", _SMALL, "the head of the log of releases"))
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self._nonsense() from None

    async def leaf(self, place: int, size: int) -> Leaf:
        """An entry of the log, as it was with so many entries."""
        path = f"/v1/log/leaves/{place}?size={size}"
        return self._json(await self._fetch(path, _PROOF, "an entry of the log of releases"), Leaf)

    async def consistency(self, old: int, size: int) -> list[bytes]:
        """What shows that the log with so many entries begins with an older one."""
        path = f"/v1/log/consistency?old={old}&size={size}"
        return self._json(await self._fetch(path, _SMALL, "how the log of releases went on"), Consistency).path

    async def check_in(self, task: str) -> Wait | Joined:
        """Say that this device is ready for a round.

        Raises:
            NotYet: it took part as often as it may, or the task is over.
        """
        reply = await self._send("POST", f"/v1/tasks/{quote(task)}/check-ins", b"", f"that it is ready for {task}")
        # A union of two of them: mypy takes a type, and no such thing.
        return self._json(reply, CheckInReply)  # type: ignore[arg-type]

    async def state(self, task: str, number: int) -> State:
        """How far a round is."""
        return self._json(await self._fetch(_round(task, number), _SMALL, "how far a round is"), State)

    async def told(self, task: str, number: int, step: str, plan: SecAggPlan) -> Told:
        """What this device is told at the beginning of a step.

        Raises:
            NotYet: the round is at another step.
            Declined: this device isn't in it.
        """
        kind = TOLD[step]
        most = wire.most_bytes(kind, plan)
        path = f"{_round(task, number)}/{step}"
        data = self._body(await self._fetch(path, most, f"what the step {step} begins with", signed=True))
        try:
            return decode(data, kind, most)
        except Malformed as error:
            raise NotBelieved(
                f"{self._federation.name} said something else than was due: {error.message}"
            ) from None

    async def say(self, task: str, number: int, step: str, message: Said) -> None:
        """Answer at a step of a round.

        Raises:
            TypeError: it is an update, or no message of a round at all.
            NotYet: the round is at another step.
            Declined: the orchestrator doesn't take it.
        """
        if type(message) not in _SAID:
            raise TypeError("An update is sent by `upload`, and nothing is that isn't a message of a round.")
        what = f"round {number} of {task}: {_SAID[type(message)]}"
        self._body(await self._send("PUT", f"{_round(task, number)}/{step}", encode(message), what))

    async def upload(self, task: str, number: int, masked: MaskedUpdate, what: str) -> None:
        """Send an update.

        Args:
            task: Of the round.
            number: Of the round.
            masked: Clipped, noised and masked.
            what: For the transparency log.

        Raises:
            TypeError: it is no `MaskedUpdate`.
            NotYet, Declined: as in `say`.
        """
        if type(masked) is not MaskedUpdate:
            raise TypeError("What is sent of an update is a MaskedUpdate, and nothing else.")
        self._body(await self._send("PUT", f"{_round(task, number)}/mask", encode(masked.message), what))

    async def _fetch(self, path: str, most: int, what: str, *, signed: bool = False) -> Reply:
        request = self._request("GET", path, b"", f"asks {what}", signed=signed)
        return await self._through(self._door.fetch(request, most=most))

    async def _send(
        self, method: Literal["POST", "PUT"], path: str, body: bytes, what: str, *, signed: bool = True
    ) -> Reply:
        request = self._request(method, path, body, f"says {what}", signed=signed)
        return await self._through(self._door.send(request, body, most=_SMALL, method=method))

    async def _through(self, answer: Awaitable[Reply]) -> Reply:
        try:
            return await answer
        except (EgressRefused, VerificationFailed):
            raise
        except EgressError as error:
            raise Unreachable(error.message, hint=error.hint) from None

    def _request(self, method: str, path: str, body: bytes, what: str, *, signed: bool) -> Request:
        return Request(
            purpose=Purpose.FEDERATION,
            url=self._federation.address + path,
            data_class=DataClass.MEDIUM,
            consent=self._consent,
            description=f"{self._federation.name}: this device {what}",
            pins=self._pins,
            signature=self._signature(method, path, body) if signed else {},
        )

    def _signature(self, method: str, path: str, body: bytes) -> dict[str, str]:
        counter = next(self._counters, None)
        if counter is None:
            self._counters = iter(self._store.counters(self._federation.id))
            counter = next(self._counters)
        return sign_request(self.identity, method, path, body, counter, time.time(), os.urandom)

    def _body(self, reply: Reply) -> bytes:
        """What came back, if it is what was asked for."""
        status = reply.answer.status
        if status in (200, 202, 204):
            return reply.body
        said = self._said(reply.body)
        if status in _AGAIN or status >= 500:
            raise Unreachable(f"{self._federation.name} can't answer right now{said}")
        if status == 409:
            raise NotYet(f"{self._federation.name} says no{said}")
        raise Declined(f"{self._federation.name} refuses{said}", status=status)

    def _json(self, reply: Reply, kind: type[Kind]) -> Kind:
        try:
            return msgspec.json.decode(self._body(reply), type=kind)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._nonsense() from None

    def _nonsense(self) -> NotBelieved:
        return NotBelieved(
            f"{self._federation.name} answers something that isn't of this protocol.",
            hint="It may be of another version of OpenClaw Core.",
        )

    @staticmethod
    def _said(body: bytes) -> str:
        """The orchestrator's words, as the end of a sentence."""
        try:
            return f": {sanitize_line(msgspec.json.decode(body, type=Failure).error, _SHOWN)}"
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return "."


def _round(task: str, number: int) -> str:
    return f"/v1/tasks/{quote(task)}/rounds/{number}"
