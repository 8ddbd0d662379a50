"""What a round of secure aggregation is to be like, and what a round is: both are signed over, by their digests."""

from typing import Annotated, Self

import msgspec

from federation.digests import DIGEST_BYTES, digest
from federation.errors import Malformed
from federation.messages import Digest, Message, encode
from federation.ring import MAX_BITS, MIN_BITS, Ring

__all__ = ["MAX_COHORT", "MAX_DIMENSION", "Round", "SecAggPlan"]

MAX_COHORT = 10_000
MAX_DIMENSION = 1 << 24
"""Numbers of one update: 32 MiB at 16 bits each."""
MAX_NEIGHBOURS = 1_000
MAX_SILENT = 16


class SecAggPlan(Message, frozen=True, array_like=True, tag="secagg-plan"):
    """How a round aggregates. `federation.plan.propose` finds neighbours and a threshold that are safe.

    Attributes:
        dimension: Numbers of an update.
        bits: Of the ring.
        neighbours: With how many others each device shares masks and secrets; even, below the least cohort.
        threshold: How many of them put a secret together; more than half.
        min_cohort: Fewer devices begin no round.
        max_cohort: More don't either.
        min_survivors: Fewer updates are never opened: the noise in the sum counts on so many.
        corrupt: How many devices of a cohort may work with the server, at most; every bound counts on it.
        max_silent: How many devices of a cohort may keep back what they committed themselves to for the graph.
    """

    dimension: Annotated[int, msgspec.Meta(ge=1, le=MAX_DIMENSION)]
    bits: Annotated[int, msgspec.Meta(ge=MIN_BITS, le=MAX_BITS)]
    neighbours: Annotated[int, msgspec.Meta(ge=2, le=MAX_NEIGHBOURS)]
    threshold: Annotated[int, msgspec.Meta(ge=2, le=MAX_NEIGHBOURS)]
    min_cohort: Annotated[int, msgspec.Meta(ge=3, le=MAX_COHORT)]
    max_cohort: Annotated[int, msgspec.Meta(ge=3, le=MAX_COHORT)]
    min_survivors: Annotated[int, msgspec.Meta(ge=2, le=MAX_COHORT)]
    corrupt: Annotated[int, msgspec.Meta(ge=0, le=MAX_COHORT)]
    max_silent: Annotated[int, msgspec.Meta(ge=0, le=MAX_SILENT)] = 0

    def __post_init__(self) -> None:
        if self.neighbours % 2 or not self.neighbours < self.min_cohort <= self.max_cohort:
            raise ValueError("each device has an even number of neighbours, fewer than the least cohort")
        if not self.neighbours < 2 * self.threshold <= 2 * self.neighbours:
            raise ValueError("a threshold is more than half of the neighbours, and at most all")
        if not self.threshold < self.min_survivors <= self.min_cohort:
            raise ValueError("more updates than the threshold are opened together, at most the least cohort")
        if self.agreeing(self.max_cohort) > self.min_survivors:
            raise ValueError("so few survivors could be told two stories at once")

    def agreeing(self, devices: int) -> int:
        """How many have to sign the same survivors: so many, that no two sets of them can be signed in one round.

        Each honest device signs once. Two sets, both signed by so many, would need more of them than there are.
        """
        return (devices + self.corrupt) // 2 + 1

    @property
    def ring(self) -> Ring:
        """The ring that is summed in."""
        return Ring(self.bits)

    @property
    def digest(self) -> bytes:
        """What stands for it; 32 bytes."""
        return digest("secagg plan", encode(self))


class Round(Message, frozen=True, array_like=True, tag="round"):
    """Which round it is. Everything that is signed, shared or masked in it is bound to this.

    Attributes:
        federation: Digest that stands for the federation.
        task: What is learned.
        number: Of the round, in its task.
        plan: Digest of everything that the devices agreed to.
        server_commitment: To what the server adds to the graph's randomness, given before any device adds its part.
    """

    federation: Digest
    task: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+\Z")]
    number: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
    plan: Digest
    server_commitment: Digest

    @classmethod
    def begin(cls, federation: bytes, task: str, number: int, plan: bytes, nonce: bytes) -> Self:
        """The round, committed to the server's nonce of 32 unforeseeable bytes.

        Raises:
            Malformed: something is out of its bounds.
        """
        if len(nonce) != DIGEST_BYTES:
            raise Malformed("A nonce has 32 bytes.")
        return cls(federation, task, number, plan, commitment_to_server_nonce(nonce))

    @property
    def digest(self) -> bytes:
        """What stands for it; 32 bytes."""
        return digest("round", encode(self))


def commitment_to_server_nonce(nonce: bytes) -> bytes:
    """What the server tells of its nonce before the round begins."""
    return digest("server nonce", nonce)
