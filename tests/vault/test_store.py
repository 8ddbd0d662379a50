"""The vault: made whole or not at all, opened by one of its slots, closed for good."""

import contextlib
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import msgspec
import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import ROOT, SmallDisk, command, fill, make_read_only
from tests.fixtures.slots import Notebook
from tests.vault.test_durable import kill_at_step
from vault import durable, store
from vault.errors import (
    DatabaseDamaged,
    DiskFull,
    HomeNotWritable,
    KeychainError,
    KeychainLocked,
    KeyslotsDamaged,
    Locked,
    NoVault,
    VaultError,
    VaultExists,
    WrongPassphrase,
)
from vault.home import Home
from vault.keychain import Keychain
from vault.keys import MasterKey, VaultId
from vault.keyslots import Keyslots
from vault.store import Vault


def make(home: Home, keychain: Keychain | None = None) -> None:
    with Vault.create(home, PASSPHRASE, keychain=keychain, cost=CHEAP) as vault:
        vault.conversations.start("kept", "")


def titles(vault: Vault) -> list[str]:
    return [session.title for session in vault.conversations.sessions()]


def test_a_vault_opens_by_its_passphrase_and_by_its_keychain(home: Home) -> None:
    keychain = Notebook()
    make(home, keychain)
    for vault, opened_by in (
        (Vault.open_with_passphrase(home, PASSPHRASE), "passphrase"),
        (Vault.open_with_keychain(home, keychain), "keychain"),
    ):
        with vault:
            assert vault.opened_by == opened_by
            assert titles(vault) == ["kept"]
            assert vault.integrity_errors() == []


def test_a_keychain_added_later_opens_it_too(home: Home) -> None:
    keychain = Notebook()
    make(home)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        vault.slots.add_keychain(keychain)
    with Vault.open_with_keychain(home, keychain) as vault:
        assert titles(vault) == ["kept"]
    Vault.open_with_passphrase(home, PASSPHRASE).close()


def test_a_wrong_passphrase_leaves_every_file_untouched(home: Home) -> None:
    make(home)
    before = contents(home)
    with pytest.raises(WrongPassphrase):
        Vault.open_with_passphrase(home, PASSPHRASE + "!")
    assert contents(home) == before


def test_two_vaults_share_no_key(tmp_path: Path) -> None:
    homes = [Home.locate({"CLAW_HOME": str(tmp_path / name)}) for name in "ab"]
    for home in homes:
        make(home)
    homes[0].database.write_bytes(homes[1].database.read_bytes())
    with pytest.raises(DatabaseDamaged, match="another key"):
        Vault.open_with_passphrase(homes[0], PASSPHRASE)


def test_each_use_of_the_master_key_has_a_key_of_its_own() -> None:
    one, other = VaultId("a" * 32), VaultId("b" * 32)
    keys = [MasterKey(bytes(32), vault).derive(use) for vault in (one, other) for use in ("database", "keyslots")]
    assert len({bytes(32), *keys}) == 5
    # HKDF-SHA256 (RFC 5869) with the vault's id as salt, so that a vault of today opens with a program of tomorrow.
    assert (
        MasterKey(bytes(32), one).derive("database").hex()
        == "71c8fd205becd51d0dc0d4dd8e8fffd28630835a314e898381f9494f16912813"
    )


def test_a_master_key_shows_itself_nowhere_and_is_gone_when_wiped() -> None:
    secret = bytes(range(32))
    key = MasterKey(secret, VaultId("a" * 32))
    assert secret.hex() not in f"{key!r} {key}"
    key.wipe()
    with pytest.raises(Locked):
        key.expose()
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKey(secret[:-1], VaultId("a" * 32))


def test_the_key_is_wiped_when_the_vault_closes_and_closing_twice_is_nothing(home: Home) -> None:
    vault = Vault.create(home, PASSPHRASE, cost=CHEAP)
    master = vault._master
    vault.close()
    vault.close()
    with pytest.raises(Locked):
        master.expose()


# Made whole or not at all


def test_a_process_killed_at_any_step_of_making_leaves_a_whole_vault_or_none(tmp_path: Path) -> None:
    made = []
    for step in count(1):
        home = Home.locate({"CLAW_HOME": f"{tmp_path}/{step}"})
        # A new process each time: one forked from a process that has had threads may wait for a lock for ever.
        ended = subprocess.run(command(make_and_die, home.data, step), cwd=ROOT, timeout=60, check=False)
        made.append(home.vault.exists())
        if made[-1]:
            with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
                assert vault.integrity_errors() == []
        else:
            with pytest.raises(NoVault):
                Vault.open_with_passphrase(home, PASSPHRASE)
            make(home)  # what the killed one left is in nobody's way
        if ended.returncode >= 0:
            assert ended.returncode == 0
            break
    assert len(made) > 30
    assert made == sorted(made)
    assert {*made} == {False, True}


def make_and_die(folder: str, step: str) -> None:
    kill_at_step(int(step), store.__file__, durable.__file__)
    Vault.create(Home.locate({"CLAW_HOME": folder}), PASSPHRASE, cost=CHEAP)


@pytest.mark.parametrize("size", ["4k", "8k", "16k", "32k", "64k", "96k", "128k"])
def test_a_disk_without_room_makes_no_vault_and_no_debris(small_disk: SmallDisk, size: str) -> None:
    small_disk.run(size, make_on_a_tiny_disk)


def make_on_a_tiny_disk(folder: str) -> None:
    home = Home.locate({"CLAW_HOME": f"{folder}/home"})
    keychain = Notebook()
    with pytest.raises(DiskFull, match="is full") as refused:
        Vault.create(home, PASSPHRASE, keychain=keychain, cost=CHEAP)
    assert "Free some room" in refused.value.hint
    assert not home.data.exists() or list(home.data.iterdir()) == []
    assert keychain.items == {}


def test_a_full_disk_changes_no_slots(small_disk: SmallDisk) -> None:
    small_disk.run("1m", add_a_slot_on_a_full_disk)


def add_a_slot_on_a_full_disk(folder: str) -> None:
    home = Home.locate({"CLAW_HOME": f"{folder}/home"})
    make(home)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        before = home.keyslots.read_bytes()
        filler = fill(Path(folder))
        with pytest.raises(DiskFull):
            vault.slots.add_keychain(Notebook())
        assert home.keyslots.read_bytes() == before
        filler.unlink()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert titles(vault) == ["kept"]


def test_a_read_only_home_is_a_clear_error(small_disk: SmallDisk) -> None:
    small_disk.run("2m", use_a_read_only_home)


def use_a_read_only_home(folder: str) -> None:
    home = Home.locate({"CLAW_HOME": f"{folder}/home"})
    make(home)
    make_read_only(Path(folder))
    with pytest.raises(VaultError, match="can't be written") as refused:
        Vault.open_with_passphrase(home, PASSPHRASE)
    assert "CLAW_HOME" in refused.value.hint
    with pytest.raises(HomeNotWritable, match="Read-only") as refused:
        make(Home.locate({"CLAW_HOME": f"{folder}/other"}))
    assert "CLAW_HOME" in refused.value.hint


class Refusing(Notebook):
    """A keychain that locks itself at a bad moment."""

    def get(self, account: str) -> str | None:
        raise KeychainLocked("The keychain is locked.")


class Forgetful(Notebook):
    """A keychain that takes a secret and keeps another."""

    def set(self, account: str, secret: str) -> None:
        super().set(account, "something else")


@pytest.mark.parametrize("keychain", [Refusing(), Forgetful()], ids=["locked", "forgetful"])
def test_a_keychain_that_does_not_keep_the_key_leaves_no_vault(home: Home, keychain: Notebook) -> None:
    with pytest.raises(KeychainError):
        Vault.create(home, PASSPHRASE, keychain=keychain, cost=CHEAP)
    assert list(home.data.iterdir()) == []
    make(home)


def test_a_keychain_that_does_not_keep_the_key_changes_no_slots(home: Home) -> None:
    make(home)
    before = home.keyslots.read_bytes()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault, pytest.raises(KeychainError):
        vault.slots.add_keychain(Forgetful())
    assert home.keyslots.read_bytes() == before


@pytest.mark.parametrize("passphrase", ["", "1234567", "漢字漢字漢字漢"])
def test_a_passphrase_that_is_too_short_makes_nothing(home: Home, passphrase: str) -> None:
    with pytest.raises(VaultError, match="at least 8 characters"):
        Vault.create(home, passphrase, cost=CHEAP)
    assert not home.data.exists()


def test_a_second_vault_is_not_made_over_the_first(home: Home) -> None:
    make(home)
    before = contents(home)
    with pytest.raises(VaultExists):
        Vault.create(home, "another passphrase", cost=CHEAP)
    assert contents(home) == before


def test_of_those_who_make_it_at_once_one_does_and_the_others_are_told(home: Home) -> None:
    together = threading.Barrier(4)

    def attempt(n: int) -> str:
        together.wait()
        try:
            Vault.create(home, f"passphrase {n}", cost=CHEAP).close()
        except VaultExists:
            return "exists"
        return f"passphrase {n}"

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(attempt, range(4)))
    assert sorted(results)[:3] == ["exists"] * 3
    Vault.open_with_passphrase(home, max(results)).close()
    assert list(home.data.iterdir()) == [home.vault]


# Damage


@pytest.mark.parametrize("name", ["vault.db", "keyslots.json"])
def test_a_missing_file_is_damage_and_no_new_vault_takes_its_place(home: Home, name: str) -> None:
    make(home)
    (home.vault / name).unlink()
    before = contents(home)
    with pytest.raises((DatabaseDamaged, KeyslotsDamaged), match="missing"):
        Vault.open_with_passphrase(home, PASSPHRASE)
    with pytest.raises(VaultExists):
        Vault.create(home, PASSPHRASE, cost=CHEAP)
    assert contents(home) == before


def test_the_backup_of_the_slots_opens_the_vault(home: Home) -> None:
    make(home)
    home.keyslots.write_bytes(b"{")
    with pytest.raises(KeyslotsDamaged) as refused:
        Vault.open_with_passphrase(home, PASSPHRASE)
    assert os.system(refused.value.hint.partition(": ")[2]) == 0  # what the message says works as it stands
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        assert titles(vault) == ["kept"]


def test_an_open_vault_does_not_vouch_for_slots_that_somebody_else_changed(home: Home) -> None:
    keychain = Notebook()
    make(home, keychain)
    slots = Keyslots.read(home.keyslots)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        removed = Keyslots(slots.vault_id, slots.epoch, slots.slots[:1], bytes(32))
        removed.write(home.keyslots)
        before = home.keyslots.read_bytes()
        with pytest.raises(KeyslotsDamaged, match="changed by something else"):
            vault.slots.add_keychain(Notebook())
        assert home.keyslots.read_bytes() == before


def test_an_open_vault_adds_no_slot_to_another_vaults_file(home: Home, tmp_path: Path) -> None:
    other = Home.locate({"CLAW_HOME": str(tmp_path / "other")})
    make(home)
    make(other)
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        home.keyslots.write_bytes(other.keyslots.read_bytes())
        with pytest.raises(KeyslotsDamaged, match="another vault"):
            vault.slots.add_keychain(Notebook())


def test_the_stored_cost_is_the_one_asked_for(home: Home) -> None:
    make(home)
    (slot,) = Keyslots.read(home.keyslots).slots
    assert msgspec.to_builtins(slot)["cost"] == msgspec.to_builtins(CHEAP)


def contents(home: Home) -> dict[str, bytes]:
    with contextlib.suppress(FileNotFoundError):
        return {file.name: file.read_bytes() for file in home.vault.iterdir()}
    return {}
