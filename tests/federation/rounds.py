"""A whole round in one process: devices, a server, and whatever is lost or changed on the way between them."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.digests import digest
from federation.enrolment import Registrar, certify
from federation.errors import Refused
from federation.messages import Message, decode, encode
from federation.plan import Plan
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import NoisedDelta, add_noise
from federation.privacy.plan import PrivacyPlan
from federation.ring import Vector
from federation.secagg.client import Agreed, Client
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.server import Server
from federation.secagg.wire import most_bytes

__all__ = ["FEDERATION", "Federation", "Lost", "Opened", "numbers_of", "plan_of", "run"]

FEDERATION = digest("test federation")

Sent = TypeVar("Sent", bound=Message)
Lost = Mapping[str, Collection[int]]
"""By the step that they don't take any more: numbers of devices."""


def plan_of(secagg: SecAggPlan, privacy: PrivacyPlan) -> Plan:
    """A plan of both parts, for one participation."""
    return Plan(privacy, secagg, 1, 1e-5)


def numbers_of(noised: NoisedDelta) -> Vector:
    """What is in an update that can be taken once; a look that only a test takes."""
    (vector,) = noised._vector
    return vector.copy()


@dataclass
class Federation:
    """A registrar and its devices, and one round that they are about to begin.

    Attributes:
        size: How many devices.
        plan: How their updates are made private and aggregated.
        one_registrar: Whether all devices share one memory of the certificates that they have looked at; else each
            has its own, over all rounds.
    """

    size: int
    plan: Plan
    random: Callable[[int], bytes] = os.urandom
    number: int = 1
    one_registrar: bool = False
    devices: list[Client] = field(init=False)
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        authority = Ed25519PrivateKey.from_private_bytes(self.random(32))
        self.registrar_key = authority.public_key().public_bytes_raw()
        self._known = [Registrar(self.registrar_key, FEDERATION)]
        if not self.one_registrar:
            self._known += [Registrar(self.registrar_key, FEDERATION) for _ in range(self.size)]
        self.identities = [Ed25519PrivateKey.from_private_bytes(self.random(32)) for _ in range(self.size)]
        self.certificates = [
            certify(authority, FEDERATION, identity.public_key().public_bytes_raw()) for identity in self.identities
        ]
        self.begin()

    def begin(self) -> None:
        """Begin the next round, of the same devices."""
        nonce, self.number = self.random(32), self.number + 1
        self.round = Round.begin(FEDERATION, "test", self.number, self.plan.digest, nonce)
        self.server = Server(self.plan.secagg, self.round, nonce, self.registrar(-1), self.random)
        self.devices = [self.client(number) for number in range(self.size)]

    def number_of(self, device: bytes) -> int:
        return [client.device for client in self.devices].index(device)

    def registrar(self, number: int) -> Registrar:
        """As a device knows it; the server is -1."""
        return self._known[0 if self.one_registrar else number + 1]

    def agreed(self, min_cohort: int = 3, corrupt: int = 0, *, number: int = 0) -> Agreed:
        return Agreed(self.plan, "test", self.plan.digest, self.registrar(number), min_cohort, corrupt)

    def client(self, number: int) -> Client:
        agreed = self.agreed(number=number)
        return Client(self.identities[number], self.certificates[number], self.round, agreed, self.random)

    def update(self, seed: int) -> NoisedDelta:
        privacy = self.plan.privacy
        values = np.random.default_rng(seed).normal(size=privacy.parameters)
        return add_noise(clip(RawDelta(values), privacy), privacy, self.random)


class Opened(NamedTuple):
    """What a server opened.

    Attributes:
        total: The sum, in the ring.
        sent: The devices that sent their updates.
        expected: The sum of these.
    """

    total: Vector
    sent: list[int]
    expected: Vector

    @property
    def is_right(self) -> bool:
        return np.array_equal(self.total, self.expected)


def run(
    federation: Federation,
    updates: list[NoisedDelta],
    lost: Lost,
    seen: Callable[[Message], object] = lambda _message: None,
) -> Opened:
    """Run the round; a device that refuses to go on is lost.

    Args:
        federation: Who takes part.
        updates: Of each device.
        lost: Who is lost before which step.
        seen: Told of every message.

    Returns:
        What the server opened.

    Raises:
        Aborted: it opened none.
    """
    server, gone, sent = federation.server, set[int](), list[int]()

    def wired(message: Sent) -> Sent:
        """What arrives of a message that is sent."""
        kind = type(message)
        seen(message)
        return decode(encode(message), kind, most_bytes(kind, federation.plan.secagg))

    def each(step: str, do: Callable[[int, Client], None]) -> None:
        gone.update(lost.get(step, ()))
        for number, device in enumerate(federation.devices):
            if number not in gone:
                try:
                    do(number, device)
                except Refused:  # too few of its neighbours are left
                    gone.add(number)

    expected = np.zeros(federation.plan.secagg.dimension, np.uint32)

    def send(number: int, device: Client) -> None:
        numbers = numbers_of(updates[number])
        masked = device.mask(wired(server.deliver(device.device)), updates[number]).message
        server.take_masked(wired(masked))
        sent.append(number)
        np.add(expected, numbers, out=expected)

    each("advertise", lambda _number, device: server.take_advert(wired(device.advertise())))
    roster = wired(server.roster())
    each("reveal", lambda _number, device: server.take_reveal(wired(device.reveal(roster))))
    graph = wired(server.graph())
    each("share", lambda _number, device: server.take_share(wired(device.share(graph))))
    server.close_shares()
    each("mask", send)
    survivors = wired(server.survivors())
    each("confirm", lambda _number, device: server.take_consistency(wired(device.confirm(survivors))))
    server.close_consistency()

    def unmask(_number: int, device: Client) -> None:
        server.take_unmask(wired(device.unmask(wired(server.consistent(device.device)))))

    each("unmask", unmask)
    return Opened(server.sum(), sent, expected & federation.plan.secagg.ring.mask)
