"""A file of tensors that may hold anything."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills.embedding.worker.weights import Unreadable, tensors


def file_of(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(shape: list[int], first: int, last: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def test_tensors_are_found_by_name_with_their_shapes() -> None:
    body = np.arange(7, dtype="<f4").tobytes()
    found = tensors(
        file_of(
            {
                "__metadata__": {"format": "pt"},
                "a": entry([2, 3], 0, 24),
                "b": entry([1], 24, 28),
                "ids": entry([1], 0, 8, "I64"),
            },
            body,
        )
    )
    assert found.keys() == {"a", "b"}
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["b"].tolist() == [6]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        file_of({}, length=1 << 40),
        file_of({}, length=3_000),
        file_of(b"[1]"),
        file_of(b"{"),
        file_of(b"[" * 100_000),
        file_of({"a": 1}),
        file_of({"a": entry([2], 0, 8)}, b"\0" * 7),
        file_of({"a": entry([2], -8, 0)}, b"\0" * 8),
        file_of({"a": entry([2], 8, 0)}, b"\0" * 8),
        file_of({"a": entry([3], 0, 8)}, b"\0" * 8),
        file_of({"a": entry([-1, -2], 0, 8)}, b"\0" * 8),
        file_of({"a": entry([1 << 62, 4], 0, 8)}, b"\0" * 8),
    ],
)
def test_a_header_that_lies_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        tensors(data)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_bytes_from_anywhere_give_an_error_of_ours_or_tensors_within_them(data: bytes) -> None:
    for whole in (data, file_of(data)):
        try:
            found = tensors(whole)
        except Unreadable:
            continue
        assert sum(tensor.nbytes for tensor in found.values() if tensor.size) <= len(whole) * max(1, len(found))
