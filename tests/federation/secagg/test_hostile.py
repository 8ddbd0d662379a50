"""A server that does as it likes: the device refuses, and what can be recovered of its update is nothing."""

import os
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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
from tests.federation.rounds import FEDERATION, Federation

COHORT, NEIGHBOURS, THRESHOLD = 12, 8, 6
PRIVACY = PrivacyPlan(64, 1.0, 1000.0, 18, 100, bytes(32))
PLAN = SecAggPlan(64, 18, NEIGHBOURS, THRESHOLD, 10, COHORT, 8, 1)
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
    return Federation(COHORT, PLAN, PRIVACY)


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
    return Federation(9, SecAggPlan(64, 18, 8, 6, 9, 9, 8, 0), PRIVACY)


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
        story.victim.mask(Deliver(tuple(bytes(88) for _ in range(8))), complete.update(1))

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
    for plan in (weaker, msgspec.structs.replace(PLAN, bits=16)):
        this = Round.begin(FEDERATION, "test", 1, plan.digest, os.urandom(32))
        with pytest.raises(Refused, match="another plan"):
            Client(federation.identities[0], federation.certificates[0], this, federation.agreed(), os.urandom)


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
        story.victim.unmask(Consistent(()))
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


# Survivors


def survivors(story: Story, *, without: set[int] = frozenset(), unshared: set[int] = frozenset()) -> Survivors:  # type: ignore[assignment]
    """Survivors without some, by their numbers in the graph."""
    numbers = range(COHORT)
    return Survivors(
        to_bitmap([number not in unshared for number in numbers]),
        to_bitmap([number not in without for number in numbers]),
    )


def number_of(story: Story, device: Client) -> int:
    return story.server.devices.index(device.device)


def test_survivors_that_make_no_sense_are_refused(story: Story) -> None:
    story.to_masked()
    victim = number_of(story, story.victim)
    others = [number for number in range(COHORT) if number != victim]
    neighbour = story.server._view.graph.neighbours(victim)[0].device
    honest = survivors(story)
    for wrong in (
        survivors(story, without={victim}),
        survivors(story, without=set(others[:5])),
        survivors(story, without=set(others)),
        survivors(story, unshared={others[0]}),
        survivors(story, without={neighbour}, unshared={neighbour}),
        Survivors(honest.shared + b"\0", honest.alive + b"\0"),
        Survivors(honest.shared, bytes([255, 255])),
        Survivors(b"", b""),
    ):
        story.victim._next = "confirm"
        with pytest.raises(FederationError):
            story.victim.confirm(wrong)


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
        story.victim.confirm(survivors(story, without={number_of(story, story.devices[1])}))


def test_a_consistency_that_neighbours_did_not_sign_is_refused(story: Story) -> None:
    story.to_masked()
    told = story.server.survivors()
    signed = {device.device: device.confirm(told) for device in story.devices}
    places = story.server._view.graph.neighbours(number_of(story, story.victim))
    right = [signed[story.server.devices[place.device]].signature for place in places]
    for wrong in (
        [b""] * NEIGHBOURS,
        right[:5] + [b""] * 3,
        right[:5] + right[:3],
        right[::-1],
        [os.urandom(64) for _ in right],
        right[:-1],
    ):
        story.victim._next = "unmask"
        with pytest.raises(FederationError):
            story.victim.unmask(Consistent(tuple(wrong)))


def split_survivors(story: Story) -> tuple[list[Unmask], Masked]:
    """Tell half of the devices that the victim is alive, and half that it was lost; take all that they then say."""
    masked = story.to_masked()
    victim = number_of(story, story.victim)
    tales = survivors(story), survivors(story, without={victim})
    told: dict[bytes, Survivors] = {}
    signatures: dict[bytes, tuple[Survivors, bytes]] = {}
    for number, device in enumerate(story.devices):
        tale = tales[number % 2] if device is not story.victim else tales[0]
        told[device.device] = tale
        signatures[device.device] = tale, device.confirm(tale).signature
    given: list[Unmask] = []
    for device in story.devices:
        places = story.server._view.graph.neighbours(number_of(story, device))
        around = [signatures[story.server.devices[place.device]] for place in places]
        # What was signed under the other tale is no use: the server shows it all the same.
        try:
            given.append(device.unmask(Consistent(tuple(signature for _, signature in around))))
        except Refused:
            continue
    return given, masked[VICTIM]


def recovered(story: Story, given: list[Unmask], masked: Masked) -> np.ndarray:
    """The best that a server can make of a victim's update: take away every mask that it can compute."""
    vector = PLAN.ring.unpack(masked.packed, PLAN.dimension)
    server, victim = story.server, number_of(story, story.victim)
    by_device = {unmask.device: unmask for unmask in given}
    shares = {}
    for place in server._view.graph.neighbours(victim):
        unmask = by_device.get(server.devices[place.device])
        if unmask and unmask.shares[server._view.graph.point_of(place.device, victim) - 1]:
            shares[place.point] = unmask.shares[server._view.graph.point_of(place.device, victim) - 1]
    if len(shares) >= 2:
        points = tuple(sorted(shares))[:THRESHOLD]
        rows = np.stack([np.frombuffer(shares[point], "<u4") for point in points])
        try:
            (seed,) = combine(points, rows)
            apply_masks(vector, subtract=[mask_key(seed, server._view.digest, story.victim.device)])
        except Malformed:
            pass
    return PLAN.ring.to_signed(vector)


def test_of_a_victim_that_is_said_to_be_alive_and_lost_nothing_is_recovered(federation: Federation) -> None:
    """Flower's SecAgg+ gives the victim's update away here (correlation 0.9999)."""
    guesses, truths = [], []
    for _ in range(200):
        story = Story(federation)
        given, masked = split_survivors(story)
        assert given == []
        guesses.append(recovered(story, given, masked))
        truths.append(PLAN.ring.to_signed(np.array(story.updates[VICTIM].vector)))
    guess, truth = np.concatenate(guesses), np.concatenate(truths)
    correlation = np.corrcoef(guess, truth)[0, 1]
    assert abs(correlation) < 4 / np.sqrt(guess.size)


def test_devices_that_see_other_cohorts_give_up_no_share(federation: Federation) -> None:
    """A split view: one half is shown a cohort without device 1, the other half one without device 2."""
    story = Story(federation)
    whole = story.to_roster()
    hidden = [story.devices[1].device, story.devices[2].device]
    rosters = [Roster(tuple(advert for advert in whole.adverts if advert.device != device)) for device in hidden]
    halves = [story.devices[3:8], [*story.devices[8:], story.victim]]
    nonces, graphs, shares = {device.device: device._nonce for device in story.devices}, [], {}
    for half, roster in zip(halves, rosters, strict=True):
        graph = Graph(story.server._nonce, tuple(nonces[advert.device] for advert in roster.adverts))
        graphs.append(graph)
        for device in half:
            device.reveal(roster)
            shares[device.device] = device.share(graph)
    for half, roster in zip(halves, rosters, strict=True):
        devices = [advert.device for advert in roster.adverts]
        for device in half:
            places = device._places
            sealed = tuple(
                shares[devices[place.device]].sealed[0] if devices[place.device] in shares else b""
                for place in places
            )
            if sum(map(bool, sealed)) < THRESHOLD:
                with pytest.raises(Refused, match="Too few"):
                    device.mask(Deliver(sealed), federation.update(1))
                continue
            device.mask(Deliver(sealed), federation.update(1))
            assert not any(
                held
                for place, held in zip(places, device._held, strict=True)
                if _other(devices[place.device], half)
            )


def _other(device: bytes, half: list[Client]) -> bool:
    return device not in [client.device for client in half]


def test_what_was_shared_in_one_round_opens_nothing_in_another(federation: Federation) -> None:
    first = Story(federation)
    old = {share.device: share for share in first.to_shares()}
    second = Story(federation)
    second.to_shares()
    victim = second.victim
    harvested = tuple(old[second.server.devices[place.device]].sealed[0] for place in victim._places)
    victim.mask(Deliver(harvested), federation.update(1))
    assert victim._held == [b""] * NEIGHBOURS
    assert first.victim._seed != victim._seed
    assert first.victim._mask_private != victim._mask_private


def test_a_share_that_cannot_be_opened_costs_its_sender_that_share_alone(story: Story) -> None:
    story.to_shares()
    deliver = story.server.deliver(story.victim.device)
    sealed = (os.urandom(88), *deliver.sealed[1:])
    story.victim.mask(Deliver(sealed), story.federation.update(1))
    assert [bool(held) for held in story.victim._held] == [False] + [True] * (NEIGHBOURS - 1)


# Bytes


@pytest.mark.parametrize(
    ("kind", "message", "most"),
    [
        (Reveal, Reveal(bytes(32), bytes(32)), 80),
        (Survivors, Survivors(b"\xff", b"\xff"), 64),
        (Consistent, Consistent((bytes(64), b"")), 200),
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
