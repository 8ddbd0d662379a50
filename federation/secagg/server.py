"""The server's side of a round of secure aggregation: a state machine over messages, without any input or output.

It takes each device's messages as they come, closes each step when whoever drives it says so, and goes on with
those that are left. Updates are summed as they arrive, packed as they are: nothing of one is kept. What it
opens in the end is the sum of all that survived, or nothing.

    server = Server(...)
    take_advert(…)…  roster()      take_masked(…)…       survivors()
    take_reveal(…)…  graph()       take_consistency(…)…  consistent(device)
    take_share(…)…   deliver(device)                     take_unmask(…)…  sum()

A message that doesn't fit is refused with an error, and changes nothing. A device that is lost at any step
costs the round itself alone, while the thresholds hold.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from federation.digests import is_signed
from federation.enrolment import Registrar
from federation.errors import Aborted, Malformed, OutOfTurn, Refused
from federation.messages import Message
from federation.ring import Vector
from federation.secagg.cohort import (
    SEED,
    SURVIVORS,
    UPLOAD,
    View,
    check_advert,
    commitment_to_nonce,
    listed,
    to_bitmap,
    view_of,
)
from federation.secagg.keys import agree, commitment, mask_key, pair_mask_key, public_half
from federation.secagg.masks import apply_masks
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.shamir import combine, value_at
from federation.secagg.wire import (
    SEALED_BYTES,
    SHARE_BYTES,
    Advertise,
    Consistency,
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
from federation.stream import Random

__all__ = ["STEPS", "Kept", "Server"]

STEPS = ("advertise", "reveal", "share", "mask", "confirm", "unmask")
"""Of a round, in their order."""

_MOST_TRIES = 2_000
"""Sets of shares that are tried for a secret. Of 44 shares with 5 wrong ones, one set of 25 in 93 is right."""


class Kept(NamedTuple):
    """What has to be kept of a round so that another server can go on with it: nothing of it opens an update.

    Attributes:
        adverts: Of each device that advertised.
        nonces: What devices revealed, by device.
        shares: By device.
        uploads: The signatures that came with updates, by device.
        signatures: Under the survivors, by device.
        unmasked: By device.
    """

    adverts: Mapping[bytes, Advertise] = {}
    nonces: Mapping[bytes, bytes] = {}
    shares: Mapping[bytes, Share] = {}
    uploads: Mapping[bytes, bytes] = {}
    signatures: Mapping[bytes, bytes] = {}
    unmasked: Mapping[bytes, Unmask] = {}


class Server:
    """The server of one round.

    Args:
        plan: How it aggregates.
        this: The round, committed to the nonce.
        nonce: 32 unforeseeable bytes: the server's part of the graph's randomness.
        registrar: Who says which devices belong to the federation.
        random: Gives unforeseeable bytes, such as `os.urandom`.

    Attributes:
        devices: The identities of those that take part, once the graph stands.
    """

    def __init__(self, plan: SecAggPlan, this: Round, nonce: bytes, registrar: Registrar, random: Random) -> None:
        self._plan = plan
        self._round = this
        self._nonce = nonce
        self._registrar = registrar
        self._random = random
        self._step = "advertise"
        self._adverts: dict[bytes, Advertise] = {}
        self._keys: set[bytes] = set()
        self._roster: Roster
        self._nonces: dict[bytes, bytes] = {}
        self._graph: Graph
        self._view: View
        self._numbers: dict[bytes, int] = {}
        self._shares: dict[int, Share] = {}
        self._total: Vector
        self._alive: set[int] = set()
        self._shared: bytes
        self._survivors: Survivors
        self._uploads: dict[int, bytes] = {}
        self._signatures: dict[int, bytes] = {}
        self._unmasked: dict[int, Unmask] = {}
        self._liars: set[int] = set()

    def resume(self, step: str, kept: Kept, total: Vector | None = None) -> None:
        """Go on with a round that another server began.

        Args:
            step: That it is at.
            kept: What devices sent, each checked when it came.
            total: The masked updates' sum so far, shape (dimension,), uint32 without reduction; taken over.

        Raises:
            Aborted: it never got to that step with so few devices.
        """
        reached = STEPS.index(step)
        self._adverts = dict(kept.adverts)
        self._keys = {key for advert in kept.adverts.values() for key in (advert.mask_key, advert.seal_key)}
        if reached > STEPS.index("advertise"):
            self.roster()
            self._nonces = dict(kept.nonces)
        if reached > STEPS.index("reveal"):
            self.graph()
            self._shares = {self._number(device): share for device, share in kept.shares.items()}
        if reached > STEPS.index("share"):
            self.close_shares()
            self._uploads = {self._number(device): signature for device, signature in kept.uploads.items()}
            self._alive = set(self._uploads)
            if total is not None:
                self._total = total
        if reached > STEPS.index("mask"):
            self.survivors()
            self._signatures = {self._number(device): one for device, one in kept.signatures.items()}
        if reached > STEPS.index("confirm"):
            self.close_consistency()
            self._unmasked = {self._number(device): unmask for device, unmask in kept.unmasked.items()}

    def opening(self, device: bytes) -> Message:
        """What one device is told at the beginning of the step that the round is at.

        Raises:
            Refused: the device isn't in the round.
            OutOfTurn: at this step nobody is told anything.
        """
        if self._step == "reveal":
            return self._roster
        self._number(device)
        if self._step == "share":
            return self._graph
        if self._step == "mask":
            return self.deliver(device)
        if self._step == "confirm":
            return self._survivors
        if self._step == "unmask":
            return self.consistent(device)
        raise OutOfTurn("Nothing is told at this step.")

    @property
    def summed(self) -> int:
        """How many updates are in the sum."""
        return len(self._alive)

    @property
    def devices(self) -> tuple[bytes, ...]:
        """The identities of those that take part, in their order."""
        return tuple(self._numbers)

    def take_advert(self, advert: Advertise) -> None:
        """A device is there.

        Raises:
            Refused: it wasn't admitted, didn't sign, advertises twice or keys that are none; or the cohort is full.
        """
        self._in_step("advertise")
        if advert.device in self._adverts or len(self._adverts) >= self._plan.max_cohort:
            raise Refused("The device is in the cohort already, or the cohort is full.")
        self.check_advert(advert)
        keys = {advert.mask_key, advert.seal_key}
        if len(keys) < 2 or keys & self._keys:
            raise Refused("A key of the device is another's too.")
        self._adverts[advert.device] = advert
        self._keys |= keys

    def check_advert(self, advert: Advertise) -> None:
        """Believe an advert by itself, for whoever keeps the cohort elsewhere.

        Raises:
            Refused: its device wasn't admitted, didn't sign, or advertises keys that are none.
        """
        check_advert(advert, self._round.digest, self._registrar)
        probe = self._random(32)
        for key in (advert.mask_key, advert.seal_key):
            agree(probe, key)

    def roster(self) -> Roster:
        """The cohort stands.

        Raises:
            Aborted: it is too small.
        """
        self._in_step("advertise", then="reveal")
        self._enough(len(self._adverts), self._plan.min_cohort, "advertised")
        self._roster = Roster(tuple(self._adverts[device] for device in sorted(self._adverts)))
        return self._roster

    def take_reveal(self, reveal: Reveal) -> None:
        """A device reveals its part of the graph's randomness.

        Raises:
            Refused: it isn't of the cohort, or reveals something else.
        """
        self._in_step("reveal")
        advert = self._adverts.get(reveal.device)
        if (
            advert is None
            or commitment_to_nonce(self._round.digest, reveal.device, reveal.nonce) != advert.commitment
        ):
            raise Refused("That isn't what a device of the cohort had committed itself to.")
        self._nonces[reveal.device] = reveal.nonce

    def graph(self) -> Graph:
        """The graph stands.

        Raises:
            Aborted: too few devices are left, or too many kept something back.
        """
        self._in_step("reveal", then="share")
        self._enough(len(self._nonces), self._plan.min_cohort, "revealed their nonces")
        nonces = tuple(self._nonces.get(advert.device, b"") for advert in self._roster.adverts)
        self._graph = Graph(self._nonce, nonces)
        try:
            self._view = view_of(self._roster, self._graph, self._round, self._plan)
        except Refused as error:
            raise Aborted(error.message) from None
        self._numbers = {advert.device: number for number, advert in enumerate(self._view.adverts)}
        return self._graph

    def take_share(self, share: Share) -> None:
        """A device's sealed shares.

        Raises:
            Malformed: they aren't for just its neighbours.
        """
        self._shares[self.check_share(share)] = share

    def check_share(self, share: Share) -> int:
        """Whose shares these are, by number, for whoever keeps them elsewhere; errors as `take_share`."""
        self._in_step("share")
        number = self._number(share.device)
        if number in self._shares:
            raise Refused("The device has shared its secrets already.")
        listed(self._view.graph.neighbours(number), share.sealed)
        if any(len(sealed) != SEALED_BYTES for sealed in share.sealed):
            raise Malformed("A sealed share has another length.")
        return number

    def close_shares(self) -> None:
        """No more shares are taken.

        Raises:
            Aborted: too few devices shared their secrets.
        """
        self._in_step("share", then="mask")
        self._enough(len(self._shares), self._plan.min_survivors, "shared their secrets")
        self._total = np.zeros(self._plan.dimension, np.uint32)
        self._shared = to_bitmap([number in self._shares for number in range(len(self._view.adverts))])

    def deliver(self, device: bytes) -> Deliver:
        """What was sealed for one device."""
        self._in_step("mask")
        number = self._number(device)
        sealed = []
        for place in self._view.graph.neighbours(number):
            share = self._shares.get(place.device)
            point = self._view.graph.point_of(place.device, number)
            sealed.append(share.sealed[point - 1] if share else b"")
        return Deliver(self._shared, tuple(sealed))

    def take_masked(self, masked: Masked) -> None:
        """A device's update; it is in the sum when this returns, and nowhere else.

        Raises:
            Malformed: it isn't one of this ring.
            Refused: the device shared no secrets, its update is here already, or it didn't sign who masked it.
        """
        number = self.check_masked(masked)
        self._plan.ring.add_packed(self._total, masked.packed)
        self._alive.add(number)
        self._uploads[number] = masked.signature

    def check_masked(self, masked: Masked) -> int:
        """Whose update that is, by number, for whoever keeps the sum elsewhere; errors as `take_masked`."""
        self._in_step("mask")
        number = self._number(masked.device)
        if number not in self._shares or number in self._alive:
            raise Refused("The device shared no secrets, or its update is here already.")
        if not is_signed(masked.device, masked.signature, UPLOAD, self._view.digest, self._shared):
            raise Refused("The device masked its update with others than those who shared their secrets.")
        return number

    def survivors(self) -> Survivors:
        """No more updates are taken.

        Raises:
            Aborted: there are too few.
        """
        self._in_step("mask", then="confirm")
        self._enough(len(self._alive), self._plan.min_survivors, "sent their updates")
        alive = [number in self._alive for number in range(len(self._view.adverts))]
        self._survivors = Survivors(to_bitmap(alive))
        return self._survivors

    def take_consistency(self, consistency: Consistency) -> None:
        """A device's signature under the survivors.

        Raises:
            Refused: it isn't one.
        """
        self._in_step("confirm")
        number = self._number(consistency.device)
        told = self._view.digest, self._shared, self._survivors.alive
        if number not in self._alive or not is_signed(consistency.device, consistency.signature, SURVIVORS, *told):
            raise Refused("A device signed other survivors, or isn't one of them.")
        self._signatures[number] = consistency.signature

    def close_consistency(self) -> None:
        """No more signatures are taken.

        Raises:
            Aborted: too few devices signed the same survivors, so that none would go on.
        """
        self._in_step("confirm", then="unmask")
        self._enough(len(self._signatures), self._plan.agreeing(len(self._view.adverts)), "signed the survivors")

    def consistent(self, device: bytes) -> Consistent:
        """What others signed, for one device."""
        self._in_step("unmask")
        places = self._view.graph.neighbours(self._number(device))
        return Consistent(
            tuple(self._signatures.get(number, b"") for number in range(len(self._view.adverts))),
            tuple(self._uploads.get(place.device, b"") for place in places),
        )

    def take_unmask(self, unmask: Unmask) -> None:
        """A device's shares of its neighbours' secrets.

        Raises:
            Malformed: they aren't of just its neighbours.
            Refused: it isn't one of the survivors, or gave them already.
        """
        self._unmasked[self.check_unmask(unmask)] = unmask

    def check_unmask(self, unmask: Unmask) -> int:
        """Whose shares these are, by number, for whoever keeps them elsewhere; errors as `take_unmask`."""
        self._in_step("unmask")
        number = self._number(unmask.device)
        if number not in self._alive or number in self._unmasked:
            raise Refused("The device isn't one of the survivors, or gave its shares already.")
        listed(self._view.graph.neighbours(number), unmask.shares)
        if any(len(share) not in (0, SHARE_BYTES) for share in unmask.shares):
            raise Malformed("A share has another length.")
        return number

    def sum(self) -> Vector:
        """The sum of the updates of all survivors, in the ring; shape (dimension,).

        Raises:
            Aborted: a secret can't be put together, for too few shares of it came, or wrong ones.
        """
        self._in_step("unmask", then="")
        add, subtract = list[bytes](), list[bytes]()
        for number in sorted(self._shares):
            device = self._view.adverts[number].device
            if number in self._alive:
                subtract.append(mask_key(self._seed_of(number), self._view.digest, device))
            else:
                self._take_back_pairs(number, self._mask_private_of(number), add, subtract)
        apply_masks(self._total, add=add, subtract=subtract)
        return self._total & self._plan.ring.mask

    def _take_back_pairs(self, lost: int, private: bytes, add: list[bytes], subtract: list[bytes]) -> None:
        """What the neighbours of a lost device masked their updates with for it alone."""
        device = self._view.adverts[lost].device
        for place in self._view.graph.neighbours(lost):
            if place.device not in self._alive:
                continue
            other = self._view.adverts[place.device]
            pair = sorted((device, other.device))
            key = pair_mask_key(agree(private, other.mask_key), self._view.digest, *pair)
            # The lower of the two adds it, the other one takes it away: the survivor's part goes.
            (subtract if pair[0] == other.device else add).append(key)

    def _seed_of(self, number: int) -> bytes:
        share = self._shares[number]
        return self._put_together(
            number, lambda seed: commitment(SEED, self._view.digest, share.device, seed) == share.commitment
        )

    def _mask_private_of(self, number: int) -> bytes:
        public = self._view.adverts[number].mask_key
        return self._put_together(number, lambda private: public_half(private) == public)

    def _put_together(self, number: int, is_right: Callable[[bytes], bool]) -> bytes:
        """A device's secret, of the shares that its neighbours gave.

        Some may be wrong. Sets of them are tried until the secret is right; then it is known whose shares don't lie
        on its polynomial, and these devices aren't believed any more.
        """
        held: dict[int, bytes] = {}
        for place in self._view.graph.neighbours(number):
            unmask = self._unmasked.get(place.device)
            if unmask is not None and place.device not in self._liars:
                given = unmask.shares[self._view.graph.point_of(place.device, number) - 1]
                if given:
                    held[place.point] = given
        threshold = self._plan.threshold
        if len(held) < threshold:
            raise Aborted("Too few neighbours of a device are left to put its secret together.")
        points = sorted(held)
        rows = {point: np.frombuffer(held[point], "<u4") for point in points}
        for _ in range(_MOST_TRIES):
            chosen = tuple(points[:threshold])
            try:
                (secret,) = combine(chosen, np.stack([rows[point] for point in chosen]))
            except Malformed:
                secret = b""
            if secret and is_right(secret):
                self._find_liars(number, chosen, rows)
                return secret
            points = self._shuffled(points)
        raise Aborted("The neighbours of a device gave shares that fit no secret of its.")

    def _find_liars(self, number: int, chosen: tuple[int, ...], rows: dict[int, NDArray[np.uint32]]) -> None:
        """Whose shares of a secret aren't those that it was shared by, where that can't be mistaken.

        Two liars who guess which shares are put together can have their errors cancel out there. The secret is
        right then, and the polynomial isn't: all honest shares but t - 1 lie off it, more than there are liars.
        """
        known = np.stack([rows[point] for point in chosen])
        off = [
            place.device
            for place in self._view.graph.neighbours(number)
            if place.point in rows and not np.array_equal(value_at(place.point, chosen, known), rows[place.point])
        ]
        corrupt = self._plan.corrupt
        if len(off) <= corrupt and len(rows) - self._plan.threshold >= 2 * corrupt:
            self._liars.update(off)

    def _shuffled(self, points: list[int]) -> list[int]:
        keys = np.frombuffer(self._random(8 * len(points)), np.uint64)
        return [points[place] for place in np.argsort(keys)]

    def _number(self, device: bytes) -> int:
        number = self._numbers.get(device)
        if number is None:
            raise Refused("The device isn't in this round.")
        return number

    def _in_step(self, step: str, *, then: str | None = None) -> None:
        if self._step != step:
            raise OutOfTurn(f"The round is at another step than “{step}”.")
        if then is not None:
            self._step = then

    def _enough(self, count: int, least: int, did: str) -> None:
        if count < least:
            self._step = ""
            raise Aborted(f"{count} devices {did}; at least {least} have to.")
