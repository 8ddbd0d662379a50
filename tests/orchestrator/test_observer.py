"""Who has the orchestrator's disk, memory and messages, and devices below the threshold, opens no update."""

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import NamedTuple, TypeVar

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from federation.errors import Malformed
from federation.messages import decode
from federation.privacy.noise import mean_of
from federation.ring import Vector
from federation.secagg.keys import agree, mask_key, pair_mask_key, public_half
from federation.secagg.masks import apply_masks
from federation.secagg.shamir import SECRET_BYTES, combine
from federation.secagg.wire import SHARE_BYTES, Masked, Unmask, most_bytes
from federation.task import Task
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import NOISE, task_of
from tests.orchestrator.observer import Observer
from tests.orchestrator.replicas import Operator, trusting

DEVICES, PARAMETERS = 12, 1_000
Said = TypeVar("Said", Masked, Unmask)


class Heard(NamedTuple):
    """A round, as an observer has it afterwards.

    Attributes:
        task: What was learned.
        updates: What each device learned, and nobody should know; shape (devices, parameters).
        devices: With all their secrets.
        observer: Who looked on.
    """

    task: Task
    updates: NDArray[np.float64]
    devices: list[Device]
    observer: Observer

    def masked(self, device: bytes) -> Masked:
        """A device's update, as it was sent."""
        return next(one for one in self._messages("mask", Masked) if one.device == device)

    def unmask(self, device: bytes) -> Unmask:
        """What a device gave up of its neighbours' secrets."""
        return next(one for one in self._messages("unmask", Unmask) if one.device == device)

    def _messages(self, step: str, kind: type[Said]) -> Iterator[Said]:
        for address, body in self.observer.said:
            if address.endswith(f"/{step}"):
                yield decode(body, kind, most_bytes(kind, self.task.plan.secagg))


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """One whole round, while somebody looks on."""
    folder = tmp_path_factory.mktemp("observed")
    operator = Operator(folder)
    task = task_of(DEVICES, least=12, parameters=PARAMETERS, rounds=1, seconds=60, advertise=15)
    updates = np.random.default_rng(1).normal(size=(DEVICES, PARAMETERS)) * 0.02

    async def learn() -> Heard:
        transport = httpx.AsyncHTTPTransport(verify=trusting(operator.certificate))
        observer = Observer(transport, operator.pid(0), folder)
        address = operator.addresses[0]
        async with httpx.AsyncClient(transport=observer, base_url=address, timeout=60) as http:
            devices = [Device(http, partial(_same, update), pause_s=0.5) for update in updates]
            invite = await asyncio.to_thread(operator.invite, DEVICES)
            await asyncio.gather(*(device.join(invite, task.name) for device in devices))
            await asyncio.gather(*(device.take_part() for device in devices))
            observer.look("released")
        return Heard(task, updates, devices, observer)

    with operator.running():
        operator.open(task)
        return asyncio.run(learn())


def _same(update: NDArray[np.float64], _round: int) -> NDArray[np.float64]:
    return update


def test_no_secret_of_a_device_is_ever_on_the_disk_in_memory_or_in_a_message(heard: Heard) -> None:
    looked = {"advertise", "reveal", "share", "mask", "confirm", "unmask", "released"}
    assert heard.observer.steps == looked
    public = [device.client._advert.mask_key for device in heard.devices]
    assert list(heard.observer.has(public)) == public  # so that what is there would be found
    secrets = [
        secret
        for device in heard.devices
        for secret in (
            device.identity.private_bytes_raw(),
            device.client._mask_private,
            device.client._seal_private,
            device.client._seed,
        )
    ]
    assert list(heard.observer.has(secrets)) == []


def test_no_update_is_ever_on_the_disk_in_memory_or_in_a_message(heard: Heard) -> None:
    """Neither as numbers of any kind, nor as what it was before it was masked."""
    forms = [update.astype(kind).tobytes()[:32] for update in heard.updates for kind in ("<f4", "<f8", ">f4")]
    assert list(heard.observer.has(forms)) == []
    kept = heard.masked(heard.devices[0].device).packed[200:264]
    assert list(heard.observer.has([kept])) == [kept]  # the message itself: masked
    assert not any(kept in page for page in heard.observer.on_disk)


def test_devices_below_the_threshold_open_no_update_and_as_many_as_it_do(heard: Heard) -> None:
    """All that everybody else of the cohort has helps no more; one neighbour more, and it is open."""
    threshold = heard.task.plan.secagg.threshold
    victim = heard.devices[3]
    holders = [place.device for place in victim.client._places]
    by_number = {device.client._number: device for device in heard.devices}
    strangers = [device for number, device in by_number.items() if number not in (*holders, victim.client._number)]
    for few in list(combinations(holders, threshold - 1))[::7]:
        guess = attack(heard, victim, [*(by_number[number] for number in few), *strangers])
        correlation = np.corrcoef(guess, heard.updates[3])[0, 1]
        assert abs(correlation) < 0.2
    enough = [by_number[number] for number in holders[:threshold]]
    assert np.abs(attack(heard, victim, enough) - heard.updates[3]).max() < NOISE


def test_what_is_left_after_the_round_opens_nothing_more(heard: Heard) -> None:
    """The shares that devices gave up are of the seeds of their own masks, and none of the keys of the others."""
    victim = heard.devices[5]
    with pytest.raises(Malformed):
        secret_of(heard, victim, [], of_key=True)
    seed = secret_of(heard, victim, [], of_key=False)
    assert seed == victim.client._seed  # and so an update whose pairwise masks were known would be open


def attack(heard: Heard, victim: Device, corrupt: list[Device]) -> NDArray[np.float64]:
    """The best guess at a device's update, shape (parameters,), from all that was heard and others' secrets."""
    plan, view = heard.task.plan, victim.client._view
    packed = heard.masked(victim.device).packed
    vector: Vector = plan.secagg.ring.unpack(packed, plan.secagg.dimension)
    seed = secret_of(heard, victim, corrupt, of_key=False)
    added, taken = [mask_key(seed, view.digest, victim.device)], list[bytes]()
    try:
        private = secret_of(heard, victim, corrupt, of_key=True)
    except Malformed:
        private = b""  # too few: only the masks that corrupt devices share are known
    for place in victim.client._places:
        other = view.adverts[place.device]
        insider = next((one for one in corrupt if one.device == other.device), None)
        if private:
            agreed = agree(private, other.mask_key)
        elif insider:
            agreed = agree(insider.client._mask_private, victim.client._advert.mask_key)
        else:
            continue
        pair = sorted((victim.device, other.device))
        key = pair_mask_key(agreed, view.digest, *pair)
        (added if pair[0] == victim.device else taken).append(key)
    apply_masks(vector, add=taken, subtract=added)
    return mean_of(vector, plan.privacy, 1)


def secret_of(heard: Heard, victim: Device, corrupt: list[Device], *, of_key: bool) -> bytes:
    """A secret of a device, put together from every share that was heard or that corrupt neighbours hold.

    Raises:
        Malformed: there are too few.
    """
    shares: dict[int, bytes] = {}
    graph, number = victim.client._view.graph, victim.client._number
    for place in victim.client._places:
        holder = heard.devices[[one.client._number for one in heard.devices].index(place.device)]
        point = graph.point_of(number, place.device)
        at = [one.device for one in graph.neighbours(place.device)].index(number)
        if holder in corrupt:
            held = holder.client._held[at]
            shares[point] = held[SHARE_BYTES:] if of_key else held[:SHARE_BYTES]
        elif not of_key:  # the victim survived: of it, seeds' shares were given up, and no others
            shares[point] = heard.unmask(holder.device).shares[at]
    points = tuple(sorted(shares))[: heard.task.plan.secagg.threshold]
    if not points:
        raise Malformed("There is no share at all.")
    rows = np.stack([np.frombuffer(shares[point], "<u4") for point in points])
    (secret,) = combine(points, rows)
    assert len(secret) == SECRET_BYTES
    if of_key and public_half(secret) != victim.client._advert.mask_key:
        raise Malformed("The shares give another secret.")
    return secret
