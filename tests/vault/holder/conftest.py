"""A vault's key, and the process that holds it."""

from collections.abc import Iterator

import pytest

from vault.holder import KeyHolder
from vault.home import Home
from vault.keys import MasterKey, VaultId


@pytest.fixture
def master() -> MasterKey:
    return MasterKey(bytes(range(32)), VaultId("0123456789abcdef" * 2))


@pytest.fixture
def holder(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyHolder]:
    """Of a vault's folder; ended with the test."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    home.vault.mkdir(parents=True)
    holder = KeyHolder(home)
    yield holder
    holder.end()
