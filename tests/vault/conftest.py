"""Fixtures of the vault's tests."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.databases import KEY, MANY, Peer
from vault.database import Database


@pytest.fixture
def loose_umask() -> Iterator[None]:
    """A person whose new files everybody may read and write, if we let them."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def heard_ctrl_c() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests were started with it ignored, as in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database may be made: nothing lies there yet."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "vault.db"


@pytest.fixture
def filled(path: Path) -> Path:
    """A closed database with three hundred sessions, large enough to have pages to damage."""
    kept = Database.create(path, KEY)
    kept.write(lambda c: [c.execute(MANY, (f"session {n}", "prompt " * 200)) for n in range(300)])
    kept.close()
    return path


@pytest.fixture
def peer() -> Iterator[Callable[[Path], Peer]]:
    """Starts other processes that use a database; whatever is left of them ends with the test."""
    started: list[Peer] = []

    def start(path: Path) -> Peer:
        started.append(Peer(path))
        return started[-1]

    yield start
    for process in started:
        process.end()
