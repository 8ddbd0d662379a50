"""What was learned, read from anywhere: whole, or not at all."""

import math
import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills.embedding.head import MOST_BYTES, MOST_LABELS, MOST_OUTSIDE, Head, parse
from skills.errors import HeadRefused
from tests.skills.embedding.heads import axis, head_of

HEAD = head_of("weather", "time")
WHOLE = HEAD.to_bytes()


def test_a_head_is_read_as_it_was_written() -> None:
    head = head_of("weather", "time", outside=axis(7) + axis(8))
    assert parse(head.to_bytes()) == head


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"version": 2}, "another version"),
        ({"embedder": "0" * 64}, "another embedder"),
        ({"labels": ()}, "too many parts, or none"),
        ({"labels": ("weather", "weather")}, "there twice"),
        ({"labels": ("weather", "")}, "empty, too long"),
        ({"labels": ("weather", "x" * 129)}, "empty, too long"),
        ({"labels": ("weather", "\x1b]52;c;aGk=\x07")}, "control characters"),
        ({"labels": ("weather", "ti\u202eme")}, "control characters"),
        ({"labels": ("weather", "time\n")}, "control characters"),
        ({"labels": ("weather", "time", "news")}, "don't fit each other"),
        ({"weights": HEAD.weights[:-4]}, "don't fit each other"),
        ({"weights": HEAD.weights + b"\0"}, "don't fit each other"),
        ({"bias": b""}, "don't fit each other"),
        ({"least": struct.pack("<f", 0.3)}, "don't fit each other"),
        ({"centres": HEAD.centres * 2}, "don't fit each other"),
        ({"outside": b"\0" * 5}, "don't fit each other"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": 1e-300}, "temperature"),
        ({"least": struct.pack("<2f", 0.3, math.nan)}, "limit"),
        ({"least": struct.pack("<2f", 0.3, 1.5)}, "limit"),
        ({"bias": struct.pack("<2f", 0, math.inf)}, "isn't finite"),
        ({"weights": axis(0) + axis(1, math.nan)}, "isn't finite"),
        ({"centres": axis(0) + axis(1, 100.0)}, "length 1"),
        ({"centres": axis(0) + axis(1, math.nan)}, "length 1"),
        ({"centres": axis(0) + axis(1, 0.0)}, "length 1"),
        ({"outside": axis(0, 2.0)}, "length 1"),
        ({"outside": axis(0) * (MOST_OUTSIDE + 1)}, "too many parts"),
    ],
)
def test_a_head_with_a_part_that_cannot_be_is_refused(changed: dict[str, object], why: str) -> None:
    hostile = msgspec.structs.replace(HEAD, **changed)
    with pytest.raises(HeadRefused, match=why) as caught:
        parse(hostile.to_bytes())
    assert "\x1b" not in str(caught.value)
    assert "Learn it again" in caught.value.hint


def test_a_head_of_too_many_labels_is_refused() -> None:
    labels = tuple(str(number) for number in range(MOST_LABELS + 1))
    with pytest.raises(HeadRefused, match="too many parts"):
        parse(msgspec.structs.replace(HEAD, labels=labels).to_bytes())


def test_a_head_that_is_too_large_is_not_even_read() -> None:
    with pytest.raises(HeadRefused, match="is the most"):
        parse(bytes(MOST_BYTES + 1))


def test_the_largest_head_that_may_be_is_small_enough_to_be_read() -> None:
    rows = axis(0) * MOST_LABELS
    head = head_of(
        *(f"{number:0128}" for number in range(MOST_LABELS)),
        weights=rows,
        centres=rows,
        outside=axis(1) * MOST_OUTSIDE,
    )
    assert parse(head.to_bytes()) == head


def test_a_field_that_is_not_ours_is_refused() -> None:
    fields = msgspec.msgpack.decode(WHOLE)
    with pytest.raises(HeadRefused, match="nothing that was learned"):
        parse(msgspec.msgpack.encode({**fields, "run": "rm -rf /"}))


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_bytes_from_anywhere_are_refused_and_nothing_else(data: bytes) -> None:
    with pytest.raises(HeadRefused):
        parse(data)


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=0, max_size=8), st.integers(0, 8))
@settings(deadline=None)
def test_a_damaged_head_is_refused_or_still_fits_together(at: int, put: bytes, instead_of: int) -> None:
    try:
        head = parse(WHOLE[:at] + put + WHOLE[at + instead_of :])
    except HeadRefused:
        return
    assert_sound(head)


@given(st.integers(0, len(WHOLE) - 1))
@settings(deadline=None)
def test_a_head_that_is_cut_off_is_refused(at: int) -> None:
    with pytest.raises(HeadRefused):
        parse(WHOLE[:at])


def assert_sound(head: Head) -> None:
    count = len(head.labels)
    assert 0 < count == len(set(head.labels))
    assert len(head.weights) == len(head.centres) == count * 384 * 4
    assert all(map(math.isfinite, struct.unpack(f"<{count * 384}f", head.weights)))
    assert all(-1 <= least <= 1 for least in struct.unpack(f"<{count}f", head.least))
    assert head.temperature > 0
