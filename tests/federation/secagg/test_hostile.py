"""A server that does as it likes: the device refuses, and what can be recovered of its update is nothing."""

import contextlib
import os
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from federation.digests import sign
from federation.enrolment import certify
from federation.errors import FederationError, Malformed, OutOfTurn, Refused
from federation.messages import decode, encode
from federation.privacy.plan import PrivacyPlan
from federation.secagg.client import Client
from federation.secagg.cohort import ADVERT, signed_of, to_bitmap
from federation.secagg.keys import mask_key
from federation.secagg.masks import apply_masks
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.shamir import combine
from federation.secagg.wire import (
    Advertise,
    Consistent,
    Deliver,
    Graph,
    Masked,
    Reveal,
    Roster,
    Share,
    Survivors,
    Unmask,
)
from tests.federation.rounds import FEDERATION, Federation, numbers_of, plan_of

COHORT, NEIGHBOURS, THRESHOLD = 12, 8, 6
PRIVACY = PrivacyPlan(64, 1.0, 1000.0, 18, 100, bytes(32))
PLAN = SecAggPlan(64, 18, NEIGHBOURS, THRESHOLD, 10, COHORT, 8, 0, 1)
AGREEING = PLAN.agreeing(COHORT)
EVERYBODY = to_bitmap([True] * COHORT)
VICTIM = 0

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


@pytest.fixture(scope="module")
def federation() -> Federation:
    return Federation(COHORT, plan_of(PLAN, PRIVACY))


class Story:
    """A round up to some step, told by an honest server unless a test changes what it says."""

    def __init__(self, federation: Federation) -> None:
        federation.begin()
        self.federation, self.server, self.devices = federation, federation.server, federation.devices
        self.victim = self.devices[VICTIM]

    def to_roster(self) -> Roster:
        for device in self.devices:
            self.server.take_advert(device.advertise())
        return self.server.roster()

    def to_graph(self) -> Graph:
        roster = self.to_roster()
        for device in self.devices:
            self.server.take_reveal(device.reveal(roster))
        return self.server.graph()

    def to_shares(self) -> list[Share]:
        graph = self.to_graph()
        shares = [device.share(graph) for device in self.devices]
        for share in shares:
            self.server.take_share(share)
        self.server.close_shares()
        return shares

    def to_masked(self) -> list[Masked]:
        self.to_shares()
        self.updates = [self.federation.update(number) for number in range(COHORT)]
        self.truth = PLAN.ring.to_signed(numbers_of(self.updates[VICTIM]))
        masked = [
            device.mask(self.server.deliver(device.device), update).message
            for device, update in zip(self.devices, self.updates, strict=True)
        ]
        for each in masked:
            self.server.take_masked(each)
        return masked


@pytest.fixture
def story(federation: Federation) -> Story:
    return Story(federation)


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


# Who shared, and who survived


def number_of(story: Story, device: Client) -> int:
    return story.server.devices.index(device.device)


def without(*numbers: int) -> bytes:
    """Everybody but some, by their numbers in the graph."""
    return to_bitmap([number not in numbers for number in range(COHORT)])


def test_another_list_of_who_shared_than_was_delivered_is_refused(story: Story) -> None:
    story.to_shares()
    honest, victim = story.server.deliver(story.victim.device), number_of(story, story.victim)
    near = story.server._view.graph.neighbours(victim)[0].device
    for wrong in (
        Deliver(without(near), honest.sealed),
        Deliver(without(victim), honest.sealed),
        Deliver(honest.shared, (b"", *honest.sealed[1:])),
        Deliver(without(near), (b"",) * NEIGHBOURS),
        Deliver(honest.shared + b"\0", honest.sealed),
        Deliver(b"", honest.sealed),
        Deliver(honest.shared, honest.sealed[1:]),
    ):
        story.victim._next = "mask"
        with pytest.raises(FederationError):
            story.victim.mask(wrong, story.federation.update(1))


def test_survivors_that_make_no_sense_are_refused(story: Story) -> None:
    story.to_masked()
    victim = number_of(story, story.victim)
    others = [number for number in range(COHORT) if number != victim]
    story.victim._shared = without(others[0])
    for wrong in (
        without(victim),
        without(*others[:5]),
        without(*others),
        EVERYBODY,  # one of them never shared
        EVERYBODY + b"\0",
        bytes([255, 255]),
        b"",
    ):
        story.victim._next = "confirm"
        with pytest.raises(FederationError):
            story.victim.confirm(Survivors(wrong))


def test_a_device_says_one_thing_of_each_neighbour_once(story: Story) -> None:
    story.to_masked()
    told = story.server.survivors()
    for device in story.devices:
        story.server.take_consistency(device.confirm(told))
    story.server.close_consistency()
    consistent = story.server.consistent(story.victim.device)
    unmask = story.victim.unmask(consistent)
    assert all(len(share) == 36 for share in unmask.shares)
    with pytest.raises(OutOfTurn):
        story.victim.unmask(consistent)
    with pytest.raises(OutOfTurn):
        story.victim.confirm(Survivors(without(number_of(story, story.devices[1]))))


def test_survivors_that_too_few_signed_are_refused(story: Story) -> None:
    story.to_masked()
    told = story.server.survivors()
    signed = {device.device: device.confirm(told).signature for device in story.devices}
    right = [signed[device] for device in story.server.devices]
    uploads = (b"",) * NEIGHBOURS
    for wrong in (
        [b""] * COHORT,
        right[: AGREEING - 1] + [b""] * (COHORT - AGREEING + 1),
        [right[0]] * COHORT,
        right[::-1],
        [os.urandom(64) for _ in right],
        right[:-1],
    ):
        story.victim._next = "unmask"
        with pytest.raises(FederationError):
            story.victim.unmask(Consistent(tuple(wrong), uploads))


def all_that_is_said(story: Story, tales: dict[bytes, bytes], masked: list[Masked]) -> dict[bytes, Unmask]:
    """Tell each device who is alive, show every one all that anybody signed, and take all that they then say."""
    signed = {device.device: device.confirm(Survivors(tales[device.device])).signature for device in story.devices}
    signatures = tuple(signed[device] for device in story.server.devices)
    uploads = {each.device: each.signature for each in masked}
    said = {}
    for device in story.devices:
        places = story.server._view.graph.neighbours(number_of(story, device))
        near = tuple(uploads[story.server.devices[place.device]] for place in places)
        with contextlib.suppress(Refused):
            said[device.device] = device.unmask(Consistent(signatures, near))
    return said


def shares_of(story: Story, device: Client, said: dict[bytes, Unmask]) -> dict[int, bytes]:
    """What was said of one device, by the points of those who said it."""
    server, number = story.server, number_of(story, device)
    given = {}
    for place in server._view.graph.neighbours(number):
        if unmask := said.get(server.devices[place.device]):
            given[place.point] = unmask.shares[server._view.graph.point_of(place.device, number) - 1]
    return {point: share for point, share in given.items() if share}


def recovered(story: Story, said: dict[bytes, Unmask], masked: Masked) -> NDArray[np.int64]:
    """The best that a server can make of a victim's update: take away every mask that it can compute."""
    vector = PLAN.ring.unpack(masked.packed, PLAN.dimension)
    shares = shares_of(story, story.victim, said)
    view = story.server._view
    points = tuple(sorted(shares))[:THRESHOLD]
    (secret,) = combine(points, np.stack([np.frombuffer(shares[point], "<u4") for point in points]))
    apply_masks(vector, subtract=[mask_key(secret, view.digest, story.victim.device)])
    return PLAN.ring.to_signed(vector)


def test_of_a_victim_that_is_said_to_be_alive_and_lost_nothing_is_recovered(federation: Federation) -> None:
    """Flower's SecAgg+ gives the victim's update away here (correlation 0.9999)."""
    guesses, truths = [], []
    for _ in range(200):
        story = Story(federation)
        masked = story.to_masked()
        victim = number_of(story, story.victim)
        # More than have to agree, the victim among them, are told that it is alive; the others, that it was lost.
        tales = {
            device.device: EVERYBODY if number < AGREEING + 2 else without(victim)
            for number, device in enumerate(story.devices)
        }
        said = all_that_is_said(story, tales, masked)
        assert set(said) == {device.device for device in story.devices[: AGREEING + 2]}
        if len(shares_of(story, story.victim, said)) < THRESHOLD:
            continue
        guesses.append(recovered(story, said, masked[VICTIM]))
        truths.append(story.truth)
    guess, truth = np.concatenate(guesses), np.concatenate(truths)
    assert len(guesses) > 50  # the mask of its own is known then, and those that it shares with others aren't
    assert abs(np.corrcoef(guess, truth)[0, 1]) < 4 / np.sqrt(guess.size)


def test_where_neither_story_is_most_devices_nothing_is_said(federation: Federation) -> None:
    story = Story(federation)
    masked, victim = story.to_masked(), number_of(story, story.victim)
    tales = {
        device.device: EVERYBODY if number % 2 == 0 else without(victim)
        for number, device in enumerate(story.devices)
    }
    assert all_that_is_said(story, tales, masked) == {}


def test_some_that_were_told_others_had_not_shared_are_not_opened_without_them(federation: Federation) -> None:
    """Who is told that a neighbour is lost masks without it: one mask fewer for the server to take away."""
    story = Story(federation)
    story.to_shares()
    server, few, most = story.server, story.devices[:4], story.devices[4:]
    left_out = number_of(story, most[0])
    masked = []
    for number, device in enumerate(story.devices):
        deliver = server.deliver(device.device)
        if device in few:
            places = server._view.graph.neighbours(number_of(story, device))
            sealed = tuple(
                b"" if place.device == left_out else item
                for place, item in zip(places, deliver.sealed, strict=True)
            )
            deliver = Deliver(without(left_out), sealed)
        masked.append(device.mask(deliver, federation.update(number)).message)
    for each in masked[:4]:
        with pytest.raises(Refused, match="with others"):
            server.take_masked(each)
    tales = {device.device: without(left_out) if device in few else EVERYBODY for device in story.devices}
    said = all_that_is_said(story, tales, masked)
    assert set(said) == {device.device for device in most}
    for device in few:
        assert shares_of(story, device, said) == {}


def test_devices_that_see_other_cohorts_open_nothing_for_one_another(federation: Federation) -> None:
    """A split view: one half is shown a cohort without device 1, the other half one without device 2."""
    story = Story(federation)
    whole = story.to_roster()
    hidden = [story.devices[1].device, story.devices[2].device]
    rosters = [Roster(tuple(advert for advert in whole.adverts if advert.device != device)) for device in hidden]
    halves = [story.devices[3:8], [*story.devices[8:], story.victim]]
    nonces, shares = {device.device: device._nonce for device in story.devices}, {}
    for half, roster in zip(halves, rosters, strict=True):
        graph = Graph(story.server._nonce, tuple(nonces[advert.device] for advert in roster.adverts))
        for device in half:
            device.reveal(roster)
            shares[device.device] = device.share(graph)
    for half in halves:
        for device in half:
            for place in device._places:
                sender = device._view.adverts[place.device]
                own = sender.device in [other.device for other in half]
                if sender.device in shares:
                    sent = sealed_for(shares[sender.device], device, place.device) if own else None
                    opened = [device._opened(sender, sealed) for sealed in shares[sender.device].sealed]
                    assert [bool(text) for text in opened] == [
                        sealed == sent for sealed in shares[sender.device].sealed
                    ]


def sealed_for(share: Share, receiver: Client, sender: int) -> bytes:
    """What a neighbour sealed for a device, by the device's own graph."""
    return share.sealed[receiver._view.graph.point_of(sender, receiver._number) - 1]


def test_what_was_shared_in_one_round_opens_nothing_in_another(federation: Federation) -> None:
    first = Story(federation)
    old = {share.device: share for share in first.to_shares()}
    second = Story(federation)
    second.to_shares()
    victim = second.victim
    harvested = tuple(
        sealed_for(old[second.server.devices[place.device]], victim, place.device) for place in victim._places
    )
    victim.mask(Deliver(EVERYBODY, harvested), federation.update(1))
    assert victim._held == [b""] * NEIGHBOURS
    assert first.victim._seed != victim._seed
    assert first.victim._mask_private != victim._mask_private


def test_a_share_that_cannot_be_opened_costs_its_sender_that_share_alone(story: Story) -> None:
    story.to_shares()
    deliver = story.server.deliver(story.victim.device)
    sealed = (os.urandom(88), *deliver.sealed[1:])
    story.victim.mask(Deliver(EVERYBODY, sealed), story.federation.update(1))
    assert [bool(held) for held in story.victim._held] == [False] + [True] * (NEIGHBOURS - 1)


# Bytes


@pytest.mark.parametrize(
    ("kind", "message", "most"),
    [
        (Reveal, Reveal(bytes(32), bytes(32)), 80),
        (Survivors, Survivors(b"\xff"), 64),
        (Consistent, Consistent((bytes(64), b""), (b"",)), 200),
        (Round, Round.begin(FEDERATION, "test", 7, bytes(32), bytes(32)), 300),
        (SecAggPlan, PLAN, 64),
    ],
)
def test_a_message_has_one_encoding_and_no_other_is_read(kind: type[Reveal], message: Reveal, most: int) -> None:
    data = encode(message)
    assert decode(data, kind, most) == message
    assert encode(decode(data, kind, most)) == data
    for wrong in (
        data + b"\0",
        data[:-1],
        data[1:],
        b"\x02" + data[1:],
        data.replace(bytes([data[1]]), b"\xdc\x00" + bytes([data[1] & 15]), 1),
        data * most,
        b"",
        b"\x01",
    ):
        with pytest.raises(Malformed):
            decode(wrong, kind, most)


@pytest.mark.parametrize(
    "fields",
    [
        {"neighbours": 7},
        {"neighbours": 10},
        {"threshold": 4},
        {"threshold": 9},
        {"min_survivors": 6},
        {"min_survivors": 11},
        {"corrupt": 4},
        {"neighbours": 2_000},
        {"max_silent": 1_000},
        {"min_cohort": 13},
        {"bits": 7},
        {"bits": 32},
        {"dimension": 0},
        {"dimension": 1 << 30},
        {"max_cohort": 1 << 20},
    ],
)
def test_a_plan_that_keeps_nothing_safe_is_no_plan(fields: dict[str, int]) -> None:
    values = [getattr(PLAN, name) if name not in fields else fields[name] for name in PLAN.__struct_fields__]
    data = b"\x01" + msgspec.msgpack.encode(["secagg-plan", *values])
    with pytest.raises(Malformed):
        decode(data, SecAggPlan, 100)


def test_oversized_fields_are_refused_before_they_take_memory() -> None:
    for data in (
        b"\x01\x93\xa6reveal\xc6\xff\xff\xff\xff",
        b"\x01\xdd\xff\xff\xff\xff",
        b"\x01\x92\xa6roster\xdd\x7f\xff\xff\xff" + b"\x90" * 100,
        b"\x01" + b"\x91" * 5000,
    ):
        for kind in (Reveal, Roster, Survivors, Share, Unmask):
            with pytest.raises(Malformed):
                decode(data, kind, 1 << 20)
