"""Adding and removing ways into an open vault; whatever interrupts it, nobody is locked out."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import run_function
from tests.fixtures.slots import Drawer, Memory, Notebook, opens, same_key, version_1
from tests.fixtures.softhsm import SoftToken
from tests.vault.test_durable import kill_at_step
from vault import durable, keyslots, slot_changes, slot_file
from vault.errors import (
    ClawError,
    DiskFull,
    HardwareError,
    KeychainError,
    KeyslotsDamaged,
    LastSlot,
    NotFound,
    VaultError,
    WrongPassphrase,
)
from vault.home import Home
from vault.keys import MasterKey, VaultId, new_vault_id
from vault.keyslots import Keyslots
from vault.lock import lock_vault
from vault.notifications import Notifications, SlotsChanged
from vault.recovery import RecoveryKit
from vault.slot_changes import SlotChanges
from vault.slot_file import BACKUP_SUFFIX
from vault.slot_kinds import KeychainSlot, Slot, kind_of
from vault.store import Vault

NEW = "another passphrase"
MASTER = MasterKey(bytes(range(32)), VaultId("0123456789abcdef" * 2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "vault" / "keyslots.json"
    path.parent.mkdir(parents=True)
    Keyslots.first(MASTER, PASSPHRASE, CHEAP).write(path)
    return path


@pytest.fixture
def journal() -> Memory:
    return Memory()


@pytest.fixture
def changes(path: Path, journal: Memory) -> SlotChanges:
    return SlotChanges(path, MASTER, journal)


def kinds(path: Path) -> list[str]:
    return [kind_of(slot) for slot in Keyslots.read(path).slots]


def is_whole(path: Path) -> bool:
    """Whether the file and its backup are one."""
    return path.read_bytes() == path.with_name(path.name + BACKUP_SUFFIX).read_bytes()


def test_each_kind_is_added_and_opens(
    path: Path, changes: SlotChanges, journal: Memory, soft_token: SoftToken
) -> None:
    keychain, kit = Notebook(), RecoveryKit.generate(2, 3)
    ids = [
        changes.add_passphrase(NEW, CHEAP),
        changes.add_keychain(keychain),
        changes.add_recovery(kit),
        changes.add_hardware(soft_token.token),
    ]
    slots = Keyslots.read(path)
    assert [slot.id for slot in slots.slots[1:]] == ids
    for opening in (
        slots.open_with_passphrase(PASSPHRASE),
        slots.open_with_passphrase(NEW),
        slots.open_with_keychain(keychain),
        slots.open_with_shares(list(kit.shares[:2])),
        slots.open_with_hardware(soft_token.token),
    ):
        assert same_key(opening.master, MASTER)
    assert is_whole(path)
    assert (
        journal.done == journal.begun == ["passphrase added", "keychain added", "recovery added", "hardware added"]
    )


def test_each_kind_is_removed_with_its_secret(
    path: Path, changes: SlotChanges, journal: Memory, soft_token: SoftToken
) -> None:
    keychain = Notebook()
    by_keychain, by_token = changes.add_keychain(keychain), changes.add_hardware(soft_token.token)

    def forget(slot: Slot) -> None:
        assert slot.id not in {left.id for left in Keyslots.read(path).slots}  # nothing needs the secret any more
        assert is_whole(path)
        if isinstance(slot, KeychainSlot):
            keychain.delete(slot.account)

    changes.remove(by_keychain, forget)
    assert keychain.items == {}
    changes.remove(by_token, forget)
    assert kinds(path) == ["passphrase"]
    assert journal.done[2:] == ["keychain removed", "hardware removed"]
    assert opens(Keyslots.read(path), MASTER)


def test_the_last_way_in_stays(path: Path, changes: SlotChanges, journal: Memory) -> None:
    changes.add_keychain(Notebook())
    before = path.read_bytes()
    (passphrase, _) = Keyslots.read(path).slots
    with pytest.raises(LastSlot):
        changes.remove(passphrase.id)
    with pytest.raises(NotFound):
        changes.remove("00000000")
    assert path.read_bytes() == before
    assert journal.begun == ["keychain added"]


def test_a_secret_that_cannot_be_forgotten_does_not_bring_its_slot_back(path: Path, changes: SlotChanges) -> None:
    slot_id = changes.add_keychain(Notebook())

    def refuse(_slot: Slot) -> None:
        raise KeychainError("The keychain is locked.")

    with pytest.raises(KeychainError):
        changes.remove(slot_id, refuse)
    assert kinds(path) == ["passphrase"]


def test_a_new_passphrase_takes_the_place_of_the_old(path: Path, changes: SlotChanges, journal: Memory) -> None:
    (old,) = Keyslots.read(path).slots
    new = changes.change_passphrase(old.id, NEW, CHEAP)
    slots = Keyslots.read(path)
    assert [slot.id for slot in slots.slots] == [new]
    assert opens(slots, MASTER, NEW)
    with pytest.raises(WrongPassphrase):
        slots.open_with_passphrase(PASSPHRASE)
    assert is_whole(path)
    assert journal.done == ["passphrase added", "passphrase removed"]


@pytest.mark.parametrize("passphrase", ["", "1234567"])
def test_a_passphrase_that_is_too_short_changes_nothing(path: Path, changes: SlotChanges, passphrase: str) -> None:
    before = path.read_bytes()
    with pytest.raises(VaultError, match="at least 8 characters"):
        changes.change_passphrase(Keyslots.read(path).slots[0].id, passphrase, CHEAP)
    assert path.read_bytes() == before


def test_only_a_passphrase_slot_gets_a_new_passphrase(changes: SlotChanges) -> None:
    slot_id = changes.add_keychain(Notebook())
    with pytest.raises(VaultError, match="is a keychain slot"):
        changes.change_passphrase(slot_id, NEW, CHEAP)


def test_a_slot_of_version_1_is_replaced_too(path: Path, changes: SlotChanges) -> None:
    keychain = Notebook()
    version_1(MASTER, keychain).write(path)
    changes.change_passphrase("00000001", NEW, CHEAP)
    changes.remove("00000002")
    slots = Keyslots.read(path)
    assert slots.not_rotatable == ()
    assert opens(slots, MASTER, NEW)


def test_slots_that_somebody_else_changed_are_not_vouched_for(path: Path, changes: SlotChanges) -> None:
    other = MasterKey.generate(new_vault_id())
    for theirs, said in (
        (Keyslots.first(other, NEW, CHEAP), "another vault"),
        (Keyslots.first(MasterKey(bytes(32), MASTER.vault_id), NEW, CHEAP), "changed by something else"),
    ):
        theirs.write(path)
        before, keychain = path.read_bytes(), Notebook()
        for change in (
            lambda: changes.add_passphrase(NEW, CHEAP),
            lambda keychain=keychain: changes.add_keychain(keychain),
            lambda: changes.remove(Keyslots.read(path).slots[0].id),
        ):
            with pytest.raises(KeyslotsDamaged, match=said):
                change()
        assert path.read_bytes() == before
        assert keychain.items == {}


def test_a_full_file_takes_no_slot_and_leaves_no_secret(path: Path, changes: SlotChanges) -> None:
    slots = Keyslots.read(path)
    for _ in range(31):
        slots = slots.with_keychain(MASTER, Notebook())
    slots.write(path)
    keychain = Notebook()
    with pytest.raises(VaultError, match="32 slots already"):
        changes.add_keychain(keychain)
    assert keychain.items == {}


def test_of_changes_at_once_none_undoes_another(path: Path) -> None:
    together = threading.Barrier(4)

    def add(n: int) -> str:
        together.wait()
        return SlotChanges(path, MASTER, Memory()).add_passphrase(f"passphrase {n}", CHEAP)

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(add, range(4)))
    assert ids < {slot.id for slot in Keyslots.read(path).slots}
    for n in range(4):
        assert opens(Keyslots.read(path), MASTER, f"passphrase {n}")


# A new slot that doesn't open


def test_a_keychain_that_changes_its_mind_gets_no_slot(path: Path, changes: SlotChanges, journal: Memory) -> None:
    class Fickle(Notebook):
        """Keeps what it is given until it is asked twice."""

        def get(self, account: str) -> str | None:
            secret = super().get(account)
            self.items[account] = "c29tZXRoaW5nIGVsc2U="
            return secret

    keychain = Fickle()
    with pytest.raises(KeychainError, match="doesn't open this vault"):
        changes.add_keychain(keychain)
    assert kinds(path) == ["passphrase"]
    assert is_whole(path)
    assert keychain.items == {}
    assert journal.failed == ["keychain added"]


def test_a_token_unplugged_at_a_bad_moment_gets_no_slot(
    path: Path, changes: SlotChanges, soft_token: SoftToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Keyslots.write

    def unplug_and_write(slots: Keyslots, path: Path) -> None:
        if soft_token.configuration.with_name("pocket").exists():
            return write(slots, path)
        soft_token.unplug()
        return write(slots, path)

    monkeypatch.setattr(Keyslots, "write", unplug_and_write)
    with pytest.raises(HardwareError, match="No token called"):
        changes.add_hardware(soft_token.token)
    assert kinds(path) == ["passphrase"]
    assert is_whole(path)


# Interrupted

Change = Callable[[SlotChanges, Drawer], object]
Answer = TypeVar("Answer")


def remove_keychain(changes: SlotChanges, drawer: Drawer) -> None:
    slot = next(slot for slot in changes.read().slots if isinstance(slot, KeychainSlot))
    changes.remove(slot.id, lambda _slot: drawer.delete(slot.account))


def change_passphrase(changes: SlotChanges, _drawer: Drawer) -> None:
    changes.change_passphrase(changes.read().slots[0].id, NEW, CHEAP)


CHANGES: dict[str, Change] = {
    "add-passphrase": lambda changes, _drawer: changes.add_passphrase(NEW, CHEAP),
    "add-keychain": lambda changes, drawer: changes.add_keychain(drawer),
    "add-recovery": lambda changes, _drawer: changes.add_recovery(RecoveryKit.generate(2, 3)),
    "remove-keychain": remove_keychain,
    "passwd": change_passphrase,
}


def begin(folder: Path) -> tuple[Path, Drawer]:
    """A vault's file with a passphrase and a keychain slot."""
    path = folder / "home" / "vault" / "keyslots.json"
    (folder / "drawer").mkdir(parents=True)
    path.parent.mkdir(parents=True)
    drawer = Drawer(folder / "drawer")
    Keyslots.first(MASTER, PASSPHRASE, CHEAP).with_keychain(MASTER, drawer).write(path)
    return path, drawer


def check(path: Path, drawer: Drawer) -> None:
    """Everything that the file names opens, and so does its backup; then the next change goes well."""
    for file in (path, path.with_name(path.name + BACKUP_SUFFIX)):
        slots = Keyslots.read(file)
        slots.prove(MASTER)
        openings = []
        for passphrase in (PASSPHRASE, NEW):
            try:
                openings.append(slots.open_with_passphrase(passphrase))
            except WrongPassphrase:
                continue
        if slots.has_keychain and file == path:
            for slot in slots.slots:
                if isinstance(slot, KeychainSlot):
                    openings.append(slots.open_with_keychain(drawer, only=slot.id))
        assert openings
        assert all(same_key(opening.master, MASTER) for opening in openings)
        assert {opening.slot.id for opening in openings} >= {
            slot.id for slot in slots.slots if kind_of(slot) == "passphrase"
        }
    slot_changes.settle(path, openings[0])
    SlotChanges(path, MASTER, Memory()).add_keychain(drawer)
    assert is_whole(path)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_a_disk_that_refuses_at_any_step_locks_nobody_out(
    tmp_path: Path, name: str, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in count(1):
        path, drawer = begin(tmp_path / str(step))
        before = {slot.id for slot in Keyslots.read(path).slots}
        refused = False
        with monkeypatch.context() as patches:
            calls = refuse_at_step(step, error, patches)
            try:
                CHANGES[name](SlotChanges(path, MASTER, Memory()), drawer)
            except ClawError:
                refused = True
        if refused and name.startswith("add"):
            assert {slot.id for slot in Keyslots.read(path).slots} == before  # taken out again, where it got in
        check(path, drawer)
        if next(calls) <= step:  # there was no such step
            break
    assert step > 6


def refuse_at_step(step: int, error: int, patches: pytest.MonkeyPatch) -> "count[int]":
    """Have the operating system refuse the nth of what `replace_file` asks of it, once; counts what was asked."""
    calls = count(1)

    def refusing(function: Callable[..., Answer]) -> Callable[..., Answer]:
        def call(*arguments: object, **named: object) -> Answer:
            if next(calls) == step:
                raise OSError(error, os.strerror(error))
            return function(*arguments, **named)

        return call

    real_open = os.open

    def opening(path: Path, flags: int, *mode: int) -> int:
        if str(path).endswith(".new") or (flags & os.O_DIRECTORY and Path(path).name == "vault"):
            return refusing(real_open)(path, flags, *mode)
        return real_open(path, flags, *mode)

    patches.setattr(os, "open", opening)
    patches.setattr(os, "fsync", refusing(os.fsync))
    patches.setattr(Path, "replace", refusing(Path.replace))
    return calls


@pytest.mark.parametrize("name", ["add-keychain", "remove-keychain", "passwd"])
def test_a_process_killed_at_any_step_locks_nobody_out(tmp_path: Path, name: str) -> None:
    run_function(die_at_every_step, tmp_path, name)


def die_at_every_step(folder: str, name: str) -> None:
    for step in count(1):
        path, drawer = begin(Path(folder) / str(step))
        child = os.fork()
        if not child:
            kill_at_step(step, durable.__file__, keyslots.__file__, slot_changes.__file__, slot_file.__file__)
            CHANGES[name](SlotChanges(path, MASTER, Memory()), drawer)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        check(path, drawer)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            break
    assert step > 60


# In a vault


def test_a_change_whose_backup_alone_could_not_be_written_is_done(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name.endswith(BACKUP_SUFFIX):
            raise DiskFull("full")
        durable.replace_file(path, data)

    slot_id = vault.slots.add_passphrase(NEW, CHEAP)
    forgotten: list[str] = []
    with monkeypatch.context() as patches:
        patches.setattr(slot_file, "replace_file", full)
        vault.slots.remove(slot_id, lambda slot: forgotten.append(slot.id))
    assert forgotten == [slot_id]
    newest = max(vault.log.entries(), key=lambda stored: stored.seq).entry
    assert newest is not None
    assert newest.status == "done"
    vault.close()
    Vault.open_with_passphrase(vault.home, PASSPHRASE).close()
    assert is_whole(vault.home.keyslots)


def test_a_vault_logs_its_changes_and_tells_of_them(vault: Vault) -> None:
    slot_id = vault.slots.add_passphrase(NEW, CHEAP)
    vault.slots.remove(slot_id)
    logged = sorted(vault.log.entries(), key=lambda stored: stored.seq)
    entries = [stored.entry for stored in logged if stored.entry and stored.entry.action == "slot"]
    assert [(entry.description, entry.status) for entry in entries] == [
        (f"passphrase slot {slot_id} added", "prepared"),
        (f"passphrase slot {slot_id} added", "done"),
        (f"passphrase slot {slot_id} removed", "prepared"),
        (f"passphrase slot {slot_id} removed", "done"),
    ]
    told = [notification.event for notification in Notifications(vault.database).unseen()]
    assert told == [
        SlotsChanged(added=(f"passphrase slot {slot_id}",)),
        SlotsChanged(removed=(f"passphrase slot {slot_id}",)),
    ]


class LocksWhenAsked(Notebook):
    """A keychain; before it answers, the person locks the vault."""

    def __init__(self) -> None:
        super().__init__()
        self.lock: Callable[[], None] = lambda: None

    def get(self, account: str) -> str | None:
        self.lock()
        return super().get(account)


def test_a_lock_after_the_change_was_written_does_not_call_it_failed(home: Home, vault: Vault) -> None:
    keychain, locked = LocksWhenAsked(), threading.Event()

    def lock() -> None:
        if len(Keyslots.read(home.keyslots).slots) == 1:  # nothing was written yet
            return
        keychain.lock = lambda: None
        lock_vault(home)
        assert locked.wait(20)

    vault.watch.told = lambda _why: locked.set()
    keychain.lock = lock
    slot_id = vault.slots.add_keychain(keychain)
    assert vault.watch.why
    vault.close()
    with Vault.open_with_keychain(home, keychain) as again:
        assert again.alarm == ""
        assert again.slot_id == slot_id
