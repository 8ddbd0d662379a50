"""The elements of an array, however its file is cut into pieces, and nothing that would exhaust a parser."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.errors import ImportRefused
from vault.portability import json_array
from vault.portability.json_array import MAX_DEPTH, elements


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=5),
    st.integers(1, 40),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
def test_every_object_comes_out_whole_and_in_order(
    written: list[dict[str, object]], size: int, indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(written, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found = [json.loads(element.decode("utf-8", "surrogatepass")) for element in elements(cut(data, size))]
    assert found == written


@pytest.mark.parametrize("text", ["[]", " [ ] \n", "\ufeff[]", "[{}]", '\ufeff\n[{"a":"]"}]\r\n'])
def test_blanks_and_a_byte_order_mark_are_passed_over(text: str) -> None:
    assert len(list(elements([text.encode()]))) == text.count("{")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '"[]"',
        "5",
        "[",
        "[{}",
        "[{}]]",
        "[{}],",
        "[{}][{}]",
        "[{},]",
        "[,{}]",
        "[{} {}]",
        "[{},,{}]",
        "[[{}]]",
        '["a"]',
        "[1]",
        "[null,{}]",
        "[{}}",
        '[{"a":"}]',
        '[{"a":"\\"}]',
        "x[{}]",
        "[{}]x",
    ],
)
def test_whatever_is_no_array_of_objects_is_refused(text: str) -> None:
    for size in (1, 100):
        with pytest.raises(ImportRefused):
            list(elements(cut(text.encode(), size)))


def test_an_element_that_is_nested_too_deeply_is_refused_unparsed() -> None:
    deep = MAX_DEPTH - 2
    assert len(list(elements([b'[{"a":' + b"[" * deep + b"]" * deep + b"}]"]))) == 1
    for brackets in (b"[", b'{"a":'):
        with pytest.raises(ImportRefused, match="nested"):
            list(elements(cut(b'[{"a":' + brackets * 1_000_000, 1 << 16)))


def test_an_element_that_is_too_long_is_refused_before_memory_is_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_array, "MAX_ELEMENT", 1000)
    fitting = b'[{"a":"' + b"x" * 900 + b'"}'
    assert len(list(elements([fitting, b"," + fitting[1:], b"]"]))) == 2

    def endless() -> Iterator[bytes]:
        yield b'[{"a":"'
        while True:
            yield b"x" * 100

    with pytest.raises(ImportRefused, match="more than 1000 bytes"):
        list(elements(endless()))
    for blanks in (b" ", b"\n"):
        with pytest.raises(ImportRefused):
            list(elements([b"[", *([blanks * 100] * 20), b"]"]))


class Counting:
    """Searches, and counts the bytes that it was given to look at."""

    def __init__(self, pattern: "re.Pattern[bytes]") -> None:
        self._pattern = pattern
        self.looked = 0

    def search(self, data: bytearray, position: int) -> "re.Match[bytes] | None":
        found = self._pattern.search(data, position)
        self.looked += (found.end() if found else len(data)) - position
        return found


def test_every_byte_is_looked_at_once_however_small_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = Counting(json_array._INSIDE), Counting(json_array._OUTSIDE)
    monkeypatch.setattr(json_array, "_INSIDE", inside)
    monkeypatch.setattr(json_array, "_OUTSIDE", outside)
    data = b'[{"a":"' + b"x" * 5000 + b'\\"", "b": ' + b"1" * 5000 + b"}" + b" " * 5000 + b"]"
    for size in (1, 7, 100_000):
        inside.looked = outside.looked = 0
        assert len(list(elements(cut(data, size)))) == 1
        assert inside.looked + outside.looked <= len(data)


def test_an_element_of_too_many_values_is_refused_before_anything_is_made_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_array, "MAX_VALUES", 10)
    fitting = b'{"a":[{},{},{},[],"b","c","d"]}'
    assert len(list(elements([b"[", fitting, b",", fitting, b"]"]))) == 2
    for more in (b"[]", b"{}", b'"e"'):
        with pytest.raises(ImportRefused, match="more than 10 values"):
            list(elements([b'[{"a":[{},{},{},[],"b","c","d",' + more + b"]}]"]))


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet='[]{}",:\\ a1\n', max_size=30), st.integers(1, 7))
def test_noise_is_taken_apart_or_refused(text: str, size: int) -> None:
    try:
        found = list(elements(cut(text.encode(), size)))
    except ImportRefused:
        return
    assert all(element.startswith(b"{") and element.endswith(b"}") for element in found)
