"""What both sides make of the same messages: adverts that are believed, the graph, the digest it all hangs on."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from federation.digests import DIGEST_BYTES, digest, is_signed
from federation.enrolment import Registrar
from federation.errors import Malformed, Refused
from federation.messages import encode
from federation.secagg.graph import Place, RandomGraph
from federation.secagg.keys import commitment
from federation.secagg.plan import Round, SecAggPlan, commitment_to_server_nonce
from federation.secagg.wire import Advertise, Graph, Roster

__all__ = [
    "ADVERT",
    "SEED",
    "SURVIVORS",
    "UPLOAD",
    "View",
    "check_advert",
    "commitment_to_nonce",
    "from_bitmap",
    "listed",
    "signed_of",
    "to_bitmap",
    "view_of",
]

ADVERT = "advertise"
UPLOAD = "upload"
SURVIVORS = "survivors"
SEED = "seed"
"""What is signed, and committed to."""

Item = TypeVar("Item")


class View(NamedTuple):
    """What a round is once its graph stands; who sees another one derives other keys, and fits no one.

    Attributes:
        adverts: Of the devices that revealed what they had committed themselves to, in the order of the identities.
        graph: Who is whose neighbour, by their numbers in that order.
        digest: Stands for round, plan, cohort and graph.
    """

    adverts: tuple[Advertise, ...]
    graph: RandomGraph
    digest: bytes

    def number_of(self, device: bytes) -> int:
        """A device's number.

        Raises:
            Malformed: it isn't in the graph.
        """
        for number, advert in enumerate(self.adverts):
            if advert.device == device:
                return number
        raise Malformed("A message is of a device that isn't in this round.")


def signed_of(advert: Advertise, round_digest: bytes) -> tuple[bytes, ...]:
    """What an advert's signature covers."""
    return round_digest, advert.device, advert.mask_key, advert.seal_key, advert.commitment


def commitment_to_nonce(round_digest: bytes, device: bytes, nonce: bytes) -> bytes:
    """What a device tells of its part of the graph's randomness when it advertises."""
    return commitment("nonce", round_digest, device, nonce)


def check_advert(advert: Advertise, round_digest: bytes, registrar: Registrar) -> None:
    """Believe an advert.

    Raises:
        Refused: its device wasn't admitted, or didn't sign it for this round.
    """
    if not registrar.vouches_for(advert.device, advert.certificate):
        raise Refused("A device of the cohort was never admitted to the federation.")
    if not is_signed(advert.device, advert.signature, ADVERT, *signed_of(advert, round_digest)):
        raise Refused("A device of the cohort didn't sign its keys for this round.")


def view_of(roster: Roster, graph: Graph, this: Round, plan: SecAggPlan) -> View:
    """The graph that was revealed.

    Args:
        roster: The cohort, checked.
        graph: What was revealed.
        this: The round.
        plan: How many neighbours each has, and how many may have kept something back.

    Raises:
        Malformed: it is about another number of devices.
        Refused: something else was revealed than was committed to, or too little.
    """
    if commitment_to_server_nonce(graph.server_nonce) != this.server_commitment:
        raise Refused("The server revealed another nonce than it had committed itself to.")
    if len(graph.nonces) != len(roster.adverts):
        raise Malformed("The nonces are of another cohort.")
    adverts = []
    for advert, nonce in zip(roster.adverts, graph.nonces, strict=True):
        if not nonce:
            continue
        if (
            len(nonce) != DIGEST_BYTES
            or commitment_to_nonce(this.digest, advert.device, nonce) != advert.commitment
        ):
            raise Refused("A nonce isn't the one that its device had committed itself to.")
        adverts.append(advert)
    if len(roster.adverts) - len(adverts) > plan.max_silent:
        raise Refused("More devices kept back what makes the graph than the plan allows.")
    if len(adverts) < plan.min_cohort:
        raise Refused(f"{len(adverts)} devices are left; the plan asks for {plan.min_cohort}.")
    view = digest("graph", roster.digest(this.digest), encode(graph))
    devices = [advert.device for advert in adverts]
    return View(tuple(adverts), RandomGraph(digest("circle", view), devices, plan.neighbours), view)


def listed(places: Sequence[Place], items: Sequence[Item]) -> list[tuple[Place, Item]]:
    """The items of a message, each with the neighbour that it is about.

    Raises:
        Malformed: there is another number of items than of neighbours.
    """
    if len(items) != len(places):
        raise Malformed(f"A message is about {len(items)} neighbours; there are {len(places)}.")
    return list(zip(places, items, strict=True))


def to_bitmap(flags: Sequence[bool]) -> bytes:
    """A bit for each device, lowest bits first."""
    number = sum(1 << place for place, flag in enumerate(flags) if flag)
    return number.to_bytes(-(-len(flags) // 8), "little")


def from_bitmap(bitmap: bytes, count: int) -> list[bool]:
    """The flags of so many devices.

    Raises:
        Malformed: it is of another number of devices.
    """
    number = int.from_bytes(bitmap, "little")
    if len(bitmap) != -(-count // 8) or number >> count:
        raise Malformed("A list of devices is of another cohort.")
    return [bool(number >> place & 1) for place in range(count)]
