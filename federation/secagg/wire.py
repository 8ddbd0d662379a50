"""The messages of one round of secure aggregation, in their order; what each is for, `client` and `server` say.

Devices are named by their identity keys, and stand in the order of these. Lists that are about a device's
neighbours stand in the order of `graph.RandomGraph.neighbours`; an empty item is one that is missing.
"""

from typing import Annotated

import msgspec

from federation.digests import digest
from federation.messages import Digest, Key, Message, Signature, encode
from federation.secagg.plan import MAX_COHORT, MAX_DIMENSION, SecAggPlan
from federation.secagg.shamir import LIMBS

__all__ = [
    "SEALED_BYTES",
    "SHARE_BYTES",
    "Advertise",
    "Consistency",
    "Consistent",
    "Deliver",
    "Graph",
    "Masked",
    "Reveal",
    "Roster",
    "Share",
    "Survivors",
    "Unmask",
    "most_bytes",
]

SHARE_BYTES = 4 * LIMBS
"""Of one secret: nine elements as little-endian `uint32`."""
SEALED_BYTES = 2 * SHARE_BYTES + 16
"""A share of each of a device's two secrets, and the tag of the seal."""

_HEAD = 64
"""What a message takes beside its long fields, at most."""
_ADVERT = 320
_IDENTITY = 34
_Neighbours = msgspec.Meta(max_length=MAX_COHORT)
Sealed = Annotated[bytes, msgspec.Meta(max_length=SEALED_BYTES)]
Opened = Annotated[bytes, msgspec.Meta(max_length=SHARE_BYTES)]
MaybeDigest = Annotated[bytes, msgspec.Meta(max_length=32)]
MaybeSignature = Annotated[bytes, msgspec.Meta(max_length=64)]
Bitmap = Annotated[bytes, msgspec.Meta(max_length=MAX_COHORT // 8)]


class Advertise(Message, frozen=True, array_like=True, tag="advertise"):
    """Device: here I am, with keys for this round alone.

    Attributes:
        device: Its identity, an Ed25519 public key.
        certificate: The registrar's signature over the identity.
        mask_key: X25519 public key; of its private half the neighbours hold shares.
        seal_key: X25519 public key, for what is sealed from neighbour to neighbour.
        commitment: To what it adds to the graph's randomness.
        signature: The identity's, over the round and all of it.
    """

    device: Key
    certificate: Signature
    mask_key: Key
    seal_key: Key
    commitment: Digest
    signature: Signature


class Roster(Message, frozen=True, array_like=True, tag="roster"):
    """Server: the cohort, in the order of the identities."""

    adverts: Annotated[tuple[Advertise, ...], msgspec.Meta(min_length=1, max_length=MAX_COHORT)]

    def digest(self, round_digest: bytes) -> bytes:
        """What stands for the cohort in a round."""
        return digest("roster", round_digest, encode(self))


class Reveal(Message, frozen=True, array_like=True, tag="reveal"):
    """Device: what it committed itself to."""

    device: Key
    nonce: Digest


class Graph(Message, frozen=True, array_like=True, tag="graph"):
    """Server: what makes the graph, its own nonce and the devices'; who kept theirs back is out of the round."""

    server_nonce: Digest
    nonces: Annotated[tuple[MaybeDigest, ...], msgspec.Meta(min_length=1, max_length=MAX_COHORT)]


class Share(Message, frozen=True, array_like=True, tag="share"):
    """Device: shares of its two secrets, sealed for each of its neighbours.

    Attributes:
        device: Its identity.
        commitment: To the seed of its own mask, so that the server knows it when it is put together.
        sealed: By neighbour.
    """

    device: Key
    commitment: Digest
    sealed: Annotated[tuple[Sealed, ...], _Neighbours]


class Deliver(Message, frozen=True, array_like=True, tag="deliver"):
    """Server, to one device: who shared secrets, and what its neighbours sealed for it; empty for who is lost.

    Attributes:
        shared: A bit for each device of the graph, lowest bits first; the same for all of them.
        sealed: By neighbour.
    """

    shared: Bitmap
    sealed: Annotated[tuple[Sealed, ...], _Neighbours]


class Masked(Message, frozen=True, array_like=True, tag="masked"):
    """Device: its update, noised and masked.

    Attributes:
        device: Its identity.
        packed: The update, as the ring packs.
        signature: The identity's, over who shared: these are whom it was masked with.
    """

    device: Key
    packed: Annotated[bytes, msgspec.Meta(max_length=4 * MAX_DIMENSION)]
    signature: Signature


class Survivors(Message, frozen=True, array_like=True, tag="survivors"):
    """Server: whose update it has, a bit for each device of the graph, lowest bits first.

    Nobody can be in both of two lists, for there is one: who shared and isn't alive is lost.
    """

    alive: Bitmap


class Consistency(Message, frozen=True, array_like=True, tag="consistency"):
    """Device: its signature under who shared and who is alive, as it was told."""

    device: Key
    signature: Signature


class Consistent(Message, frozen=True, array_like=True, tag="consistent"):
    """Server, to one device: what others signed; empty where somebody didn't.

    Attributes:
        signatures: Under who shared and who is alive: those of all devices of the graph.
        uploads: Those that came with the neighbours' updates, by neighbour.
    """

    signatures: Annotated[tuple[MaybeSignature, ...], _Neighbours]
    uploads: Annotated[tuple[MaybeSignature, ...], _Neighbours]


class Unmask(Message, frozen=True, array_like=True, tag="unmask"):
    """Device: of each neighbour one share: of its mask's seed if it is alive, of its mask key if it was lost."""

    device: Key
    shares: Annotated[tuple[Opened, ...], _Neighbours]


def most_bytes(kind: type[Message], plan: SecAggPlan) -> int:
    """How long a message of a kind can be in a round by a plan: what is longer isn't even decoded.

    Args:
        kind: One of this module's.
        plan: The plan.
    """
    bitmap = plan.max_cohort // 8 + 4
    beside = {
        Advertise: _ADVERT,
        Roster: plan.max_cohort * _ADVERT,
        Reveal: 2 * _IDENTITY,
        Graph: _IDENTITY * (1 + plan.max_cohort),
        Share: 2 * _IDENTITY + plan.neighbours * (SEALED_BYTES + 2),
        Deliver: bitmap + plan.neighbours * (SEALED_BYTES + 2),
        Masked: _IDENTITY + 66 + 5 + plan.ring.size(plan.dimension),
        Survivors: bitmap,
        Consistency: _IDENTITY + 66,
        Consistent: (plan.max_cohort + plan.neighbours) * 66,
        Unmask: _IDENTITY + plan.neighbours * (SHARE_BYTES + 2),
    }
    return _HEAD + beside[kind]
