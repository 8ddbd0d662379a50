"""The real model in a real worker, started once for the tests that do it no harm."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from agent.inference import Inference
from agent.models.embedded import embedded_file
from tests.agent.talk import ask, counting, worker

# How long an example takes says something about the machine's other work alone.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The file of the embedded model."""
    return embedded_file()


@pytest.fixture(scope="session")
def shared(smollm: Path) -> Iterator[Inference]:
    """A worker that many tests ask; whoever needs a known cache, or means to harm it, starts another."""
    with worker(smollm) as inference:
        yield inference


@pytest.fixture
def tiny(tiny_model: Path) -> Iterator[Inference]:
    """A worker with the tiny model: its replies are random bytes, and quick."""
    with worker(tiny_model) as inference:
        yield inference


@pytest.fixture(scope="session")
def right_count(smollm: Path) -> str:
    """What a worker that has done nothing else answers to `counting(4)`."""
    with worker(smollm) as fresh:
        return ask(fresh, *counting(4)).text
