"""What the app and its embedder say to each other."""

from typing import Literal

import msgspec

from skills.embedding.head import Head, Verdict

__all__ = [
    "MOST_CHARACTERS",
    "MOST_REPLY",
    "MOST_TEXTS",
    "PROTOCOL",
    "Decide",
    "Decided",
    "Embed",
    "Embedded",
    "Failed",
    "Learn",
    "Learned",
    "Progress",
    "Ready",
    "Reply",
    "Request",
    "Setup",
    "Subject",
]

PROTOCOL = 1
"""Version of these messages; both ends come from one installation, so a difference is refused."""

MOST_TEXTS = 1 << 15
"""Texts in one request."""
MOST_CHARACTERS = 1 << 14
"""Characters that are sent of a text; more than the embedder reads."""
MOST_REPLY = 64 << 20
"""Bytes of one message of the child."""


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """First message to the child.

    Attributes:
        weights: Descriptor of the weights, inherited.
        vocabulary: Descriptor of the vocabulary, inherited.
        threads: Batches that are computed at once.
        idle_s: Seconds without a request after which it ends.
    """

    weights: int
    vocabulary: int
    threads: int
    idle_s: float
    protocol: int = PROTOCOL


class Embed(msgspec.Struct, frozen=True, tag="embed"):
    """Ask for the vectors of some texts."""

    id: int
    texts: list[str]


class Subject(msgspec.Struct, frozen=True):
    """Something that a text may be about, or want.

    Attributes:
        label: Its name.
        descriptions: Texts that tell what it is.
        examples: Texts that are about it.
    """

    label: str
    descriptions: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


class Learn(msgspec.Struct, frozen=True, tag="learn"):
    """Ask for a head.

    Attributes:
        subjects: What to tell apart.
        outside: Texts that belong to none of them.
        train: Whether to fit weights to the examples; else descriptions and examples are averaged.
    """

    id: int
    subjects: list[Subject]
    outside: list[str]
    train: bool


class Decide(msgspec.Struct, frozen=True, tag="decide"):
    """Ask what a text is about.

    Attributes:
        head: What was learned; `None`: the one of the last `Decide` that had one.
        most: How many labels to rank.
    """

    id: int
    text: str
    head: Head | None
    most: int


Request = Setup | Embed | Learn | Decide


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The files are what they should be, and loaded."""

    load_s: float


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """So many of the texts have their vectors."""

    id: int
    done: int
    total: int


class Embedded(msgspec.Struct, frozen=True, tag="embedded"):
    """The vectors: float32 little-endian, one text after another, each of length 1."""

    id: int
    vectors: bytes


class Learned(msgspec.Struct, frozen=True, tag="learned"):
    """What was learned."""

    id: int
    head: Head


class Decided(msgspec.Struct, frozen=True, tag="decided"):
    """What a text is about."""

    id: int
    verdict: Verdict


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The request, or the loading (id 0), failed.

    Attributes:
        kind: What sort of failure, for choosing the error.
        message: The middle of a sentence for a person.
    """

    id: int
    kind: Literal["files", "confinement", "memory", "internal"]
    message: str


Reply = Ready | Progress | Embedded | Learned | Decided | Failed
