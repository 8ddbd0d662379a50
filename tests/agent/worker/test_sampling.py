"""The end of a reply at a stop string, and grammars."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.worker.grammar import SchemaFailed, grammar_of
from agent.worker.sampling import StopScanner

letters = st.text("ab<|", max_size=30)
stops = st.lists(st.text("ab<|", min_size=1, max_size=5), max_size=3)


def in_pieces(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(places)]


def shown(scanner: StopScanner, pieces: list[str]) -> str:
    passed = ""
    for piece in pieces:
        passed += scanner.push(piece)
        if scanner.stopped:
            return passed
    return passed + scanner.flush()


@example("xab<", ["ab<", "b"], [])
@example("xab<", ["ab<", "b"], [1, 2, 3])
@given(letters, stops, st.lists(st.integers(0, 100), max_size=12))
def test_what_is_shown_ends_where_the_first_stop_string_completes_however_the_text_is_split(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    scanner = StopScanner(stops)

    assert shown(scanner, in_pieces(text, cuts)) == (text[: min(found)[1]] if found else text)
    assert scanner.stopped == bool(found)


@given(letters, stops, st.lists(st.integers(0, 100), max_size=12))
def test_nothing_is_held_back_that_could_not_begin_a_stop_string(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    scanner, passed = StopScanner(stops), ""
    for piece in in_pieces(text, cuts):
        passed += scanner.push(piece)
    if not scanner.stopped:
        held = text[len(passed) :]
        assert not held or any(stop.startswith(held) for stop in stops)


def test_an_empty_stop_string_stops_nothing() -> None:
    scanner = StopScanner([""])

    assert scanner.push("everything") == "everything"
    assert not scanner.stopped


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "no JSON at all",
        "[]",
        '{"$ref": "#/nowhere"}',
        '{"$ref": "https://example.org/schema.json"}',
    ],
)
def test_what_is_no_usable_schema_is_refused(schema: str) -> None:
    with pytest.raises(SchemaFailed):
        grammar_of(schema)
