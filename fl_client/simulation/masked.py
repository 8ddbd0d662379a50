"""A round with all its masks: every device and the server as they are, and every message as it is on the wire."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.digests import digest
from federation.enrolment import Registrar, certify
from federation.errors import Refused
from federation.messages import Message, decode, encode
from federation.privacy.noise import NoisedDelta
from federation.ring import Vector
from federation.secagg.client import Agreed, Client
from federation.secagg.plan import Round
from federation.secagg.server import Server
from federation.secagg.wire import most_bytes
from federation.stream import Random
from federation.task import Task

__all__ = ["masked_sum"]

Sent = TypeVar("Sent", bound=Message)
_FEDERATION = digest("simulated federation")


def masked_sum(
    task: Task,
    number: int,
    updates: Mapping[int, Callable[[], NoisedDelta] | None],
    random: Callable[[int], Random],
) -> Vector:
    """What a server opens of a round.

    Args:
        task: The task.
        number: Of the round.
        updates: Of each device of the cohort what makes its update; `None` for those that are lost before they
            send one.
        random: Bytes for each device; for the server and the registrar those of -1.

    Returns:
        The sum in the ring, shape (dimension,).

    Raises:
        Aborted: too few devices are left.
    """
    ours = random(-1)
    authority = Ed25519PrivateKey.from_private_bytes(ours(32))
    registrar = Registrar(authority.public_key().public_bytes_raw(), _FEDERATION)
    nonce = ours(32)
    this = Round.begin(_FEDERATION, task.name, number, task.digest, nonce)
    server = Server(task.plan.secagg, this, nonce, registrar, ours)
    agreed = Agreed(task.plan, task.name, task.digest, registrar, 3, task.plan.secagg.corrupt)
    devices: dict[int, Client] = {}
    for device in updates:
        own = random(device)
        identity = Ed25519PrivateKey.from_private_bytes(own(32))
        certificate = certify(authority, _FEDERATION, identity.public_key().public_bytes_raw())
        devices[device] = Client(identity, certificate, this, agreed, own)

    def wired(message: Sent) -> Sent:
        """What arrives of a message that is sent."""
        kind = type(message)
        return decode(encode(message), kind, most_bytes(kind, task.plan.secagg))

    def each(do: Callable[[int, Client], None]) -> None:
        for device, client in list(devices.items()):
            try:
                do(device, client)
            except Refused:  # it goes no further, and is lost to the round
                del devices[device]

    def send(device: int, client: Client) -> None:
        make = updates[device]
        if make is None:
            raise Refused("The device was lost.")
        server.take_masked(wired(client.mask(wired(server.deliver(client.device)), make()).message))

    each(lambda _device, client: server.take_advert(wired(client.advertise())))
    roster = wired(server.roster())
    each(lambda _device, client: server.take_reveal(wired(client.reveal(roster))))
    graph = wired(server.graph())
    each(lambda _device, client: server.take_share(wired(client.share(graph))))
    server.close_shares()
    each(send)
    survivors = wired(server.survivors())
    each(lambda _device, client: server.take_consistency(wired(client.confirm(survivors))))
    server.close_consistency()
    each(lambda _device, client: server.take_unmask(wired(client.unmask(wired(server.consistent(client.device))))))
    return server.sum()
