"""A device's side of a round of secure aggregation: a state machine over messages, without any input or output.

Bonawitz et al. 2017 with the sparse graph of Bell et al. 2020, against a server that does as it likes: keys and
survivors are signed by identities that were admitted, everything that is derived is bound to the round, the
plan, the cohort and the graph, and a device says of each neighbour one thing, once: a share of the seed of its
own mask if it is alive, or one of the key of its pairwise masks if it was lost. Never both, so that no update
can be opened alone.

    client = Client(...)
    client.advertise() -> Advertise         client.mask(deliver, noised) -> MaskedUpdate
    client.reveal(roster) -> Reveal         client.confirm(survivors) -> Consistency
    client.share(graph) -> Share            client.unmask(consistent) -> Unmask

After a refusal it goes no further: the next round begins with another client.
"""

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.digests import DIGEST_BYTES, is_signed, sign
from federation.enrolment import Registrar
from federation.errors import Malformed, OutOfTurn, Refused, TooFew
from federation.privacy.clip import MadeInOnePlace
from federation.privacy.noise import NoisedDelta
from federation.secagg.cohort import (
    ADVERT,
    SEED,
    SURVIVORS,
    UPLOAD,
    View,
    check_advert,
    commitment_to_nonce,
    from_bitmap,
    listed,
    signed_of,
    view_of,
)
from federation.secagg.graph import Place
from federation.secagg.keys import agree, commitment, mask_key, open_sealed, pair_mask_key, public_half, seal
from federation.secagg.masks import apply_masks
from federation.secagg.plan import Round
from federation.secagg.shamir import SECRET_BYTES, split
from federation.secagg.wire import (
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

if TYPE_CHECKING:  # a plan has the aggregation's as a part of it
    from federation.plan import Plan

__all__ = ["Agreed", "Client", "MaskedUpdate"]

_HERE: Final = object()


@final
class MaskedUpdate(MadeInOnePlace):
    """The last of the four kinds of delta, and the only one that may be sent. Only `Client.mask` makes one.

    Attributes:
        message: What is sent: it looks like random bits to whoever doesn't know a mask.
    """

    __slots__ = ("message",)

    def __init__(self, message: Masked, made_here: object) -> None:
        if made_here is not _HERE:
            raise TypeError("A MaskedUpdate is made by Client.mask(), of a NoisedDelta, and in no other way.")
        self.message: Final = message


class Agreed(NamedTuple):
    """What the person agreed to take part in, and what this device expects of it for itself.

    Attributes:
        plan: How updates are made private and aggregated.
        task: What is learned.
        digest: Of everything that was agreed to.
        registrar: Who says which devices belong to the federation.
        min_cohort: Fewer devices than that are too few for this one, whatever the plan says.
        corrupt: A plan that counts on fewer devices to work with the server is refused. It is a number of devices,
            whatever the cohort: a server may choose all of those that work with it.
    """

    plan: "Plan"
    task: str
    digest: bytes
    registrar: Registrar
    min_cohort: int
    corrupt: int


class Client:
    """One device in one round.

    Args:
        identity: Its Ed25519 key.
        certificate: The registrar's, over the identity.
        this: The round, as the server announced it.
        agreed: What the person agreed to.
        random: Gives unforeseeable bytes, such as `os.urandom`.

    Raises:
        Refused: the round is of another task or federation or by another plan, or the plan counts on too few.
    """

    def __init__(
        self, identity: Ed25519PrivateKey, certificate: bytes, this: Round, agreed: Agreed, random: Random
    ) -> None:
        expected = agreed.registrar.federation, agreed.task, agreed.digest
        if (this.federation, this.task, this.plan) != expected:
            raise Refused("The round is of another task, or by another plan, than was agreed to.")
        if agreed.plan.secagg.corrupt < agreed.corrupt:
            raise Refused("The plan counts on fewer devices to work with the server than this device does.")
        self._identity = identity
        self._certificate = certificate
        self._round = this
        self._agreed = agreed
        self._plan = agreed.plan.secagg
        self._random = random
        self._next = "advertise"
        self._device = identity.public_key().public_bytes_raw()
        self._nonce = random(DIGEST_BYTES)
        self._mask_private = random(SECRET_BYTES)
        self._seal_private = random(SECRET_BYTES)
        self._seed = random(SECRET_BYTES)
        self._advert: Advertise
        self._roster: Roster
        self._view: View
        self._number: int
        self._places: list[Place]
        self._shared: bytes
        """Who shared their secrets, as this device was told; with those of its neighbours it is masked."""
        self._held: list[bytes]
        """Of each neighbour, its shares; empty where there are none, or none that can be opened."""
        self._alive: list[bool]
        self._told: tuple[bytes, bytes, bytes]
        """The round's graph, who shared and who is alive, as this device was told."""

    @property
    def device(self) -> bytes:
        """Its identity."""
        return self._device

    def advertise(self) -> Advertise:
        """Begin: keys for this round, signed."""
        with self._turn("advertise", then="reveal"):
            unsigned = Advertise(
                self._device,
                self._certificate,
                public_half(self._mask_private),
                public_half(self._seal_private),
                commitment_to_nonce(self._round.digest, self._device, self._nonce),
                b"",
            )
            signature = sign(self._identity, ADVERT, *signed_of(unsigned, self._round.digest))
            self._advert = msgspec.structs.replace(unsigned, signature=signature)
            return self._advert

    def reveal(self, roster: Roster) -> Reveal:
        """Look at the cohort, and reveal what makes the graph.

        Raises:
            Refused: it is too small or too large, isn't all of admitted devices, names one twice, or has other keys
                for this one.
        """
        with self._turn("reveal", then="share"):
            plan, adverts = self._plan, roster.adverts
            if len(adverts) < max(plan.min_cohort, self._agreed.min_cohort) or len(adverts) > plan.max_cohort:
                raise Refused(f"A cohort of {len(adverts)} devices is too small, or larger than the plan allows.")
            if any(one.device >= other.device for one, other in pairwise(adverts)):
                raise Refused("The cohort names a device twice, or isn't in its order.")
            if self._advert not in adverts:
                raise Refused("The cohort isn't one with this device's own keys.")
            if len({key for advert in adverts for key in (advert.mask_key, advert.seal_key)}) < 2 * len(adverts):
                raise Refused("A key stands twice in the cohort.")
            for advert in adverts:
                if advert != self._advert:
                    check_advert(advert, self._round.digest, self._agreed.registrar)
            self._roster = roster
            return Reveal(self._device, self._nonce)

    def share(self, graph: Graph) -> Share:
        """Look at the graph, and share both secrets with the neighbours.

        Raises:
            Malformed, Refused: as `view_of` says; or this device isn't in it, or too few are, or a key is no key.
        """
        with self._turn("share", then="mask"):
            self._view = view_of(self._roster, graph, self._round, self._plan)
            if len(self._view.adverts) < self._agreed.min_cohort:
                raise TooFew("Too few devices are left.")
            self._number = self._view.number_of(self._device)
            self._places = self._view.graph.neighbours(self._number)
            plan, view = self._plan, self._view.digest
            shares = split([self._seed, self._mask_private], len(self._places), plan.threshold, self._random)
            sealed = []
            for place, row in zip(self._places, shares, strict=True):
                other = self._view.adverts[place.device]
                agreed = agree(self._seal_private, other.seal_key)
                sealed.append(seal(agreed, view, self._device, other.device, row.astype("<u4").tobytes()))
            return Share(self._device, commitment(SEED, view, self._device, self._seed), tuple(sealed))

    def mask(self, deliver: Deliver, noised: NoisedDelta) -> MaskedUpdate:
        """Take the neighbours' shares, and mask the update; it can't be masked a second time.

        A share that can't be opened costs its sender that share, and nobody else anything.

        Args:
            deliver: Who shared secrets, and what the neighbours sealed for this device.
            noised: The update, noised by this plan.

        Raises:
            TypeError: the update wasn't made by `add_noise`.
            Malformed: it is about others, or the update isn't for this plan, or was masked before.
            Refused: too few neighbours shared their secrets, or others did than it says.
        """
        if type(noised) is not NoisedDelta:
            raise TypeError("What is masked is a NoisedDelta, and nothing else.")
        with self._turn("mask", then="confirm"):
            view = self._view
            shared = from_bitmap(deliver.shared, len(view.adverts))
            if not shared[self._number]:
                raise Refused("This device is said not to have shared its secrets.")
            self._shared, self._held = deliver.shared, []
            add, subtract = [mask_key(self._seed, view.digest, self._device)], list[bytes]()
            for place, sealed in listed(self._places, deliver.sealed):
                if bool(sealed) != shared[place.device]:
                    raise Refused("Other devices are said to have shared their secrets than did.")
                other = view.adverts[place.device]
                self._held.append(self._opened(other, sealed))
                if sealed:
                    agreed = agree(self._mask_private, other.mask_key)
                    pair = sorted((self._device, other.device))
                    key = pair_mask_key(agreed, view.digest, *pair)
                    (add if pair[0] == self._device else subtract).append(key)
            if len(add) + len(subtract) - 1 < self._plan.threshold:
                raise TooFew("Too few neighbours shared their secrets.")
            masked = noised.take(self._agreed.plan.privacy)
            apply_masks(masked, add=add, subtract=subtract)
            signature = sign(self._identity, UPLOAD, view.digest, self._shared)
            return MaskedUpdate(Masked(self._device, self._plan.ring.pack(masked), signature), _HERE)

    def _opened(self, sender: Advertise, sealed: bytes) -> bytes:
        if not sealed:
            return b""
        agreed = agree(self._seal_private, sender.seal_key)
        opened = open_sealed(agreed, self._view.digest, sender.device, self._device, sealed)
        return opened if opened is not None and len(opened) == 2 * SHARE_BYTES else b""

    def confirm(self, survivors: Survivors) -> Consistency:
        """Look at who survived, and sign it.

        Raises:
            Malformed: it is about others.
            Refused: too few survived, this device isn't among them, or somebody is alive who shared no secrets.
        """
        with self._turn("confirm", then="unmask"):
            count = len(self._view.adverts)
            shared, self._alive = from_bitmap(self._shared, count), from_bitmap(survivors.alive, count)
            if any(alive and not sharing for alive, sharing in zip(self._alive, shared, strict=True)):
                raise Refused("A device is said to be alive that never shared its secrets.")
            if not self._alive[self._number]:
                raise Refused("This device's update is said not to have come.")
            if sum(self._alive) < max(self._plan.min_survivors, self._agreed.min_cohort):
                raise TooFew(f"{sum(self._alive)} updates are too few to be opened together.")
            self._told = self._view.digest, self._shared, survivors.alive
            return Consistency(self._device, sign(self._identity, SURVIVORS, *self._told))

    def unmask(self, consistent: Consistent) -> Unmask:
        """See that there is one story of who survived, and give up one share of each neighbour.

        Of a neighbour that is alive only if its update was masked with just those that shared in this story too.

        Raises:
            Malformed: it is about others.
            Refused: so few signed the same that others may have been told something else.
        """
        with self._turn("unmask", then=""):
            if len(consistent.signatures) != len(self._view.adverts):
                raise Malformed("The signatures are of another cohort.")
            needed = self._plan.agreeing(len(self._view.adverts))
            agreeing = 0
            for number, (advert, signature) in enumerate(
                zip(self._view.adverts, consistent.signatures, strict=True)
            ):
                if agreeing < needed and self._alive[number]:
                    agreeing += is_signed(advert.device, signature, SURVIVORS, *self._told)
            if agreeing < needed:
                raise Refused(f"{agreeing} devices signed the same survivors; {needed} have to.")
            shares = []
            for (place, upload), held in zip(listed(self._places, consistent.uploads), self._held, strict=True):
                of_seed, of_key = held[:SHARE_BYTES], held[SHARE_BYTES:]
                if not self._alive[place.device]:
                    shares.append(of_key)
                elif is_signed(
                    self._view.adverts[place.device].device, upload, UPLOAD, self._view.digest, self._shared
                ):
                    shares.append(of_seed)
                else:
                    shares.append(b"")
            return Unmask(self._device, tuple(shares))

    @contextlib.contextmanager
    def _turn(self, step: str, *, then: str) -> Iterator[None]:
        """One step, in its turn; whatever goes wrong in it, there is no other."""
        if self._next != step:
            raise OutOfTurn(f"This device isn't asked to {step} now, or not again.")
        self._next = ""
        yield
        self._next = then
