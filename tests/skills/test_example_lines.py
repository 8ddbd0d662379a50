"""Lines of examples: two texts of the fields that were named, or a refusal that says where and quotes nothing."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills import example_lines
from skills.errors import ExampleRefused
from skills.example_lines import MOST_LINE, MOST_TEXT, Fields, Reader, numbered_lines
from vault.sanitize import sanitize

READER = Reader(Fields())
JOINED = Reader(Fields(("query", "excerpt"), ("summary",)))
PRIVATE = "pomegranate"


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_the_fields_that_are_named_are_joined_in_their_order() -> None:
    told = line(summary="short", excerpt="long text", query="what?", meeting=["passed", {"over": 1}])
    assert JOINED.read(told, "") == ("what?\n\nlong text", "short")
    same = Reader(Fields(("text",), ("text",)))
    assert same.read(line(text="both"), "") == ("both", "both")
    odd = Reader(Fields(("a field's name",), ("Füße",)))
    assert odd.read(line(**{"a field's name": "1", "Füße": "2"}), "") == ("1", "2")


@pytest.mark.parametrize("name", ["a\n", '"', "\\", "\udcff"])
def test_a_field_has_no_name_that_could_not_be_looked_for(name: str) -> None:
    with pytest.raises(ExampleRefused):
        Reader(Fields((name,)))


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (b"", "no JSON object"),
        (b"{}", "no text in a field 'input'"),
        (b"[1]", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"{", "no JSON object"),
        (line(input=PRIVATE), "no text in a field 'output'"),
        (line(input=PRIVATE, output=5), "no text in a field 'output'"),
        (line(input=PRIVATE, output=[PRIVATE]), "no text in a field 'output'"),
        (line(input=PRIVATE, output=None), "no text in a field 'output'"),
        (line(input=PRIVATE, output=" \n"), "what comes out is empty"),
        (line(input="\u200b\u202e", output=PRIVATE), "what goes in is empty"),
        (line(input="x" * (MOST_TEXT + 1), output=PRIVATE), "what goes in is longer than 1 MiB"),
        (line(input=PRIVATE, output="ü" * (MOST_TEXT // 2 + 1)), "what comes out is longer"),
        (line(input=PRIVATE, output="x") + line(input="y", output="z"), "no JSON object"),
        (b'{"input": "' + PRIVATE.encode() + b'", "output": "\xff"}', "no text in a field 'output'"),
        (b'{"input": "\\ud800", "output": "x"}', "no JSON object"),
        (b'{"rest": ' + b"[" * 100_000, "no JSON object"),
        (b'{"input": "a", "output": "b", "rest": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no JSON object"),
    ],
)
def test_what_is_no_example_is_refused_with_its_place_and_without_its_text(told: bytes, says: str) -> None:
    with pytest.raises(ExampleRefused) as refused:
        READER.read(told, "file.jsonl, line 7")
    assert refused.value.message.startswith("file.jsonl, line 7: ")
    assert says in refused.value.message
    assert PRIVATE not in refused.value.message + refused.value.hint


def test_texts_are_kept_as_they_can_be_shown() -> None:
    given, wanted = READER.read(line(input="a\x1b]52;c;x\x07b\r\nc", output="\u202eright\tto left"), "")
    assert (given, wanted) == ("a]52;c;xb\nc", "right\tto left")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=120, deadline=None)
@given(st.dictionaries(st.sampled_from(["input", "output"]) | st.text(), values), st.booleans())
def test_an_object_is_an_example_or_refused(fields: dict[str, object], ascii_only: bool) -> None:
    told = json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    wanted = fields.get("input"), fields.get("output")
    try:
        found = READER.read(told, "line 1")
    except ExampleRefused:
        # NaN isn't JSON, nor are half characters.
        whole = b"NaN" not in told and b"Infinity" not in told and b"\\ud" not in told
        texts = all(isinstance(text, str) and sanitize(text).strip() for text in wanted)
        assert not (texts and whole and "\\u" not in repr(fields))
    else:
        assert found == tuple(sanitize(str(text)) for text in wanted)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\ud8input outp', max_size=80).map(str.encode))
def test_whatever_bytes_there_are_nothing_but_a_refusal_comes_of_them(told: bytes) -> None:
    try:
        given, wanted = READER.read(told, "line 1")
    except ExampleRefused:
        return
    assert given.strip()
    assert wanted.strip()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 80), st.integers(0, 255))
def test_a_changed_byte_gives_another_example_or_a_refusal(place: int, byte: int) -> None:
    told = bytearray(line(input="what goes in", output="what comes out", rest=[1, {"a": "b"}]))
    told[place % len(told)] = byte
    try:
        texts = READER.read(bytes(told), "line 1")
    except ExampleRefused:
        return
    assert all(text == sanitize(text) for text in texts)


def test_lines_are_counted_blank_ones_too_and_a_mark_at_the_beginning_is_passed_over() -> None:
    file = io.BytesIO(b"\xef\xbb\xbf{}\n\n  \r\n{}")
    assert list(numbered_lines(file, "f")) == [(1, b"{}\n"), (4, b"{}")]


def test_a_line_without_an_end_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        asked = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            view = memoryview(buffer)  # type: ignore[arg-type]
            view[:] = b"x" * len(view)
            self.asked += len(view)
            return len(view)

    endless = Endless()
    with pytest.raises(ExampleRefused, match="line 1: it is longer than 16 MiB"):
        list(numbered_lines(io.BufferedReader(endless), "f"))
    assert endless.asked < 2 * MOST_LINE


def test_no_more_than_so_many_lines_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example_lines, "MOST_LINES", 3)
    assert len(list(numbered_lines(io.BytesIO(b"{}\n" * 3), "f"))) == 3
    with pytest.raises(ExampleRefused, match="more than 3 lines"):
        list(numbered_lines(io.BytesIO(b"{}\n" * 4), "f"))
