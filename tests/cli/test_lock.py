"""The held key and the lock: no second question in one sitting, and none without one after `claw vault lock`."""

import json
from pathlib import Path

import pytest

from cli.console import Console
from cli.unlocking import Unlocking
from tests.cli.test_unlock import without_a_file
from tests.fixtures.command import PROMPT, WITH_LITTLE_MEMORY, Person, Terminal
from tests.fixtures.keychain import Desktop
from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.softhsm import PIN, SoftToken
from vault.attempts import FailedUnlocks
from vault.holder import KeyHolder
from vault.keychain import SystemKeychain
from vault.keys import MasterKey
from vault.keyslots import Keyslots
from vault.lock import LockLatch, LockLimits
from vault.recovery import RecoveryKit
from vault.store import Vault


@pytest.fixture
def typist(person: Person) -> Person:
    """A person who types their passphrase."""
    return without_a_file(person)


@pytest.fixture
def at_a_desk(newcomer: Person, unlocked_desktop: Desktop) -> Person:
    """A person at a desktop whose vault has a keychain slot."""
    Vault.create(newcomer.home, PASSPHRASE, keychain=SystemKeychain(), cost=CHEAP).close()
    return without_a_file(newcomer, unlocked_desktop)


def holder_of(person: Person) -> KeyHolder:
    return KeyHolder(person.home, person.environment)


def opens_unasked(person: Person) -> bool:
    done = person.claw("chat", "list")
    assert done.returncode in (0, 3)
    return done.returncode == 0


def types_the_passphrase(terminal: Terminal) -> None:
    terminal.sees("Passphrase: ")
    terminal.types(PASSPHRASE)


def unlocks(person: Person, *arguments: str) -> None:
    """Unlock at a terminal with the passphrase."""
    terminal = person.terminal("vault", "unlock", *arguments)
    types_the_passphrase(terminal)
    terminal.sees(
        "The vault is unlocked until 15 minutes pass without a command, the machine sleeps or you lock it."
    )
    assert terminal.ends() == 0


def locks(person: Person) -> None:
    done = person.claw("vault", "lock")
    assert done.returncode == 0
    assert "The vault is locked." in done.stderr


# Held


def test_who_has_typed_the_passphrase_is_not_asked_again(typist: Person) -> None:
    assert not opens_unasked(typist)
    terminal = typist.terminal("chat", "list")
    types_the_passphrase(terminal)
    terminal.sees("There is no conversation yet.")
    assert terminal.ends() == 0
    assert opens_unasked(typist)
    assert "unlocked for 15 more minutes" in typist.claw("status").stdout
    lock = json.loads(typist.claw("status", "--json").stdout)["lock"]
    assert (lock["locked"], lock["held"]) == (False, True)
    assert 0 < lock["left_s"] <= 900
    assert "opened by the key that is held" in typist.claw("doctor").stdout


def test_the_key_is_held_from_the_first_run_on(newcomer: Person) -> None:
    person = without_a_file(newcomer)
    terminal = person.terminal("vault", "init")
    types_the_passphrase(terminal)
    terminal.sees("Again: ")
    terminal.types(PASSPHRASE)
    terminal.sees("Your vault is ready.")
    assert terminal.ends() == 0
    assert opens_unasked(person)


def test_a_passphrase_file_opens_once_and_has_nothing_held(person: Person) -> None:
    assert opens_unasked(person)
    assert holder_of(person).status() is None
    assert not opens_unasked(without_a_file(person))


def test_who_wants_no_key_held_is_asked_each_time(typist: Person) -> None:
    typist.set("vault.hold_key", "false")
    terminal = typist.terminal("chat", "list")
    types_the_passphrase(terminal)
    assert terminal.ends() == 0
    assert not opens_unasked(typist)


def test_unlocking_has_the_key_held_whatever_opened_the_vault(person: Person) -> None:
    person.set("vault.hold_key", "false")
    done = person.claw("vault", "unlock")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "The vault is unlocked until 15 minutes pass" in done.stderr
    assert opens_unasked(without_a_file(person))


def test_what_ends_the_holding_is_told_as_it_is_set(person: Person) -> None:
    person.set("vault.auto_lock_minutes", "0")
    person.set("vault.lock_on_suspend", "false")
    assert "The vault is unlocked until you lock it." in person.claw("vault", "unlock").stderr
    assert "unlocked until you lock it" in person.claw("status").stdout
    person.set("vault.auto_lock_minutes", "1")
    assert "until 1 minute pass without" in person.claw("vault", "unlock").stderr.replace("passes", "pass")


def test_a_key_that_no_longer_fits_is_let_go_of(typist: Person) -> None:
    slots = Keyslots.read(typist.home.keyslots)
    holder_of(typist).start(MasterKey.generate(slots.vault_id), LockLimits())
    assert not opens_unasked(typist)
    assert holder_of(typist).status() is None


def test_the_command_itself_leaves_no_core(typist: Person) -> None:
    terminal = typist.terminal("--plain")
    types_the_passphrase(terminal)
    terminal.sees(PROMPT)
    limits = Path(f"/proc/{terminal.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    terminal.types("/quit")
    assert terminal.ends() == 0


def test_a_key_that_is_held_is_asked_for_again_when_the_vault_was_rotated_meanwhile(person: Person) -> None:
    with person.vault() as vault:
        vault.hold(LockLimits())
    unlocking = Unlocking(Console(person.home), Keyslots.read(person.home.keyslots))
    fresh = person.vault().rotate()
    KeyHolder(person.home).start(fresh, LockLimits())
    with unlocking.open(ask=False) as vault:
        assert vault.opened_by == "holder"


# Unlocking by other ways


@pytest.fixture
def kit(typist: Person) -> RecoveryKit:
    """Recovery shares of the person's vault."""
    kit = RecoveryKit.generate(2, 3)
    with typist.vault() as vault:
        vault.slots.add_recovery(kit)
    return kit


def test_recovery_shares_on_standard_input_unlock(typist: Person, kit: RecoveryKit) -> None:
    locks(typist)
    done = typist.claw("vault", "unlock", "--recovery", stdin=f"{kit.shares[2]}\n\n{kit.shares[0]}\n")
    assert done.returncode == 0
    assert opens_unasked(typist)


def test_recovery_shares_typed_at_a_terminal_unlock(typist: Person, kit: RecoveryKit) -> None:
    terminal = typist.terminal("vault", "unlock", "--recovery")
    terminal.sees("Share 1: ")
    terminal.types("some words that are no share")
    terminal.sees("mistyped")
    for number, share in enumerate(kit.shares[1:], 1):
        terminal.sees(f"Share {number}: ")
        terminal.types(share)
    terminal.sees("The vault is unlocked")
    assert terminal.ends() == 0
    assert opens_unasked(typist)


@pytest.mark.parametrize("shares", [b"\xff\xfe\n", b"academic acid\n"], ids=["no text", "too short"])
def test_what_is_no_share_unlocks_nothing_and_is_counted(typist: Person, kit: RecoveryKit, shares: bytes) -> None:
    done = typist.claw("vault", "unlock", "--recovery", stdin=shares)
    assert done.returncode == 3
    assert not opens_unasked(typist)
    assert FailedUnlocks(typist.home).read().count == 1


@pytest.mark.parametrize("given", [b"", b"\n \n"], ids=["nothing", "blank lines"])
def test_no_share_at_all_is_no_attempt_that_counts(typist: Person, kit: RecoveryKit, given: bytes) -> None:
    done = typist.claw("vault", "unlock", "--recovery", stdin=given)
    assert done.returncode == 3
    assert "No share was given; 2 are needed." in done.stderr
    assert FailedUnlocks(typist.home).read().count == 0


def test_standard_input_that_holds_more_than_shares_is_not_read_to_its_end(
    typist: Person, kit: RecoveryKit
) -> None:
    endless = (*WITH_LITTLE_MEMORY, "sh", "-c", 'exec "$0" "$@" </dev/zero')
    done = typist.claw("vault", "unlock", "--recovery", prefix=endless)
    assert done.returncode == 2
    assert "more than recovery shares" in done.stderr
    assert FailedUnlocks(typist.home).read().count == 0


@pytest.mark.parametrize("way", ["--recovery", "--hardware"])
def test_a_way_that_the_vault_does_not_have_is_told_before_anything_is_asked(typist: Person, way: str) -> None:
    terminal = typist.terminal("vault", "unlock", way)
    terminal.sees("This vault has no")
    assert terminal.ends() == 2


@pytest.fixture
def with_token(typist: Person, soft_token: SoftToken) -> Person:
    """A person whose vault a hardware token opens."""
    typist.set("vault.pkcs11_module", soft_token.module)
    typist.environment["SOFTHSM2_CONF"] = str(soft_token.configuration)
    with typist.vault() as vault:
        vault.slots.add_hardware(soft_token.token)
    return typist


def test_a_token_and_its_typed_pin_unlock(with_token: Person, soft_token: SoftToken) -> None:
    terminal = with_token.terminal("vault", "unlock", "--hardware")
    terminal.sees(f"PIN of {soft_token.label}: ")
    terminal.types(PIN)
    terminal.sees("The vault is unlocked")
    assert terminal.ends() == 0
    assert PIN not in terminal.screen
    assert opens_unasked(with_token)


def test_a_token_and_a_pin_file_unlock_without_a_terminal(with_token: Person, soft_token: SoftToken) -> None:
    file = with_token.folder / "pin"
    file.touch(mode=0o600)
    file.write_text(PIN)
    done = with_token.claw("vault", "unlock", "--hardware", soft_token.label, CLAW_PIN_FILE=str(file))
    assert done.returncode == 0
    assert opens_unasked(with_token)


@pytest.mark.parametrize("pin", ["000000", "0000", "x" * 300])
def test_a_wrong_pin_unlocks_nothing_and_is_counted(with_token: Person, pin: str) -> None:
    file = with_token.folder / "pin"
    file.touch(mode=0o600)
    file.write_text(pin)
    done = with_token.claw("vault", "unlock", "--hardware", CLAW_PIN_FILE=str(file))
    assert done.returncode == 3
    assert "The PIN is wrong." in done.stderr
    assert not opens_unasked(with_token)
    assert FailedUnlocks(with_token.home).read().count == 1


def test_a_token_that_is_not_plugged_in_is_no_failure(with_token: Person, soft_token: SoftToken) -> None:
    soft_token.unplug()
    assert with_token.claw("vault", "unlock", "--hardware").returncode == 3
    assert FailedUnlocks(with_token.home).read().count == 0


# Locked


def test_a_lock_ends_the_holding_until_the_person_unlocks(typist: Person) -> None:
    unlocks(typist)
    locks(typist)
    assert holder_of(typist).status() is None
    assert "locked by you; `claw vault unlock` opens it" in typist.claw("status").stdout
    done = typist.claw("chat", "list")
    assert done.returncode == 3
    assert "You locked it with `claw vault lock`." in done.stderr
    assert "Run `claw vault unlock` in a terminal" in done.stderr
    unlocks(typist)
    assert opens_unasked(typist)
    assert "unlocked for 15" in typist.claw("status").stdout


def test_the_passphrase_typed_for_any_command_unlocks(typist: Person) -> None:
    locks(typist)
    terminal = typist.terminal("chat", "list")
    terminal.sees("You locked it with `claw vault lock`.")
    types_the_passphrase(terminal)
    assert terminal.ends() == 0
    assert opens_unasked(typist)


def test_a_passphrase_file_opens_a_locked_vault_for_itself_alone(person: Person) -> None:
    locks(person)
    assert opens_unasked(person)
    assert LockLatch(person.home.data).engaged
    assert not opens_unasked(without_a_file(person))


def test_after_a_lock_the_keychain_opens_nothing_unasked(at_a_desk: Person, unlocked_desktop: Desktop) -> None:
    assert opens_unasked(at_a_desk)
    locks(at_a_desk)
    assert not opens_unasked(at_a_desk)
    assert at_a_desk.claw("vault", "unlock").returncode == 3
    assert not opens_unasked(at_a_desk)
    assert not unlocked_desktop.prompted


def test_after_a_lock_the_keychain_opens_it_for_a_yes(at_a_desk: Person) -> None:
    locks(at_a_desk)
    terminal = at_a_desk.terminal("vault", "unlock")
    terminal.sees("Open it with the keychain? [y/N]")
    terminal.types("y")
    terminal.sees("The vault is unlocked")
    assert terminal.ends() == 0
    assert opens_unasked(at_a_desk)


def test_after_a_lock_who_says_no_to_the_keychain_types_the_passphrase(at_a_desk: Person) -> None:
    locks(at_a_desk)
    terminal = at_a_desk.terminal("vault", "unlock")
    terminal.sees("Open it with the keychain? [y/N]")
    terminal.types("")
    types_the_passphrase(terminal)
    assert terminal.ends() == 0
    assert opens_unasked(at_a_desk)


def test_locking_needs_a_vault_and_no_readable_settings(typist: Person, tmp_path: Path) -> None:
    unlocks(typist)
    typist.home.config_file.write_text("nonsense [")
    assert typist.claw("chat", "list").returncode == 2
    locks(typist)
    typist.home.config_file.unlink()
    assert not opens_unasked(typist)
    elsewhere = typist.claw("vault", "lock", CLAW_HOME=str(tmp_path / "elsewhere"))
    assert elsewhere.returncode == 3
    assert not (tmp_path / "elsewhere").exists()
