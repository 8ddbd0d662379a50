"""Where the files lie."""

import stat
from pathlib import Path

import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from vault.errors import SettingsError
from vault.home import Home
from vault.settings import set_setting
from vault.store import Vault


def test_claw_home_puts_everything_into_one_folder(tmp_path: Path) -> None:
    home = Home.locate({"CLAW_HOME": str(tmp_path / "claw")})
    inside = (home.data, home.config_file, home.vault, home.database, home.keyslots, home.models)
    assert all(path.is_relative_to(tmp_path / "claw") for path in inside)
    assert home.config_file.name == "config.toml"


def test_locating_a_home_makes_nothing(tmp_path: Path) -> None:
    Home.locate({"CLAW_HOME": str(tmp_path / "claw")})
    assert list(tmp_path.iterdir()) == []


def test_a_relative_claw_home_and_a_tilde_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    assert Home.locate({"CLAW_HOME": "here"}).data == tmp_path / "here"
    assert Home.locate({"CLAW_HOME": "~/claw"}).data == tmp_path / "person" / "claw"


@pytest.mark.parametrize("environment", [{}, {"CLAW_HOME": ""}])
def test_without_claw_home_the_platforms_folders_are_used(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home = Home.locate(environment)
    assert home.data == tmp_path / "data" / "openclaw-core"
    assert home.config_file == tmp_path / "config" / "openclaw-core" / "config.toml"


def test_only_the_owner_can_enter_any_folder_or_read_any_file(home: Home, loose_umask: None) -> None:
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        vault.conversations.start("A title", "")
        set_setting(home.config_file, "sampling.top_k", "7")
        found = [home.data, *home.data.rglob("*")]
        assert {path.name for path in found} >= {"home", "vault", "vault.db", "vault.db-wal", "keyslots.json"}
        assert [mode(path) for path in found if path.is_dir()] == [0o700, 0o700]
        assert {mode(path) for path in found if path.is_file()} == {0o600}


def test_a_folder_that_others_could_enter_is_closed_to_them(home: Home) -> None:
    home.data.mkdir(mode=0o755)
    home.data.chmod(0o755)
    Vault.create(home, PASSPHRASE, cost=CHEAP).close()
    assert mode(home.data) == 0o700


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_claw_home_that_is_no_text_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"no UTF-8 text: /tmp/\\udcff\."):
        Home.locate({"CLAW_HOME": "/tmp/\udcff"})
