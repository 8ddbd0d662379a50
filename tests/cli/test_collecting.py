"""Results that a person accepts or corrects become examples: only where that is enabled, and only then."""

import json

import pytest

from tests.cli.test_skill_route import SONG
from tests.cli.test_skill_route import pytestmark as pytestmark
from tests.fixtures.command import Person

RIGHT = "Was that right, and may it be kept as an example, on this device? [y/N] "


def kept(person: Person) -> list[dict[str, object]]:
    return list(json.loads(person.claw("skill", "examples", "list", "--json").stdout))


def test_nothing_is_asked_or_kept_unless_it_was_enabled(person: Person) -> None:
    terminal = person.terminal("skill", "run", "intent-router", SONG)
    assert terminal.ends() == 1
    assert RIGHT not in terminal.screen
    assert kept(person) == []


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [(["y"], ["accepted"]), (["n", "add_note"], ["corrected"]), (["n", ""], []), (["n", "x"], [])],
)
def test_what_is_accepted_or_corrected_is_kept(person: Person, answers: list[str], kinds: list[str]) -> None:
    person.set("skills.collect_examples", "true")
    terminal = person.terminal("skill", "run", "intent-router", SONG)
    terminal.sees(RIGHT)
    terminal.types(answers[0])
    for answer in answers[1:]:
        terminal.sees("Enter for nothing: ")
        terminal.types(answer)
    assert terminal.ends() == 1
    assert [example["kind"] for example in kept(person)] == kinds


def test_without_anybody_to_ask_nothing_is_kept(person: Person) -> None:
    person.set("skills.collect_examples", "true")
    assert person.claw("skill", "run", "intent-router", SONG).returncode == 1
    assert kept(person) == []
