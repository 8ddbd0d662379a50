"""The anchor's mirror in a real keychain: it finds what no file beside the database can."""

import shutil
import threading
from pathlib import Path

import pytest

from tests.fixtures.keychain import Desktop
from vault.errors import KeychainError, RolledBack
from vault.home import Home
from vault.keychain import SystemKeychain
from vault.keyslots import Keyslots
from vault.lock import lock_vault
from vault.mirror import mirror_account
from vault.passphrase import KdfCost
from vault.slot_kinds import kind_of
from vault.store import Vault

CHEAP = KdfCost(memory_kib=8, iterations=1, lanes=1)
PASSPHRASE = "four random words"


@pytest.fixture
def keychain(unlocked_desktop: Desktop) -> SystemKeychain:
    return SystemKeychain()


@pytest.fixture
def home(tmp_path: Path, keychain: SystemKeychain) -> Home:
    home = Home.locate({"CLAW_HOME": str(tmp_path / "home")})
    with Vault.create(home, PASSPHRASE, keychain=keychain, cost=CHEAP) as vault:
        vault.conversations.start("the first", "")
    return home


def account(home: Home) -> str:
    return mirror_account(Keyslots.read(home.keyslots).vault_id)


def put_all_back(home: Home, copy: Path) -> None:
    shutil.rmtree(home.vault)
    shutil.copytree(copy, home.vault)


def titles(vault: Vault) -> list[str]:
    return [session.title for session in vault.conversations.sessions()]


def test_all_files_put_back_together_are_found_and_open_for_reading_alone(
    home: Home, keychain: SystemKeychain, tmp_path: Path
) -> None:
    shutil.copytree(home.vault, tmp_path / "copy")
    with Vault.open_with_keychain(home, keychain) as vault:
        vault.conversations.start("the second", "")
    put_all_back(home, tmp_path / "copy")
    with Vault.open_with_keychain(home, keychain) as vault:
        assert "older than what was last written" in vault.alarm
        assert titles(vault) == ["the first"]
        with pytest.raises(RolledBack):
            vault.conversations.start("a third", "")


def test_the_alarm_stays_until_the_person_accepts_the_older_files(
    home: Home, keychain: SystemKeychain, tmp_path: Path
) -> None:
    shutil.copytree(home.vault, tmp_path / "copy")
    with Vault.open_with_keychain(home, keychain) as vault:
        vault.conversations.start("the second", "")
    put_all_back(home, tmp_path / "copy")
    for _ in range(2):
        with Vault.open_with_keychain(home, keychain) as vault:
            assert vault.alarm
    opening = Keyslots.read(home.keyslots).open_with_keychain(keychain)
    with Vault.open_by(home, opening, keychain=keychain, accept=True) as vault:
        assert vault.alarm == ""
    with Vault.open_with_keychain(home, keychain) as vault:
        assert vault.alarm == ""
        vault.conversations.start("goes on", "")
        assert titles(vault) == ["goes on", "the first"]


def test_files_from_before_a_rotation_are_found_though_their_own_key_opens_them(
    home: Home, keychain: SystemKeychain, tmp_path: Path
) -> None:
    shutil.copytree(home.vault, tmp_path / "copy")
    vault = Vault.open_with_keychain(home, keychain)
    fresh = vault.rotate()
    Vault.open_with_master(home, fresh, "rotation", keychain=keychain).close()
    with Vault.open_with_keychain(home, keychain) as vault:
        assert vault.alarm == ""
        vault.conversations.start("after it", "")
    put_all_back(home, tmp_path / "copy")
    with Vault.open_with_keychain(home, keychain) as vault:
        assert "under another key" in vault.alarm


def test_an_item_that_something_else_wrote_is_an_alarm(home: Home, keychain: SystemKeychain) -> None:
    keychain.set(account(home), "bm90aGluZyBvZiBvdXJz")
    with Vault.open_with_keychain(home, keychain) as vault:
        assert "the keychain's item was altered" in vault.alarm


def test_a_keychain_that_was_reset_is_no_alarm_and_remembers_again(home: Home, keychain: SystemKeychain) -> None:
    keychain.delete(account(home))
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert vault.alarm == ""
    with Vault.open_with_keychain(home, keychain) as vault:
        assert vault.alarm == ""
        vault.conversations.start("goes on", "")
    assert keychain.get(account(home))


def test_a_session_without_the_keychain_in_between_is_no_alarm(home: Home, keychain: SystemKeychain) -> None:
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        vault.conversations.start("over ssh", "")
    with Vault.open_with_keychain(home, keychain) as vault:
        assert vault.alarm == ""
        assert titles(vault) == ["over ssh", "the first"]


def test_no_keys_are_rotated_where_the_keychain_that_remembers_the_vault_does_not_answer(home: Home) -> None:
    vault = Vault.open_with_passphrase(home, PASSPHRASE)
    with pytest.raises(KeychainError, match="doesn't answer here"):
        vault.rotate()
    assert vault.conversations.start("still open", "")
    vault.close()


def test_the_keychain_never_remembers_less_than_it_did(home: Home, keychain: SystemKeychain) -> None:
    slow, quick = (Vault.open_with_keychain(home, keychain) for _ in range(2))
    slow.conversations.start("one", "")
    before = slow.database.newest()
    assert before is not None
    quick.conversations.start("two", "")
    quick.close()
    assert slow._mirror is not None
    remembered = slow._mirror.read()
    slow._mirror.advance(before)
    assert slow._mirror.read() == remembered
    slow.close()


def test_a_page_taken_out_of_the_newest_change_is_found(home: Home, keychain: SystemKeychain) -> None:
    """The epoch alone would agree: what the keychain has of the pages doesn't."""
    with Vault.open_with_keychain(home, keychain) as vault:
        vault.conversations.start("the second", "")
        newest = vault.database.newest()
    assert newest is not None
    mirror = Vault.open_with_keychain(home, keychain)
    assert mirror._mirror is not None
    mirror._mirror.write(newest._replace(state=bytes(32)))
    mirror._mirror = None
    mirror.close()
    with Vault.open_with_keychain(home, keychain) as vault:
        assert "isn't what was last written" in vault.alarm


def test_a_keychain_that_was_a_way_in_before_a_rotation_and_is_one_again_is_no_alarm(
    home: Home, keychain: SystemKeychain
) -> None:
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        (slot,) = (slot for slot in vault.slots.read().slots if kind_of(slot) == "keychain")
        vault.slots.remove(slot.id)
    vault = Vault.open_with_passphrase(home, PASSPHRASE)
    vault.rotate().wipe()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        vault.add_keychain(keychain)
    with Vault.open_with_keychain(home, keychain) as vault:
        assert vault.alarm == ""
        vault.conversations.start("the second", "")


def test_a_keychain_that_becomes_a_way_in_remembers_from_then_on(
    home: Home, keychain: SystemKeychain, tmp_path: Path
) -> None:
    other = Home.locate({"CLAW_HOME": str(tmp_path / "other")})
    with Vault.create(other, PASSPHRASE, cost=CHEAP) as vault:
        vault.add_keychain(keychain)
    shutil.copytree(other.vault, tmp_path / "copy")
    with Vault.open_with_keychain(other, keychain) as vault:
        vault.conversations.start("the second", "")
    put_all_back(other, tmp_path / "copy")
    with Vault.open_with_keychain(other, keychain) as vault:
        assert "older than what was last written" in vault.alarm


def test_a_session_that_ends_with_a_lock_is_remembered_too(
    home: Home, keychain: SystemKeychain, tmp_path: Path
) -> None:
    shutil.copytree(home.vault, tmp_path / "copy")
    vault = Vault.open_with_keychain(home, keychain)
    locked = threading.Event()
    vault.watch.told = lambda _why: locked.set()
    vault.conversations.start("the second", "")
    lock_vault(home)
    assert locked.wait(20)
    vault.close()
    put_all_back(home, tmp_path / "copy")
    with Vault.open_with_keychain(home, keychain) as vault:
        assert "older than what was last written" in vault.alarm
