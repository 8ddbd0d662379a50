"""Turns of phrase that propose decisions, tasks and questions, and whose they are."""

import pytest

from skills.bundled.meetings.cues import Kind, candidates
from skills.bundled.meetings.transcript import read_transcript


def proposed(text: str) -> list[tuple[Kind, str, str | None]]:
    transcript = read_transcript(text)
    found = candidates(transcript.utterances, transcript.speakers, 10)
    return [(kind, one.clause, one.owner) for kind, of_kind in found.items() for one in of_kind]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            "Okay, let's keep the old menu until spring.",
            (Kind.DECISION, "Okay, let's keep the old menu until spring.", None),
        ),
        ("We decided to cancel the summer party.", (Kind.DECISION, "We decided to cancel the summer party.", None)),
        ("I will send the invoice tomorrow.", (Kind.TASK, "I will send the invoice tomorrow.", "Anna")),
        ("Ben, could you order new paper?", (Kind.TASK, "Ben, could you order new paper?", "Ben")),
        ("Somebody should clean the kitchen today.", (Kind.TASK, "Somebody should clean the kitchen today.", None)),
        ("How should we pay for the new printer?", (Kind.QUESTION, "How should we pay for the new printer?", None)),
    ],
)
def test_a_turn_of_phrase_proposes_what_it_is_used_for(said: str, found: tuple[Kind, str, str | None]) -> None:
    assert found in proposed(f"Anna: {said}\nBen: Hm, I don't know.\nAnna: Well.\n")


@pytest.mark.parametrize(
    "said",
    [
        "The weather was lovely all week long.",
        "I'll say one thing about the printer.",
        "If we had money we should buy a boat and a plane.",
        "She said \"let's buy the expensive printer",
        "Let's go.",
    ],
)
def test_mere_talk_proposes_nothing(said: str) -> None:
    assert proposed(f"Anna: {said}\nBen: Yes.\n") == []


def test_nobody_who_does_not_speak_is_made_an_owner() -> None:
    assert proposed("Anna: Zoe, could you order new paper?\nBen: She isn't here.\n")[0][2] is None
    assert [owner for _, _, owner in proposed("I will send the invoice tomorrow.")] == [None]


def test_what_is_said_twice_is_proposed_once() -> None:
    once = "Anna: I will send the invoice to the bank tomorrow.\n"
    assert len(proposed(once * 3 + "Ben: Good.\n")) == 1
