"""What an entry of the log says, how it is written down, and the commitment that stands in the tree for it.

The commitment is HMAC-SHA256 over the entry's bytes under a random salt of its own. It is hiding: without the salt,
which goes together with the entry when its time is over, nobody can test a guess against it. It is binding: two
openings of one commitment would be a collision of SHA-256, as long as a salt has exactly 32 bytes (HMAC pads
shorter keys, so that salts of different lengths could be the same key).
"""

import hmac
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec

from vault.classes import DataClass

__all__ = [
    "SALT_BYTES",
    "Action",
    "Body",
    "Entry",
    "Operation",
    "Status",
    "StoredEntry",
    "commit",
    "decode",
    "encode",
    "fold",
    "opens",
]

SALT_BYTES = 32

Text = Annotated[str, msgspec.Meta(max_length=10_000)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Action(StrEnum):
    """What was done."""

    CHAT = "chat"
    SKILL = "skill"
    TOOL = "tool"
    """The assistant called one of its tools, or wanted to."""
    TRAIN = "train"
    NETWORK = "network"
    """Something passed the one door out."""
    MODEL = "model"
    """A model was added, or removed."""
    CONSENT = "consent"
    PERMISSION = "permission"
    SETTING = "setting"
    SLOT = "slot"
    """A way into the vault was added, changed or taken away."""
    ROTATE = "rotate"
    ACCEPT = "accept"
    """An older vault was taken for the newest."""
    RETENTION = "retention"
    """What was kept long enough has gone, or how long things are kept was changed."""
    BACKUP = "backup"
    RESTORE = "restore"
    EXPORT = "export"
    IMPORT = "import"
    ERASE = "erase"
    PAUSE = "pause"
    RESUME = "resume"


class Status(StrEnum):
    """How far it went."""

    PREPARED = "prepared"
    """About to be sent, or taken out of the vault; written before the first byte leaves."""
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    """The destination said that it has it."""
    REFUSED = "refused"
    """By us or by the destination; the description says by whom."""
    DONE = "done"
    """Nothing was to be sent."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One thing that was done with a person's data.

    Attributes:
        action: What was done.
        purpose: What for.
        data_class: Of the strictest data involved.
        description: Kinds and numbers, never content.
        destination: Where to; empty when nothing left the device.
        bytes: How many left.
        encryption: What protected them on the way.
        status: How far it went.
        consent: The version of the consent that allowed it.
        payload_sha256: Digest of what left, in hex.
        about: The entry that this one completes.
        sensitive: Whether it is kept for the shorter time.
    """

    action: Action
    purpose: Text
    data_class: DataClass
    description: Text
    destination: Text = ""
    bytes: Count = 0
    encryption: Text = ""
    status: Status = Status.DONE
    consent: Text = ""
    payload_sha256: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""
    about: Count | None = None
    sensitive: bool = False


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is committed to: the entry, its place in the log, and its time.

    Attributes:
        seq: Index of its leaf; inside, so that an entry moved elsewhere still says where it was.
        at_ms: When it was logged, in milliseconds since 1970.
        entry: What was done.
    """

    seq: Count
    at_ms: Count
    entry: Entry


class StoredEntry(NamedTuple):
    """An entry as the log has it.

    Attributes:
        seq: Index of its leaf.
        at_ms: When it was logged; `None` once its time is over.
        entry: What it says; `None` once its time is over, or when it can't be read.
        unreadable: Whether something is there that isn't an entry; `verify` says more.
    """

    seq: int
    at_ms: int | None
    entry: Entry | None
    unreadable: bool = False


class Operation(NamedTuple):
    """The entries about one thing that was done, the first one first.

    Attributes:
        entries: What was prepared, and what became of it.
    """

    entries: tuple[StoredEntry, ...]

    @property
    def first(self) -> StoredEntry:
        """What was prepared, or done."""
        return self.entries[0]

    @property
    def status(self) -> Status | None:
        """How far it has got; `None` when nobody can say any more."""
        last = self.entries[-1].entry
        return last.status if last else None

    @property
    def bytes(self) -> int:
        """How many bytes left the device, as the last entry that counts them says; a refusal ends with its own."""
        last = self.entries[-1].entry
        if last and last.status is Status.REFUSED:
            return last.bytes
        return next((e.entry.bytes for e in reversed(self.entries) if e.entry and e.entry.bytes), 0)


_DECODER = msgspec.json.Decoder(Body)


def encode(body: Body) -> bytes:
    """The bytes of an entry: JSON in one order, without what has its default.

    Leaving out defaults keeps old entries the same when fields are added: each has one way to be written.

    Raises:
        ValueError: it says something that couldn't be read again.
    """
    data = msgspec.json.encode(body)
    decode(data)
    return data


def decode(data: bytes) -> Body:
    """Read what `encode` wrote.

    Raises:
        ValueError: it is no entry, or not written the one way that it is.
    """
    try:
        body = _DECODER.decode(data)
        written = msgspec.json.encode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"no entry of the log: {error}") from None
    if written != data:
        raise ValueError("an entry of the log that is written in another way")
    return body


def commit(salt: bytes, data: bytes) -> bytes:
    """The commitment to an entry: 32 bytes.

    Raises:
        ValueError: the salt doesn't have 32 bytes.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    return hmac.digest(salt, data, "sha256")


def opens(commitment: bytes, salt: bytes, data: bytes) -> bool:
    """Whether an entry is the one that was committed to."""
    return len(salt) == SALT_BYTES and hmac.compare_digest(commit(salt, data), commitment)


def fold(stored: Iterable[StoredEntry]) -> list[Operation]:
    """Put entries together with those that they complete.

    Args:
        stored: In any order. An entry whose beginning isn't among them is an operation by itself.

    Returns:
        The operations, the one that began last first.
    """
    operations: dict[int, list[StoredEntry]] = {}
    begun_by: dict[int, int] = {}
    for item in sorted(stored, key=lambda item: item.seq):
        about = item.entry.about if item.entry else None
        first = begun_by.get(about, item.seq) if about is not None else item.seq
        begun_by[item.seq] = first
        operations.setdefault(first, []).append(item)
    return [Operation(tuple(operations[first])) for first in sorted(operations, reverse=True)]
