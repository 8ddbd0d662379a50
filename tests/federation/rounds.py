"""A whole round in one process: devices, a server, and whatever is lost or changed on the way between them."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.digests import digest
from federation.enrolment import Registrar, certify
from federation.errors import Refused
from federation.messages import Message, decode, encode
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import NoisedDelta, add_noise
from federation.privacy.plan import PrivacyPlan
from federation.ring import Vector
from federation.secagg.client import Agreed, Client
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.server import Server
from federation.secagg.wire import most_bytes

__all__ = ["FEDERATION", "Federation", "Lost", "run"]

FEDERATION = digest("test federation")

Sent = TypeVar("Sent", bound=Message)
Lost = Mapping[str, Collection[int]]
"""By the step that they don't take any more: numbers of devices."""


@dataclass
class Federation:
    """A registrar and its devices, and one round that they are about to begin.

    Attributes:
        size: How many devices.
        plan: How they aggregate.
        privacy: How their updates are made private.
    """

    size: int
    plan: SecAggPlan
    privacy: PrivacyPlan
    random: Callable[[int], bytes] = os.urandom
    number: int = 1
    devices: list[Client] = field(init=False)
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        authority = Ed25519PrivateKey.from_private_bytes(self.random(32))
        self.registrar_key = authority.public_key().public_bytes_raw()
        self.identities = [Ed25519PrivateKey.from_private_bytes(self.random(32)) for _ in range(self.size)]
        self.certificates = [
            certify(authority, FEDERATION, identity.public_key().public_bytes_raw()) for identity in self.identities
        ]
        self.begin()

    def begin(self) -> None:
        """Begin the next round, of the same devices."""
        nonce, self.number = self.random(32), self.number + 1
        self.round = Round.begin(FEDERATION, "test", self.number, self.plan.digest, nonce)
        self.server = Server(self.plan, self.round, nonce, self.registrar(), self.random)
        self.devices = [self.client(number) for number in range(self.size)]

    def number_of(self, device: bytes) -> int:
        return [client.device for client in self.devices].index(device)

    def registrar(self) -> Registrar:
        return Registrar(self.registrar_key, FEDERATION)

    def agreed(self, min_cohort: int = 3) -> Agreed:
        return Agreed(self.plan, self.plan.digest, self.registrar(), min_cohort)

    def client(self, number: int) -> Client:
        return Client(self.identities[number], self.certificates[number], self.round, self.agreed(), self.random)

    def update(self, seed: int) -> NoisedDelta:
        values = np.random.default_rng(seed).normal(size=self.privacy.parameters)
        return add_noise(clip(RawDelta(values), self.privacy), self.privacy, self.random)


def run(
    federation: Federation,
    updates: list[NoisedDelta],
    lost: Lost,
    seen: Callable[[Message], object] = lambda _message: None,
) -> tuple[Vector, list[int]]:
    """Run the round; a device that refuses to go on is lost.

    Args:
        federation: Who takes part.
        updates: Of each device.
        lost: Who is lost before which step.
        seen: Told of every message.

    Returns:
        The sum that the server opened, and the devices that sent their updates.

    Raises:
        Aborted: it opened none.
    """
    server, gone, sent = federation.server, set[int](), list[int]()

    def wired(message: Sent) -> Sent:
        """What arrives of a message that is sent."""
        kind = type(message)
        seen(message)
        return decode(encode(message), kind, most_bytes(kind, federation.plan))

    def each(step: str, do: Callable[[int, Client], None]) -> None:
        gone.update(lost.get(step, ()))
        for number, device in enumerate(federation.devices):
            if number not in gone:
                try:
                    do(number, device)
                except Refused:  # too few of its neighbours are left
                    gone.add(number)

    def send(number: int, device: Client) -> None:
        masked = device.mask(wired(server.deliver(device.device)), updates[number]).message
        server.take_masked(wired(masked))
        sent.append(number)

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
    return server.sum(), sent
