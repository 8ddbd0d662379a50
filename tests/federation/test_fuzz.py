"""Bytes from anybody: each parser of the federation reads them or refuses them, and takes little memory for it."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Malformed
from federation.messages import Message, decode, encode
from federation.ring import Ring
from federation.secagg import wire
from federation.secagg.cohort import from_bitmap
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.shamir import LIMBS, combine

KINDS: list[type[Message]] = [
    SecAggPlan,
    Round,
    *(getattr(wire, name) for name in wire.__all__ if isinstance(getattr(wire, name), type)),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=100) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400) | st.tuples(VALUES).map(lambda value: b"\x01" + msgspec.msgpack.encode(value[0])))
def test_whatever_bytes_come_are_read_or_refused(kind: type[Message], data: bytes) -> None:
    try:
        message = decode(data, kind, 1 << 16)
    except Malformed:
        return
    assert encode(message) == data


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_message_of_the_right_shape_is_read_or_refused(kind: type[Message], data: st.DataObject) -> None:
    tag = kind.__struct_config__.tag
    fields = data.draw(st.tuples(*(VALUES for _ in kind.__struct_fields__)))
    encoded = b"\x01" + msgspec.msgpack.encode([tag, *fields])
    try:
        message = decode(encoded, kind, 1 << 16)
    except Malformed:
        return
    assert encode(message) == encoded


@given(st.integers(8, 31), st.integers(1, 64), st.binary(max_size=300))
def test_packed_bytes_are_a_vector_or_refused(bits: int, count: int, data: bytes) -> None:
    ring = Ring(bits)
    try:
        vector = ring.unpack(data, count)
    except Malformed:
        return
    assert ring.pack(vector) == data


@given(st.integers(1, 64), st.binary(max_size=10))
def test_a_bitmap_is_of_its_devices_or_refused(count: int, data: bytes) -> None:
    try:
        flags = from_bitmap(data, count)
    except Malformed:
        return
    assert len(flags) == count


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.data())
def test_shares_are_put_together_or_refused(points: list[int], data: st.DataObject) -> None:
    numbers = st.lists(st.integers(0, 2**32 - 1), min_size=LIMBS * len(points), max_size=LIMBS * len(points))
    shares = np.array(data.draw(numbers), np.uint32).reshape(len(points), LIMBS)
    try:
        (secret,) = combine(tuple(points), shares)
    except Malformed:
        return
    assert len(secret) == 32
