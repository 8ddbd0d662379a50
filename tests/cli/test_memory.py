"""`claw memory`: what the assistant remembers, in the person's hands."""

import json

from tests.fixtures.command import Person


def test_notes_are_added_found_and_forgotten(person: Person) -> None:
    assert person.claw("memory", "add", "Milk, on Friday").returncode == 0
    assert person.claw("memory", "add", stdin="The boiler's number is 4711\n").returncode == 0
    assert "Milk" in person.claw("memory", "list").stdout
    (found,) = json.loads(person.claw("memory", "search", "boiler 4711", "--json").stdout)
    assert (found["text"], found["source"]) == ("The boiler's number is 4711", "the person")
    assert person.claw("memory", "forget", found["id"]).returncode == 0
    assert [note["text"] for note in json.loads(person.claw("memory", "list", "--json").stdout)] == [
        "Milk, on Friday"
    ]
    again = person.claw("memory", "forget", found["id"])
    assert again.returncode == 2
    assert "There is no note" in again.stderr


def test_an_empty_or_endless_note_is_refused(person: Person) -> None:
    assert person.claw("memory", "add", "  ").returncode == 1
    assert person.claw("memory", "add", stdin="x" * 5000).returncode == 1
    assert person.claw("memory", "list", "--json").stdout == "[]\n"
