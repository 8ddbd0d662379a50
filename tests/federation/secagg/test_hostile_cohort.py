"""A server that does as it likes with keys, cohorts, graphs, plans and turns: the device refuses."""

import os
from collections.abc import Callable

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.digests import sign
from federation.enrolment import certify
from federation.errors import FederationError, OutOfTurn, Refused
from federation.secagg.client import Client
from federation.secagg.cohort import ADVERT, signed_of, to_bitmap
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.wire import (
    Advertise,
    Consistent,
    Deliver,
    Graph,
    Roster,
)
from tests.federation.rounds import FEDERATION, Federation, plan_of
from tests.federation.secagg.story import (
    COHORT,
    PLAN,
    PRIVACY,
    VICTIM,
    Story,
)

SMALL_ORDER = [
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
]
"""The points of small order of Curve25519, and what is read as one (RFC 7748, section 6.1; Bernstein's list)."""


def with_advert(roster: Roster, number: int, **fields: object) -> Roster:
    adverts = list(roster.adverts)
    adverts[number] = msgspec.structs.replace(adverts[number], **fields)
    return Roster(tuple(sorted(adverts, key=lambda advert: advert.device)))


# Keys and cohorts


@pytest.mark.parametrize("field", ["mask_key", "seal_key", "commitment", "certificate", "signature"])
def test_a_key_that_the_server_puts_in_the_place_of_another_is_refused(story: Story, field: str) -> None:
    roster = story.to_roster()
    other = next(n for n, advert in enumerate(roster.adverts) if advert.device != story.victim.device)
    size = len(getattr(roster.adverts[other], field))
    with pytest.raises(Refused):
        story.victim.reveal(with_advert(roster, other, **{field: os.urandom(size)}))


def test_other_keys_for_the_device_itself_are_refused(story: Story) -> None:
    roster = story.to_roster()
    own = next(n for n, advert in enumerate(roster.adverts) if advert.device == story.victim.device)
    with pytest.raises(Refused):
        story.victim.reveal(with_advert(roster, own, mask_key=os.urandom(32)))


def sybil(federation: Federation, certificate: bytes | None = None) -> Advertise:
    """An advert of a device that the server makes up."""
    identity = Ed25519PrivateKey.generate()
    device = identity.public_key().public_bytes_raw()
    if certificate is None:
        certificate = certify(Ed25519PrivateKey.generate(), FEDERATION, device)
    unsigned = Advertise(device, certificate, os.urandom(32), os.urandom(32), os.urandom(32), b"")
    signature = sign(identity, ADVERT, *signed_of(unsigned, federation.round.digest))
    return msgspec.structs.replace(unsigned, signature=signature)


def test_a_cohort_of_one_and_sybils_is_refused(story: Story) -> None:
    own = next(advert for advert in story.to_roster().adverts if advert.device == story.victim.device)
    sybils = [sybil(story.federation) for _ in range(COHORT - 1)]
    with pytest.raises(Refused, match="admitted"):
        story.victim.reveal(Roster(tuple(sorted([own, *sybils], key=lambda advert: advert.device))))


def test_the_certificate_of_another_device_makes_none_of_a_sybil(story: Story) -> None:
    roster = story.to_roster()
    fake = sybil(story.federation, roster.adverts[1].certificate)
    others = [advert for advert in roster.adverts if advert.device != story.victim.device][1:]
    own = next(advert for advert in roster.adverts if advert.device == story.victim.device)
    with pytest.raises(Refused):
        story.victim.reveal(Roster(tuple(sorted([own, fake, *others], key=lambda advert: advert.device))))


@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_cohort_below_the_plans_minimum_is_refused(story: Story, count: int) -> None:
    adverts = [advert for advert in story.to_roster().adverts if advert.device != story.victim.device]
    own = next(advert for advert in story.server._roster.adverts if advert.device == story.victim.device)
    with pytest.raises(Refused, match="too small"):
        story.victim.reveal(Roster(tuple(sorted([own, *adverts[: count - 1]], key=lambda a: a.device))))


def test_a_cohort_below_the_devices_own_minimum_is_refused_whatever_the_plan_says(federation: Federation) -> None:
    story = Story(federation)
    careful = Client(
        federation.identities[VICTIM],
        federation.certificates[VICTIM],
        federation.round,
        federation.agreed(min_cohort=COHORT + 1),
        os.urandom,
    )
    story.devices[VICTIM] = careful
    roster = story.to_roster()
    with pytest.raises(Refused, match="too small"):
        careful.reveal(roster)


@pytest.mark.parametrize(
    "change",
    [
        lambda adverts: (*adverts, adverts[-1]),
        lambda adverts: adverts[::-1],
        lambda adverts: adverts[:-1] + adverts[:1],
    ],
)
def test_a_cohort_that_names_a_device_twice_or_in_another_order_is_refused(
    story: Story, change: Callable[[tuple[Advertise, ...]], tuple[Advertise, ...]]
) -> None:
    with pytest.raises(Refused):
        story.victim.reveal(Roster(change(story.to_roster().adverts)))


@pytest.fixture(scope="module")
def complete() -> Federation:
    """A federation in which each device is everybody's neighbour."""
    return Federation(9, plan_of(SecAggPlan(64, 18, 8, 6, 9, 9, 8, 0, 0), PRIVACY))


@pytest.mark.parametrize("key", SMALL_ORDER)
@pytest.mark.parametrize("field", ["mask_key", "seal_key"])
def test_an_admitted_device_with_a_key_of_small_order_is_refused_by_both_sides(
    complete: Federation, key: bytes, field: str
) -> None:
    story = Story(complete)
    weak = msgspec.structs.replace(story.devices[1].advertise(), **{field: key})
    signature = sign(complete.identities[1], ADVERT, *signed_of(weak, complete.round.digest))
    weak = msgspec.structs.replace(weak, signature=signature)
    with pytest.raises(Refused, match="agrees on the same"):
        story.server.take_advert(weak)

    adverts = [weak, *(device.advertise() for device in story.devices if device is not story.devices[1])]
    roster = Roster(tuple(sorted(adverts, key=lambda advert: advert.device)))
    nonces = {device.device: device._nonce for device in story.devices}
    story.victim.reveal(roster)
    graph = Graph(story.server._nonce, tuple(nonces[advert.device] for advert in roster.adverts))

    def on() -> None:
        story.victim.share(graph)
        story.victim.mask(Deliver(to_bitmap([True] * 9), tuple(bytes(88) for _ in range(8))), complete.update(1))

    with pytest.raises(Refused, match="agrees on the same"):
        on()


# The graph


def test_a_graph_of_nonces_that_were_not_committed_to_is_refused(story: Story) -> None:
    graph = story.to_graph()
    nonces = list(graph.nonces)
    for number in range(COHORT):
        swapped = [os.urandom(32) if n == number else nonce for n, nonce in enumerate(nonces)]
        fresh = Story(story.federation)
        fresh.victim.advertise()
        fresh.victim._next = "share"
        fresh.victim._roster = story.server._roster
        with pytest.raises(Refused):
            fresh.victim.share(Graph(graph.server_nonce, tuple(swapped)))


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: Graph(os.urandom(32), graph.nonces),
        lambda graph: Graph(graph.server_nonce, (b"", b"", *graph.nonces[2:])),
        lambda graph: Graph(graph.server_nonce, graph.nonces[:-1]),
        lambda graph: Graph(graph.server_nonce, (*graph.nonces, b"")),
        lambda graph: Graph(graph.server_nonce, (graph.nonces[1], graph.nonces[0], *graph.nonces[2:])),
        lambda graph: Graph(graph.server_nonce, (graph.nonces[0][:31], *graph.nonces[1:])),
    ],
)
def test_another_graph_than_was_drawn_is_refused(story: Story, change: Callable[[Graph], Graph]) -> None:
    graph = story.to_graph()
    with pytest.raises(FederationError):
        story.victim.share(change(graph))
    with pytest.raises(OutOfTurn):
        story.victim.share(graph)


def test_a_graph_without_the_device_itself_is_refused(story: Story) -> None:
    graph = story.to_graph()
    own = [advert.device for advert in story.server._roster.adverts].index(story.victim.device)
    without = tuple(b"" if number == own else nonce for number, nonce in enumerate(graph.nonces))
    with pytest.raises(FederationError):
        story.victim.share(Graph(graph.server_nonce, without))


# Plans and turns


def test_a_round_by_another_plan_is_refused(federation: Federation) -> None:
    weaker = msgspec.structs.replace(PLAN, min_survivors=7, threshold=5)
    for federation_, task, plan in (
        (FEDERATION, "test", plan_of(weaker, PRIVACY)),
        (FEDERATION, "other", federation.plan),
        (bytes(32), "test", federation.plan),
    ):
        this = Round.begin(federation_, task, 1, plan.digest, os.urandom(32))
        with pytest.raises(Refused, match="another"):
            Client(federation.identities[0], federation.certificates[0], this, federation.agreed(), os.urandom)


def test_a_plan_that_trusts_more_devices_than_this_one_does_is_refused(federation: Federation) -> None:
    agreed = federation.agreed(corrupt=1)
    with pytest.raises(Refused, match="work with the server"):
        Client(federation.identities[0], federation.certificates[0], federation.round, agreed, os.urandom)


def test_an_advert_of_another_round_is_refused(story: Story) -> None:
    old = story.to_roster()
    next_ = Story(story.federation)
    roster = next_.to_roster()
    replayed = [
        new if new.device == next_.victim.device or number % 2 else earlier
        for number, (new, earlier) in enumerate(zip(roster.adverts, old.adverts, strict=True))
    ]
    with pytest.raises(Refused, match="this round"):
        next_.victim.reveal(Roster(tuple(replayed)))


def test_no_step_is_taken_out_of_turn_or_twice(story: Story) -> None:
    graph = story.to_graph()
    with pytest.raises(OutOfTurn):
        story.victim.advertise()
    with pytest.raises(OutOfTurn):
        story.victim.reveal(story.server._roster)
    with pytest.raises(OutOfTurn):
        story.victim.unmask(Consistent((), ()))
    story.victim.share(graph)
    with pytest.raises(OutOfTurn):
        story.victim.share(graph)


def test_after_a_refusal_there_is_no_other_step(story: Story) -> None:
    roster = story.to_roster()
    with pytest.raises(Refused):
        story.victim.reveal(Roster(roster.adverts[:3]))
    for step in (lambda: story.victim.reveal(roster), story.victim.advertise):
        with pytest.raises(OutOfTurn):
            step()
