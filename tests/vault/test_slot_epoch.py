"""An older `keyslots.json` that was put back: it would bring back a way in that was taken away."""

import shutil
from pathlib import Path

import pytest

from vault.errors import KeyslotsDamaged, RolledBack
from vault.home import Home
from vault.keyslots import Keyslots
from vault.passphrase import KdfCost
from vault.slot_epoch import remember_slots
from vault.store import Vault

CHEAP = KdfCost(memory_kib=8, iterations=1, lanes=1)
OLD, NEW = "four random words", "five other random words"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A vault whose passphrase was changed; `before.json` holds the slots of before."""
    home = Home.locate({"CLAW_HOME": str(tmp_path / "home")})
    with Vault.create(home, OLD, cost=CHEAP) as vault:
        shutil.copy(home.keyslots, tmp_path / "before.json")
        [slot] = Keyslots.read(home.keyslots).slots
        vault.slots.add_passphrase(NEW, CHEAP)
        vault.slots.remove(slot.id)
    return home


def put_back(home: Home) -> None:
    for name in ("keyslots.json", "keyslots.json.backup"):
        shutil.copy(home.data.parent / "before.json", home.vault / name)


def test_a_passphrase_that_was_taken_away_brings_an_alarm_with_it(home: Home) -> None:
    put_back(home)
    with Vault.open_with_passphrase(home, OLD) as vault:
        assert "keyslots.json is older" in vault.alarm
        with pytest.raises(RolledBack):
            vault.conversations.start("", "")


def test_the_newest_slots_are_no_alarm_however_often_they_open(home: Home) -> None:
    for _ in range(2):
        with Vault.open_with_passphrase(home, NEW) as vault:
            assert vault.alarm == ""


def test_a_person_may_take_the_older_slots_for_good(home: Home) -> None:
    put_back(home)
    opening = Keyslots.read(home.keyslots).open_with_passphrase(OLD)
    Vault.open_by(home, opening, accept=True).close()
    with Vault.open_with_passphrase(home, OLD) as vault:
        assert vault.alarm == ""


def test_slots_that_something_else_wrote_are_refused_even_with_the_key_in_hand(home: Home) -> None:
    opening = Keyslots.read(home.keyslots).open_with_passphrase(NEW)
    text = home.keyslots.read_text()
    home.keyslots.write_text(text.replace('"created": ', '"created": 1', 1))
    with pytest.raises(KeyslotsDamaged):
        Vault.open_with_master(home, opening.master, "holder")


def test_slots_that_are_put_back_while_the_vault_is_open_are_not_built_upon(home: Home) -> None:
    with Vault.open_with_passphrase(home, NEW) as vault:
        put_back(home)
        with pytest.raises(RolledBack, match="put back while the vault was open"):
            vault.slots.add_passphrase("a third passphrase", CHEAP)
        with pytest.raises(RolledBack):
            vault.database.write(lambda connection: remember_slots(connection, home.keyslots))
    with Vault.open_with_passphrase(home, OLD) as vault:
        assert "keyslots.json is older" in vault.alarm
