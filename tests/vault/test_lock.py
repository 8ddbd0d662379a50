"""Locking: at a person's word, after a while without use, after a sleep; seen by all who have the vault open."""

import errno
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fixtures.machine import Machine
from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import SmallDisk, fill, run_function
from vault.classes import DataClass
from vault.connection import Connection
from vault.errors import Locked, VaultError
from vault.holder import KeyHolder
from vault.home import Home
from vault.lock import SYSTEM_CLOCK, LockLatch, LockLimits, LockTimer, LockWatch, lock_vault
from vault.log.entries import Action, Entry
from vault.settings import VaultSettings
from vault.store import Vault

WITHIN_S = 20
"""For what must come; how long it takes is no matter here."""


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def latch(tmp_path: Path) -> LockLatch:
    return LockLatch(tmp_path)


class Watched:
    """Something that a watch may lock."""

    def __init__(self, latch: LockLatch, machine: Machine) -> None:
        self.uses = 0
        self.kept_held = threading.Event()
        self.reasons: list[str] = []
        self._locked = threading.Event()
        self.watch = LockWatch(latch, lambda: self.uses, self.reasons.append, machine)
        self.watch.told = lambda _why: self._locked.set()
        self.watch.keep_held = self.kept_held.set

    def locked(self) -> str:
        """Wait until it is locked; the reason."""
        assert self._locked.wait(WITHIN_S)
        assert self.reasons == [self.watch.why]
        return self.watch.why


@pytest.fixture
def watched(latch: LockLatch, machine: Machine) -> Iterator[Watched]:
    watched = Watched(latch, machine)
    watched.watch.start()
    yield watched
    watched.watch.stop()


# The person's word


def test_the_latch_is_a_private_file_that_stays_until_it_is_released(latch: LockLatch) -> None:
    assert not latch.engaged
    latch.release()
    latch.engage()
    assert LockLatch(latch.path.parent).engaged
    assert latch.path.stat().st_mode & 0o777 == 0o600
    latch.release()
    assert not latch.engaged


def test_a_latch_that_can_not_be_looked_at_counts_as_engaged(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert LockLatch(tmp_path / "loop").engaged


def test_a_full_disk_has_room_for_the_latch(small_disk: SmallDisk) -> None:
    small_disk.run("64k", lock_on_a_full_disk)


def lock_on_a_full_disk(folder: str) -> None:
    fill(Path(folder))
    latch = LockLatch(Path(folder))
    latch.engage()
    assert latch.engaged


def test_a_latch_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="can't be written"):
        LockLatch(tmp_path / "nowhere").engage()


def test_a_lock_closes_every_open_vault_and_the_next_use_is_told(home: Home, vault: Vault) -> None:
    other = Vault.open_with_passphrase(home, PASSPHRASE)
    lock_vault(home)
    for each in (vault, other):
        wait_until_locked(each)
        with pytest.raises(Locked, match="The vault was locked") as refused:
            each.conversations.sessions()
        assert refused.value.exit_code == 3
        assert "claw vault unlock" in refused.value.hint
        with pytest.raises(Locked):
            each.slots.add_passphrase("another passphrase", CHEAP)
        each.close()
    Vault.open_with_passphrase(home, PASSPHRASE).close()


def wait_until_locked(vault: Vault) -> None:
    """Wait until nothing of the key is there any more."""
    done = threading.Event()
    vault.watch.told = lambda _why: done.set()
    assert vault.watch.why or done.wait(WITHIN_S)
    vault.watch.stop()
    assert vault.watch.why


def test_a_transaction_that_is_under_way_is_finished_first(home: Home, vault: Vault) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        connection.execute("INSERT INTO notifications (at_ms, kind, details) VALUES (1, 'test', '{}')")
        begun.set()
        assert go_on.wait(WITHIN_S)

    writing = threading.Thread(target=vault.database.write, args=(work,))
    writing.start()
    assert begun.wait(WITHIN_S)
    LockLatch(home.data).engage()
    while not vault.watch.why:
        writing.join(0.01)
    assert writing.is_alive()
    go_on.set()
    writing.join()
    wait_until_locked(vault)
    with Vault.open_with_passphrase(home, PASSPHRASE) as again:
        assert again.database.read(lambda c: c.execute("SELECT kind FROM notifications").fetchall()) == [("test",)]


def test_a_lock_does_not_wait_for_a_long_statement_and_undoes_what_it_was_part_of(home: Home, vault: Vault) -> None:
    begun = threading.Event()
    refused: list[Locked] = []

    def work(connection: Connection) -> None:
        connection.execute("INSERT INTO notifications (at_ms, kind, details) VALUES (1, 'test', '{}')")
        begun.set()
        connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")

    def write() -> None:
        with pytest.raises(Locked, match="The vault was locked") as error:
            vault.database.write(work)
        refused.append(error.value)

    writing = threading.Thread(target=write)
    writing.start()
    assert begun.wait(WITHIN_S)
    LockLatch(home.data).engage()
    wait_until_locked(vault)
    writing.join(WITHIN_S)
    assert refused
    with Vault.open_with_passphrase(home, PASSPHRASE) as again:
        assert again.alarm == ""
        assert again.database.read(lambda c: c.execute("SELECT count(*) FROM notifications").fetchone()) == (0,)


def test_a_vault_opened_while_it_is_locked_stays_open_until_it_is_locked_again(home: Home, vault: Vault) -> None:
    lock_vault(home)
    wait_until_locked(vault)
    with Vault.open_with_passphrase(home, PASSPHRASE) as later:
        LockLatch(home.data).release()
        assert later.conversations.sessions() == []
        lock_vault(home)
        wait_until_locked(later)


def test_a_closed_vault_is_watched_no_more(home: Home) -> None:
    before = threading.active_count()
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        assert threading.active_count() > before
    assert threading.active_count() == before
    vault.close()
    with pytest.raises(Locked, match="The vault is closed"):
        vault.conversations.sessions()


# By itself


def test_a_vault_locks_after_a_while_without_use(watched: Watched, machine: Machine) -> None:
    watched.watch.limit(LockLimits(idle_s=900))
    machine.passes(900)
    assert watched.locked() == "The vault locked itself after 15 minutes without use."


def test_use_puts_the_lock_off_and_keeps_the_key_held(watched: Watched, machine: Machine) -> None:
    watched.watch.limit(LockLimits(idle_s=60))
    machine.passes(50)
    watched.uses += 1
    assert watched.kept_held.wait(WITHIN_S)
    machine.passes(50)
    watched.kept_held.clear()
    watched.uses += 1
    assert watched.kept_held.wait(WITHIN_S)
    assert not watched.reasons
    machine.passes(60)
    assert watched.locked() == "The vault locked itself after 1 minute without use."


def test_a_holder_that_fails_does_not_end_the_watch(watched: Watched, machine: Machine, latch: LockLatch) -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise VaultError("A process of another user answers.")

    watched.watch.keep_held = fail
    machine.passes(60)
    watched.uses += 1
    assert failed.wait(WITHIN_S)
    latch.engage()
    assert watched.locked() == "The vault was locked."


def test_too_few_descriptors_for_the_holder_do_not_end_the_watch(
    watched: Watched, machine: Machine, latch: LockLatch
) -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError(errno.EMFILE, "too many open files")

    watched.watch.keep_held = fail
    machine.passes(60)
    watched.uses += 1
    assert failed.wait(WITHIN_S)
    latch.engage()
    assert watched.locked() == "The vault was locked."


def test_a_watch_that_fails_locks(latch: LockLatch, machine: Machine) -> None:
    def fail() -> int:
        if reasons is not None:
            raise ZeroDivisionError
        return 0

    reasons: list[str] | None = None
    told = threading.Event()
    watch = LockWatch(latch, fail, lambda why: reasons.append(why) if reasons is not None else None, machine)
    watch.told = lambda _why: told.set()
    reasons = []
    watch.start()
    assert told.wait(WITHIN_S)
    assert reasons == [watch.why]
    assert "could no longer be seen" in watch.why


def test_a_locked_vault_holds_no_key_that_was_made_of_the_master_key(home: Home, vault: Vault) -> None:
    entry = Entry(action=Action.CHAT, purpose="tests", data_class=DataClass.GENERAL, description="signed")
    for _ in range(2):
        vault.log.append(entry)
    assert vault.log._signer
    assert vault.database._guard
    keys: list[weakref.ref[object]] = [weakref.ref(vault.log._signer), weakref.ref(vault.database._guard)]
    lock_vault(home)
    wait_until_locked(vault)
    gc.collect()
    assert [key() for key in keys] == [None, None]


def test_a_vault_locks_when_the_machine_has_slept(watched: Watched, machine: Machine) -> None:
    watched.watch.limit(LockLimits(on_suspend=True))
    machine.sleeps(5)
    assert watched.locked() == "The vault locked itself, because the machine was asleep."


@pytest.mark.parametrize(
    ("limits", "passes", "due"),
    [
        (LockLimits(), lambda m: m.passes(1e9), False),
        (LockLimits(), lambda m: m.sleeps(1e9), False),
        (LockLimits(60), lambda m: m.passes(59), False),
        (LockLimits(60), lambda m: m.passes(60), True),
        (LockLimits(60), lambda m: m.sleeps(60), True),
        (LockLimits(60, on_suspend=True), lambda m: m.passes(59), False),
        (LockLimits(60, on_suspend=True), lambda m: m.sleeps(2), True),
        (LockLimits(60, on_suspend=True), lambda m: m.sleeps(0.5), False),
        (LockLimits(None, on_suspend=True), lambda m: m.passes(1e9), False),
    ],
)
def test_when_a_key_has_to_go(
    machine: Machine, limits: LockLimits, passes: Callable[[Machine], None], due: bool
) -> None:
    timer = LockTimer(limits, machine)
    assert timer.due() == ""
    passes(machine)
    assert bool(timer.due()) == due


def test_the_time_that_is_left_counts_from_the_last_use(machine: Machine) -> None:
    timer = LockTimer(LockLimits(60), machine)
    machine.passes(20)
    assert timer.left() == 40
    timer.used()
    assert timer.left() == 60
    machine.passes(100)
    assert timer.left() == 0
    assert LockTimer(LockLimits(), machine).left() is None


def test_the_limits_are_those_of_the_settings() -> None:
    assert LockLimits.of(VaultSettings()) == LockLimits(900, on_suspend=True)
    assert LockLimits.of(VaultSettings(auto_lock_minutes=0, lock_on_suspend=False)) == LockLimits()


def test_the_system_clock_tells_no_sleep_while_the_machine_is_awake() -> None:
    slept = [SYSTEM_CLOCK.asleep() for _ in range(1000)]
    assert max(slept) - min(slept) < 1
    assert SYSTEM_CLOCK.now() <= SYSTEM_CLOCK.now()


# All of it


def test_locking_ends_the_process_that_holds_the_key(home: Home, vault: Vault) -> None:
    vault.hold(LockLimits())
    assert KeyHolder(home).status() is not None
    assert lock_vault(home)
    assert KeyHolder(home).status() is None
    assert not lock_vault(home)


def test_where_the_latch_can_not_be_written_the_key_is_not_held_any_more_all_the_same(tmp_path: Path) -> None:
    run_function(lock_without_room, tmp_path / "home")


def lock_without_room(folder: str) -> None:
    home = Home.locate({"CLAW_HOME": folder})
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        vault.hold(LockLimits())
        (home.data / "locked").mkdir()  # which no file can replace
        with pytest.raises(VaultError, match="can't be written"):
            lock_vault(home)
        assert KeyHolder(home).status() is None
