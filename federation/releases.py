"""The log of releases: tasks, what came of their rounds, and which of it is in use, in an order nobody can change.

Each leaf of the log is one of these messages. A device trains, and installs, only what it finds in the log, under
a head that goes on from the one that it saw last. So a device that is shown something else than the others holds
two signed heads that contradict each other.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from federation.digests import digest
from federation.errors import Refused
from federation.messages import Digest, Message, encode
from federation.secagg.plan import MAX_COHORT
from tlog.errors import BadNote
from tlog.merkle import Head, leaf_hash, verify_consistency, verify_inclusion
from tlog.note import Checkpoint, Verifier

__all__ = ["ORIGIN", "Promotion", "Release", "check_included", "head_of", "leaf_of", "next_head"]

ORIGIN = "openclaw-core/federation"
"""Of a log's name; what follows is made of its key."""

_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class Release(Message, frozen=True, array_like=True, tag="release"):
    """What came of a round: numbers that anybody may have.

    Attributes:
        task: Digest of the task.
        number: How many releases the task had before; the first is what the first round begins with.
        parent: Digest of the release before; of zeros for the first.
        round: Of which round it is; 0 for the first.
        cohort: Devices that began the round.
        survivors: Devices whose updates are in it.
        epsilon: What taking part in every round so far has cost a device, as often as it may.
        content: SHA-256 of the numbers, float32, little-endian.
    """

    task: Digest
    number: _Count
    parent: Digest
    round: _Count
    cohort: Annotated[int, msgspec.Meta(ge=0, le=MAX_COHORT)]
    survivors: Annotated[int, msgspec.Meta(ge=0, le=MAX_COHORT)]
    epsilon: Annotated[float, msgspec.Meta(ge=0)]
    content: Digest

    def __post_init__(self) -> None:
        if (self.number == 0) is not (self.parent == bytes(len(self.parent))):
            raise ValueError("every release but the first has one before it")

    @property
    def digest(self) -> bytes:
        """What stands for it; 32 bytes."""
        return digest("release", encode(self))


class Promotion(Message, frozen=True, array_like=True, tag="promotion"):
    """Which release of a task is in use from here on: a newer one, or an older one again.

    Attributes:
        task: Digest of the task.
        release: Digest of the release.
    """

    task: Digest
    release: Digest


def leaf_of(message: Message) -> bytes:
    """The hash of the leaf that holds a message."""
    return leaf_hash(encode(message))


def head_of(note: str, verifier: Verifier) -> Head:
    """The head that a signed checkpoint is of.

    Raises:
        Refused: it is none of this log.
    """
    try:
        checkpoint = Checkpoint.parse(verifier.open(note))
    except BadNote as error:
        raise Refused(f"The log of releases can't be believed: {error.message}") from None
    if checkpoint.origin != verifier.name:
        raise Refused("The checkpoint is of another log than this federation's.")
    return checkpoint.head


def next_head(seen: Head, note: str, path: Sequence[bytes], verifier: Verifier) -> Head:
    """The head to go on with from the one that was seen last.

    Args:
        seen: Of size 0 at first.
        note: A newer checkpoint.
        path: Shows that its log begins with what was seen.
        verifier: The log's key.

    Raises:
        Refused: the log was cut, or rewritten, or is shown to this device as another one than before.
    """
    head = head_of(note, verifier)
    if head.size < seen.size:
        raise Refused(f"The log of releases was cut: it had {seen.size} entries, and now has {head.size}.")
    if not verify_consistency(seen, head, path):
        raise Refused("The log of releases isn't the one that was seen before: its past was rewritten.")
    return head


def check_included(message: Message, index: int, path: Sequence[bytes], head: Head) -> None:
    """See that a message stands in the log.

    Raises:
        Refused: it doesn't, at that place.
    """
    if not verify_inclusion(leaf_of(message), index, path, head):
        raise Refused("That isn't in the log of releases: it may be shown to this device alone.")
