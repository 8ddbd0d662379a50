"""Transcripts as people write them down, and as nobody should."""

import pytest

from skills.bundled.meetings.transcript import LONGEST, read_transcript

LABELLED = """\
Anna Berg: Good morning. Uh, the printer {vocalsound} is is broken .
Ben: I 'll call them .

and they come on Tuesday.
[00:01:05] Anna Berg: Fine.
"""


def said(text: str) -> list[tuple[int, str, str]]:
    return [(one.line, one.speaker, one.text) for one in read_transcript(text).utterances]


def test_who_said_what_in_which_line() -> None:
    assert said(LABELLED) == [
        (1, "Anna Berg", "Good morning. the printer is broken."),
        (2, "Ben", "I'll call them."),
        (4, "Ben", "and they come on Tuesday."),
        (5, "Anna Berg", "Fine."),
    ]
    assert read_transcript(LABELLED).speakers == ("Anna Berg", "Ben")


def test_a_text_without_names_is_said_by_nobody_in_particular() -> None:
    text = "We met on Monday. Note: it rained.\nLater we left.\nOne thing: nothing.\n" + "More words here.\n" * 9
    assert {speaker for _, speaker, _ in said(text)} == {""}
    assert read_transcript(text).speakers == ()


def test_subtitles_are_read_without_their_times() -> None:
    text = (
        "WEBVTT\n\n1\n00:00:01.000 --> 00:00:04.000\nAnna: Hello.\n\n2\n00:00:05.000 --> 00:00:06.000\nBen: Bye.\n"
    )
    assert [(speaker, words) for _, speaker, words in said(text)] == [("Anna", "Hello."), ("Ben", "Bye.")]


@pytest.mark.parametrize("text", ["I insist on it.", "So we were late.", "A an apple", "We had a plan"])
def test_whole_words_stay(text: str) -> None:
    assert said(text) == [(1, "", text)]


def test_stutters_go() -> None:
    assert said("Th - the p plan is the plan is H how we we go") == [(1, "", "Th - the plan is how we go")]


@pytest.mark.parametrize("text", ["", "\n\n", "...", "{laugh}\n[noise]", "12\n13"])
def test_where_nothing_is_said_nothing_is_found(text: str) -> None:
    assert said(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "word " * 200_000,
        "x" * 1_000_000,
        "a, b. " * 160_000,
        "{" * 1_000_000,
        "N: " * 300_000,
        "m" * 1_000_000,
        "." * 1_000_000,
        "a" + " " * 1_000_000 + "b",
    ],
)
def test_a_line_of_a_megabyte_is_cut_to_pieces_of_that_line(line: str) -> None:
    found = said(line)
    assert {number for number, _, _ in found} <= {1}
    assert all(len(words) <= LONGEST for _, _, words in found)
