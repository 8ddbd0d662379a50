"""Fixtures of the log's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vault.log.kept import Kept


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """An empty log."""
    kept = Kept(tmp_path / "vault.db")
    yield kept
    kept.database.close()


@pytest.fixture
def filled(kept: Kept) -> Kept:
    """A log of twenty entries."""
    kept.fill(20)
    return kept
