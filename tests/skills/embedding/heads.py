"""Heads for tests, made by hand."""

import struct

import msgspec

from skills.embedding.head import Head
from skills.embedding.pins import DIMENSION


def axis(number: int, scale: float = 1.0) -> bytes:
    """A vector along one axis."""
    return struct.pack(f"<{DIMENSION}f", *(scale if place == number else 0.0 for place in range(DIMENSION)))


def head_of(*labels: str, **changed: object) -> Head:
    """A head whose labels lie along an axis each."""
    rows = b"".join(axis(number) for number in range(len(labels)))
    numbers = len(labels)
    head = Head(
        labels=labels,
        weights=rows,
        bias=bytes(4 * numbers),
        centres=rows,
        outside=b"",
        least=struct.pack(f"<{numbers}f", *[0.3] * numbers),
        temperature=0.1,
        trained=False,
    )
    return msgspec.structs.replace(head, **changed)
