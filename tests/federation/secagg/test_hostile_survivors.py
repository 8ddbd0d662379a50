"""A server that tells other stories of who shared and who is alive: of an update nothing is recovered."""

import contextlib
import os

import numpy as np
import pytest
from numpy.typing import NDArray

from federation.errors import FederationError, OutOfTurn, Refused
from federation.secagg.client import Client
from federation.secagg.cohort import to_bitmap
from federation.secagg.keys import mask_key
from federation.secagg.masks import apply_masks
from federation.secagg.shamir import combine
from federation.secagg.wire import (
    Consistent,
    Deliver,
    Graph,
    Masked,
    Roster,
    Share,
    Survivors,
    Unmask,
)
from tests.federation.rounds import Federation
from tests.federation.secagg.story import (
    AGREEING,
    COHORT,
    EVERYBODY,
    NEIGHBOURS,
    PLAN,
    THRESHOLD,
    VICTIM,
    Story,
    number_of,
)


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
