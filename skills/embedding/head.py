"""A head: what was learned about some subjects, as numbers beside their names; and a verdict about one text.

A head is data that may come from anywhere. What is read of it is bounded, and checked before any of it is used.
"""

import math
import sys
from array import array
from collections.abc import Iterator

import msgspec

from skills.embedding.pins import DIMENSION, WEIGHTS
from skills.errors import HeadRefused
from vault.sanitize import sanitize_line

__all__ = ["MOST_BYTES", "MOST_LABELS", "MOST_OUTSIDE", "Head", "Verdict", "checked", "parse"]

MOST_LABELS = 1000
MOST_OUTSIDE = 1000
MOST_BYTES = 8 << 20
_LONGEST_LABEL = 128
_VERSION = 1
_FLOAT = 4
_ROW = DIMENSION * _FLOAT
_OFF_BY = 1e-3
_COLDEST = 1e-3

_RELEARN = "Learn it again from its examples."


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A linear head over the embedder's vectors, with what it takes to say "none of these".

    A text's vector x, of length 1, gives the logits `weights @ x + bias` and, divided by the temperature, a
    softmax. The label is that of the greatest, unless x is farther from the label's centre than its `least` (a
    cosine), or nearer to a text that is known to lie outside.

    Attributes:
        labels: Of the subjects, each another.
        weights: float32 little-endian, `(len(labels), DIMENSION)`.
        bias: float32, `(len(labels),)`.
        centres: float32, `(len(labels), DIMENSION)`; the direction in which each subject's texts lie, of length 1.
        outside: float32, `(n, DIMENSION)`; vectors of texts that belong to none, of length 1.
        least: float32, `(len(labels),)`; the least cosine with each centre, between -1 and 1.
        temperature: Above 0; makes of the softmax a probability that can be believed.
        trained: Whether the weights were fitted to examples; else they are the centres.
        embedder: The SHA-256 of the weights of the embedder that it was made with.
        version: Of this form.
    """

    labels: tuple[str, ...]
    weights: bytes
    bias: bytes
    centres: bytes
    outside: bytes
    least: bytes
    temperature: float
    trained: bool
    embedder: str = WEIGHTS.sha256
    version: int = _VERSION

    def to_bytes(self) -> bytes:
        """What `parse` reads again."""
        return msgspec.msgpack.encode(self)


class Verdict(msgspec.Struct, frozen=True):
    """What a head says of one text.

    Attributes:
        label: The place of the label among the head's; `None` for none of these.
        nearness: The cosine with the centre of the likeliest label.
        ranked: Places of labels with their probabilities, the likeliest first.
    """

    label: int | None
    nearness: float
    ranked: tuple[tuple[int, float], ...]


def parse(data: bytes) -> Head:
    """Read a head from anywhere.

    Raises:
        HeadRefused: it is too large, isn't one, or was made with another embedder.
    """
    if len(data) > MOST_BYTES:
        raise HeadRefused(f"What was learned takes {len(data):,} bytes; {MOST_BYTES:,} is the most.", hint=_RELEARN)
    try:
        head = msgspec.msgpack.decode(data, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise HeadRefused("These bytes are nothing that was learned.", hint=_RELEARN) from None
    return checked(head)


def checked(head: Head) -> Head:
    """The same head, if all of it can be used.

    Raises:
        HeadRefused: a part isn't what it should be.
    """
    if wrong := next(_wrong(head), None):
        raise HeadRefused(f"What was learned can't be used: {wrong}.", hint=_RELEARN)
    return head


def _wrong(head: Head) -> Iterator[str]:
    if head.version != _VERSION:
        yield "it comes from another version"
    if head.embedder != WEIGHTS.sha256:
        yield "it was learned with another embedder"
    count, outside = len(head.labels), len(head.outside) // _ROW
    if not 0 < count <= MOST_LABELS or outside > MOST_OUTSIDE:
        yield "it has too many parts, or none"
    if len(set(head.labels)) != count:
        yield "a label is there twice"
    if any(not 0 < len(label) <= _LONGEST_LABEL or sanitize_line(label) != label for label in head.labels):
        yield "a label is empty, too long, or holds control characters"
    sizes = (*map(len, (head.weights, head.centres, head.bias, head.least)), len(head.outside))
    if sizes != (count * _ROW, count * _ROW, count * _FLOAT, count * _FLOAT, outside * _ROW):
        yield "its parts don't fit each other"
        return
    if not math.isfinite(head.temperature) or head.temperature < _COLDEST:
        yield "its temperature is out of range"
    if not all(-1 <= least <= 1 for least in _floats(head.least)):
        yield "a limit in it is out of range"
    if not all(map(math.isfinite, [*_floats(head.weights), *_floats(head.bias)])):
        yield "a number in it isn't finite"
    if not all(abs(length - 1) < _OFF_BY for part in (head.centres, head.outside) for length in _lengths(part)):
        yield "a direction in it hasn't the length 1"


def _lengths(rows: bytes) -> Iterator[float]:
    numbers = _floats(rows)
    return (math.hypot(*numbers[start : start + DIMENSION]) for start in range(0, len(numbers), DIMENSION))


def _floats(data: bytes) -> "array[float]":
    numbers = array("f", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
