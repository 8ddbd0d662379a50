"""Kill -9 of the app and of its worker in the middle of conversations; `benchmarks/crash.py` does it 200 times."""

import random
from pathlib import Path

import pytest

from benchmarks.crash import PASSPHRASE, Sitting, gone, prepare
from vault.home import Home
from vault.settings import set_setting
from vault.store import Vault


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path]:
    """A home with a vault, and the file with its passphrase; the crashes follow one another in it."""
    home, secret = prepare(tmp_path_factory.mktemp("crash"))
    set_setting(home.config_file, "inference.threads", "1")
    return home, secret


@pytest.mark.parametrize("killed", ["app", "worker"])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_killed_nothing_acknowledged_is_lost(
    account: tuple[Home, Path], killed: str, seed: int
) -> None:
    home, secret = account
    sitting = Sitting(home, secret, seed * 2 + (killed == "worker"), random.Random(seed))
    worker = sitting.run(kill_app=killed == "app")
    assert gone(worker)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert vault.integrity_errors() == []
        assert sitting.lost(vault.conversations) == 0
        kept = sum(session.messages for session in vault.conversations.sessions())
    assert kept >= len(sitting.asked) + len(sitting.answered)
