"""The very bytes that would leave: an update that is really learned, clipped, noised and masked, and stays here.

The round is played on this machine alone, by the protocol's own code, with as many devices as a round begins with;
the others' keys are made here and forgotten. In a real round other keys and other noise hide it, so that it looks
different; in kind, in length and in what can be read from it, it is the same.
"""

import hashlib
import os
from typing import NamedTuple

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.enrolment import Registrar, certify
from federation.messages import encode
from federation.privacy.clip import RawDelta, clip
from federation.privacy.noise import add_noise
from federation.secagg.client import Agreed, Client
from federation.secagg.plan import Round
from federation.secagg.server import Server
from federation.task import Task

__all__ = ["Preview", "preview_of"]


class Preview(NamedTuple):
    """What would leave.

    Attributes:
        data: The message, as it would be sent.
        sha256: Of it, in hex; the transparency log has that of each real one.
        length: L2 norm of what was learned.
        clipped: Of what is left of it after clipping.
        noise: Of this device's own share of the noise, about.
        even: Share of ones among the bits of the masked numbers; of random bits it is a half.
        devices: Of the round that was played.
    """

    data: bytes
    sha256: str
    length: float
    clipped: float
    noise: float
    even: float
    devices: int


def preview_of(task: Task, delta: RawDelta) -> Preview:
    """Make of an update what would be sent of it.

    Args:
        task: Whose plan it is for.
        delta: What was learned.

    Raises:
        Malformed: it isn't an update for this task.
    """
    plan, count = task.plan, task.plan.secagg.min_cohort
    authority, nonce = Ed25519PrivateKey.generate(), os.urandom(32)
    federation = os.urandom(32)
    registrar = Registrar(authority.public_key().public_bytes_raw(), federation)
    this = Round.begin(federation, task.name, 0, task.digest, nonce)
    agreed = Agreed(plan, task.name, task.digest, registrar, 3, 0)
    server = Server(plan.secagg, this, nonce, registrar, os.urandom)
    clients = []
    for _ in range(count):
        identity = Ed25519PrivateKey.generate()
        certificate = certify(authority, federation, identity.public_key().public_bytes_raw())
        clients.append(Client(identity, certificate, this, agreed, os.urandom))
    for client in clients:
        server.take_advert(client.advertise())
    roster = server.roster()
    for client in clients:
        server.take_reveal(client.reveal(roster))
    graph = server.graph()
    for client in clients:
        server.take_share(client.share(graph))
    server.close_shares()
    mine, privacy = clients[0], plan.privacy
    clipped = clip(delta, privacy)
    masked = mine.mask(server.deliver(mine.device), add_noise(clipped, privacy, os.urandom))
    data = encode(masked.message)
    ones = np.unpackbits(np.frombuffer(masked.message.packed, np.uint8))
    return Preview(
        data,
        hashlib.sha256(data).hexdigest(),
        float(np.linalg.norm(delta.values)),
        float(np.linalg.norm(clipped.values)),
        float(np.sqrt(privacy.variance * privacy.dimension) / privacy.scale),
        float(ones.mean()),
        count,
    )
