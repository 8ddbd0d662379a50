"""Vectors modulo 2^b: sums wrap around, and travel in b bits a number, in one encoding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Malformed
from federation.ring import MAX_BITS, MIN_BITS, Ring, Vector

BITS = st.integers(MIN_BITS, MAX_BITS)


@st.composite
def vectors(draw: st.DrawFn, count: int = 1) -> tuple[Ring, list[Vector]]:
    """A ring and some of its vectors, of one length."""
    ring, size = Ring(draw(BITS)), draw(st.integers(1, 70))
    numbers = st.lists(st.integers(0, 2**32 - 1), min_size=size, max_size=size)
    return ring, [np.array(draw(numbers), np.uint32) for _ in range(count)]


@given(vectors())
def test_what_is_packed_comes_back_reduced(given_: tuple[Ring, list[Vector]]) -> None:
    ring, (vector,) = given_
    packed = ring.pack(vector)
    assert len(packed) == ring.size(vector.size)
    assert np.array_equal(ring.unpack(packed, vector.size), vector & ring.mask)


@given(vectors(3))
def test_packed_vectors_add_up_as_the_vectors_do(given_: tuple[Ring, list[Vector]]) -> None:
    ring, vectors = given_
    total = np.zeros(vectors[0].size, np.uint32)
    for vector in vectors:
        ring.add_packed(total, ring.pack(vector))
    expected = sum(2**40 + vector.astype(np.int64) for vector in vectors)
    assert np.array_equal(total & ring.mask, ring.from_signed(np.asarray(expected)))


@given(BITS, st.data())
def test_signed_numbers_come_back_as_they_went_in(bits: int, data: st.DataObject) -> None:
    half = 2 ** (bits - 1)
    values = np.array(data.draw(st.lists(st.integers(-half, half - 1), min_size=1)), np.int64)
    ring = Ring(bits)
    assert np.array_equal(ring.to_signed(ring.from_signed(values)), values)


@pytest.mark.parametrize(("bits", "bytes_"), [(8, 8), (16, 16), (17, 17), (18, 18), (31, 31)])
def test_a_number_takes_as_many_bits_as_the_ring_has(bits: int, bytes_: int) -> None:
    assert Ring(bits).size(8 * 1000) == bytes_ * 1000


@given(vectors(), st.data())
def test_a_vector_has_one_encoding(given_: tuple[Ring, list[Vector]], data: st.DataObject) -> None:
    ring, (vector,) = given_
    packed = bytearray(ring.pack(vector))
    bit = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[bit // 8] ^= 1 << bit % 8
    total = np.zeros(vector.size, np.uint32)
    try:
        ring.add_packed(total, bytes(packed))
    except Malformed:
        assert not total.any()
    else:
        assert not np.array_equal(total, vector & ring.mask)


@pytest.mark.parametrize("change", [lambda packed: packed[:-1], lambda packed: packed + b"\0", lambda _packed: b""])
def test_another_length_is_refused(change: object) -> None:
    ring, total = Ring(18), np.zeros(10, np.uint32)
    with pytest.raises(Malformed):
        ring.add_packed(total, change(ring.pack(total)))  # type: ignore[operator]


@pytest.mark.parametrize("bits", [-1, 0, 7, 32, 64])
def test_other_rings_are_refused(bits: int) -> None:
    with pytest.raises(Malformed):
        Ring(bits)
