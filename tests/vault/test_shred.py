"""Destroying a vault: the keys first, whatever state it is in, and however often it is interrupted."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import ROOT, SmallDisk, command, fill
from tests.fixtures.slots import Drawer, Notebook
from tests.vault.test_durable import kill_at_step
from vault import shred as shredding
from vault.errors import ClawError, KeychainLocked, Locked
from vault.holder import KeyHolder
from vault.home import Home
from vault.keychain import Keychain
from vault.lock import LockLatch, LockLimits
from vault.shred import shred, shreddable
from vault.slot_kinds import KeychainSlot
from vault.store import Vault


def locked() -> Keychain:
    raise KeychainLocked("The keychain is locked.")


@pytest.fixture
def keychain() -> Notebook:
    return Notebook({"somebody else's": "secret"})


@pytest.fixture
def made(home: Home, keychain: Notebook) -> Home:
    """A home with a closed vault that has a keychain slot, and everything around it."""
    with Vault.create(home, PASSPHRASE, keychain=keychain, cost=CHEAP) as vault:
        vault.conversations.start("private", "")
    home.config_file.write_text("[vault]\n")
    home.models.mkdir()
    (home.models / "weights.gguf").write_bytes(b"public")
    return home


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_of_the_vault_is_left_and_what_is_not_of_it_stays(made: Home, keychain: Notebook) -> None:
    assert len(keychain.items) > 1
    done = shred(made, lambda: keychain)
    assert keychain.items == {"somebody else's": "secret"}
    assert names(made.data) == ["config.toml", "models"]
    assert (made.models / "weights.gguf").exists()
    assert (done.key_files, done.overwritten, done.in_use, done.keychain_left) == (2, True, False, ())
    assert len(done.keychain) == 2
    assert done.files == 3
    assert shreddable(made) is None


def test_the_weights_go_when_that_was_asked_for(made: Home, keychain: Notebook) -> None:
    shred(made, lambda: keychain, models=True)
    assert names(made.data) == ["config.toml"]


def test_another_vault_can_be_made_in_its_place(made: Home, keychain: Notebook) -> None:
    shred(made, lambda: keychain)
    with Vault.create(made, PASSPHRASE, cost=CHEAP) as vault:
        assert vault.conversations.sessions() == []
    assert not LockLatch(made.data).engaged


def test_the_key_slots_are_overwritten_before_they_are_removed(
    made: Home, keychain: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in made.vault.glob("keyslots*")}
    seen: dict[Path, bytes] = {}
    unlink = Path.unlink

    def look_first(path: Path, missing_ok: bool = False) -> None:
        if path in before:
            seen[path] = path.read_bytes()
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", look_first)
    shred(made, lambda: keychain)
    assert seen.keys() == before.keys()
    for path, data in before.items():
        assert len(seen[path]) == len(data)
        assert b'"slots"' not in seen[path]


def test_staged_key_slots_and_unfinished_vaults_go_too(made: Home, keychain: Notebook) -> None:
    slots = (made.vault / "keyslots.json").read_bytes()
    for path in (
        made.vault / ".keyslots.json.0123456789ab.new",
        made.vault / "next" / "keyslots.json",
        made.data / ".vault.0123456789ab.new" / "keyslots.json",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(slots)
    assert shred(made, lambda: keychain).key_files == 5
    assert names(made.data) == ["config.toml", "models"]


def test_a_locked_keychain_keeps_nothing_alive_and_what_it_may_still_hold_is_named(
    made: Home, keychain: Notebook
) -> None:
    done = shred(made, locked)
    assert set(done.keychain_left) == set(keychain.items) - {"somebody else's"}
    assert done.keychain == ()
    assert not made.vault.exists()


def test_what_the_keychain_remembers_goes_though_it_is_no_way_in_any_more(made: Home, keychain: Notebook) -> None:
    with Vault.open_with_passphrase(made, PASSPHRASE) as vault:
        (slot,) = (slot for slot in vault.slots.read().slots if isinstance(slot, KeychainSlot))
        vault.slots.remove(slot.id, lambda _slot: keychain.delete(slot.account))
    assert len(keychain.items) == 2
    done = shred(made, lambda: keychain)
    assert (len(done.keychain), done.keychain_left) == (1, ())
    assert keychain.items == {"somebody else's": "secret"}


@pytest.mark.parametrize("file", ["keyslots.json", "keyslots.json.backup", "vault.db"])
def test_a_damaged_vault_is_destroyed_all_the_same(made: Home, keychain: Notebook, file: str) -> None:
    (made.vault / file).write_bytes(b"garbage")
    done = shred(made, lambda: keychain)
    assert len(done.keychain) == 2
    assert not made.vault.exists()


def test_a_vault_that_is_a_link_is_destroyed_where_it_lies(made: Home, keychain: Notebook, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    made.vault.rename(elsewhere)
    made.vault.symlink_to(elsewhere)
    shred(made, lambda: keychain)
    assert not elsewhere.exists()
    assert names(made.data) == ["config.toml", "models"]


def test_a_program_that_has_the_vault_open_locks_it(made: Home, keychain: Notebook) -> None:
    vault = Vault.open_with_passphrase(made, PASSPHRASE)
    assert shred(made, lambda: keychain).in_use
    with pytest.raises(Locked):
        vault.conversations.sessions()
    vault.close()
    assert not made.vault.exists()


def test_where_there_is_no_vault_there_is_nothing_to_destroy(home: Home) -> None:
    assert shreddable(home) is None
    done = shred(home, locked)
    assert (done.key_files, done.files) == (0, 0)
    assert not home.data.exists()


def test_a_full_disk_keeps_nobody_from_destroying(small_disk: SmallDisk) -> None:
    small_disk.run("1m", destroy_on_a_full_disk)


def destroy_on_a_full_disk(folder: str) -> None:
    home = Home.locate({"CLAW_HOME": f"{folder}/home"})
    Vault.create(home, PASSPHRASE, cost=CHEAP).close()
    fill(Path(folder))
    shred(home, locked)
    assert not home.vault.exists()


@pytest.mark.skipif(not KeyHolder.POSSIBLE, reason="keys are held on Linux alone so far")
def test_a_holder_that_the_system_hides_keeps_nobody_from_destroying(
    made: Home, keychain: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of another PID namespace, whose process id is none here."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with Vault.open_with_passphrase(made, PASSPHRASE) as vault:
        vault.hold(LockLimits())
    holder = KeyHolder(made)

    def hidden(_pid: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pidfd_open", hidden)
            done = shred(made, lambda: keychain)
    finally:
        assert holder.end()
    assert (done.key_files, len(done.keychain)) == (2, 2)
    assert not made.vault.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_to_overwrite(
    made: Home, keychain: Notebook, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Where that needs room that isn't there, the files are removed; another fault is told."""

    def refuse(*_arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "write", refuse)
    if code == errno.ENOSPC:
        assert shred(made, lambda: keychain).overwritten is False
        assert not made.vault.exists()
    else:
        with pytest.raises(ClawError):
            shred(made, lambda: keychain)
        monkeypatch.undo()
        shred(made, lambda: keychain)
        assert not made.vault.exists()


# Killed at any step


def test_a_process_killed_at_any_step_leaves_a_vault_that_opens_or_one_that_nobody_can_open(tmp_path: Path) -> None:
    template = tmp_path / "template"
    drawer = template / "drawer"
    drawer.mkdir(parents=True)
    made = Home.locate({"CLAW_HOME": str(template / "home")})
    Vault.create(made, PASSPHRASE, keychain=Drawer(drawer), cost=CHEAP).close()
    outcomes = set()
    for step in range(1, 10_000, 11):
        folder = tmp_path / f"step{step}"
        shutil.copytree(template, folder)
        ended = subprocess.run(command(shred_and_die, folder, step), cwd=ROOT, capture_output=True, text=True)
        outcomes.add(outcome(folder))
        home = Home.locate({"CLAW_HOME": str(folder / "home")})
        shred(home, lambda folder=folder: Drawer(folder / "drawer"))  # type: ignore[misc]
        assert not home.vault.exists()
        assert names(folder / "drawer") == []
        if ended.returncode == 0:
            break
    assert outcomes == {"opens", "by the passphrase alone", "gone"}


def outcome(folder: Path) -> str:
    """What is left of a vault."""
    home = Home.locate({"CLAW_HOME": str(folder / "home")})
    backup = home.vault / "keyslots.json.backup"
    if not home.keyslots.exists() and not backup.exists():
        return "gone"
    try:
        Vault.open_with_passphrase(home, PASSPHRASE).close()
    except ClawError:
        return "gone"  # overwritten in part: not even the right passphrase opens it
    return "opens" if names(folder / "drawer") else "by the passphrase alone"


def shred_and_die(folder: str, step: str) -> None:
    home = Home.locate({"CLAW_HOME": f"{folder}/home"})
    kill_at_step(int(step), shredding.__file__)
    shred(home, lambda: Drawer(Path(folder) / "drawer"))
