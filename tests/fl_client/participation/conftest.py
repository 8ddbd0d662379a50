"""A federation over TLS, as an operator runs it, and people to learn in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fl_client.participation.people import FREE, Person
from tests.orchestrator.replicas import Operator
from vault.settings import LimitSettings

__all__ = ["NewPerson"]

NewPerson = Callable[..., Person]


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    """The orchestrator and its registrar, at work."""
    made = Operator(tmp_path)
    with made.running():
        yield made


@pytest.fixture
def new_person(tmp_path: Path) -> Iterator[NewPerson]:
    """Makes people, each with a vault."""
    made: list[Person] = []

    def make(limits: LimitSettings = FREE) -> Person:
        made.append(Person(tmp_path / f"person-{len(made)}", limits))
        return made[-1]

    yield make
    for person in made:
        person.close()
