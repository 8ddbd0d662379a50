"""Unlocking: by the keychain first, by a passphrase file, by asking; and what happens when nothing opens."""

import json
from pathlib import Path

import pytest

from tests.fixtures.command import PROMPT, Person
from tests.fixtures.keychain import Desktop
from tests.fixtures.models import CHEAP, PASSPHRASE
from vault.keychain import SystemKeychain
from vault.store import Vault


def without_a_file(person: Person, desktop: Desktop | None = None) -> Person:
    """The person without a passphrase file, in a desktop session or none."""
    del person.environment["CLAW_PASSPHRASE_FILE"]
    person.passphrase_file.unlink()
    if desktop is not None:
        person.environment.update(desktop.environment)
    return person


@pytest.fixture
def at_a_desk(newcomer: Person, unlocked_desktop: Desktop) -> Person:
    """A person at a desktop whose vault has a keychain slot."""
    Vault.create(newcomer.home, PASSPHRASE, keychain=SystemKeychain(), cost=CHEAP).close()
    newcomer.set("inference.threads", "1")
    return without_a_file(newcomer, unlocked_desktop)


def test_the_keychain_opens_the_vault_without_a_question(at_a_desk: Person, unlocked_desktop: Desktop) -> None:
    assert at_a_desk.claw("chat", "list").returncode == 0
    assert "opened by its keychain slot" in at_a_desk.claw("doctor").stdout
    terminal = at_a_desk.terminal("--plain")
    assert "Passphrase" not in terminal.sees(PROMPT)
    terminal.types("/quit")
    assert terminal.ends() == 0
    assert not unlocked_desktop.prompted


def test_a_passphrase_file_that_is_named_goes_before_the_keychain(at_a_desk: Person) -> None:
    at_a_desk.passphrase_file.touch(mode=0o600)
    at_a_desk.passphrase_file.write_text(PASSPHRASE)
    named = at_a_desk.claw("--passphrase-file", str(at_a_desk.passphrase_file), "doctor")
    assert "opened by its passphrase slot" in named.stdout
    at_a_desk.passphrase_file.write_text("not the right one")
    wrong = at_a_desk.claw("chat", "list", CLAW_PASSPHRASE_FILE=str(at_a_desk.passphrase_file))
    assert wrong.returncode == 3


def test_a_locked_keychain_is_told_and_the_passphrase_asked_for(
    at_a_desk: Person, unlocked_desktop: Desktop
) -> None:
    unlocked_desktop.lock()
    headless = at_a_desk.claw("chat", "list")
    assert headless.returncode == 3
    assert "The keychain is locked." in headless.stderr
    assert "Unlock the keychain, or name a file: --passphrase-file" in headless.stderr
    terminal = at_a_desk.terminal("chat", "list")
    terminal.sees("The keychain is locked.")
    terminal.sees("Passphrase: ")
    terminal.types(PASSPHRASE)
    terminal.sees("There is no conversation yet.")
    assert terminal.ends() == 0
    assert not unlocked_desktop.prompted


def test_without_a_session_bus_the_passphrase_is_asked_for(at_a_desk: Person) -> None:
    del at_a_desk.environment["DBUS_SESSION_BUS_ADDRESS"]
    at_a_desk.environment["XDG_RUNTIME_DIR"] = str(at_a_desk.folder / "run")
    headless = at_a_desk.claw("chat", "list")
    assert headless.returncode == 3
    assert "No keychain answers" in headless.stderr
    assert "--passphrase-file" in headless.stderr
    terminal = at_a_desk.terminal("chat", "list")
    terminal.sees("No keychain answers in this session.")
    terminal.sees("Passphrase: ")
    terminal.types(PASSPHRASE)
    assert terminal.ends() == 0


def test_a_keychain_that_forgot_the_key_is_told_and_the_passphrase_opens(at_a_desk: Person) -> None:
    import contextlib

    import secretstorage

    with contextlib.closing(secretstorage.dbus_init()) as bus:
        for item in secretstorage.Collection(bus).get_all_items():
            item.delete()
    done = at_a_desk.claw("chat", "list")
    assert done.returncode == 3
    assert "holds no key for this vault" in done.stderr
    terminal = at_a_desk.terminal("chat", "list")
    terminal.sees("Passphrase: ")
    terminal.types(PASSPHRASE)
    assert terminal.ends() == 0


def test_the_first_run_at_a_desktop_makes_a_keychain_slot(newcomer: Person, unlocked_desktop: Desktop) -> None:
    person = without_a_file(newcomer, unlocked_desktop)
    terminal = person.terminal("vault", "init")
    terminal.sees("Passphrase: ")
    terminal.types(PASSPHRASE)
    terminal.sees("Again: ")
    terminal.types(PASSPHRASE)
    terminal.sees("your passphrase, and the keychain of your desktop (Secret Service)")
    assert terminal.ends() == 0
    assert json.loads(person.claw("status", "--json").stdout)["vault"]["slots"] == ["passphrase", "keychain"]
    assert person.claw("chat", "list").returncode == 0


def test_a_locked_keychain_at_the_first_run_is_told_and_left_out(newcomer: Person, locked_desktop: Desktop) -> None:
    newcomer.environment.update(locked_desktop.environment)
    done = newcomer.claw("vault", "init")
    assert done.returncode == 0
    assert "your passphrase alone. The keychain is locked." in done.stderr
    assert json.loads(newcomer.claw("status", "--json").stdout)["vault"]["slots"] == ["passphrase"]
    assert not locked_desktop.prompted


def test_the_first_run_asks_twice_says_where_all_lies_and_goes_on_to_the_conversation(newcomer: Person) -> None:
    person = without_a_file(newcomer)
    terminal = person.terminal()
    terminal.sees("Welcome to OpenClaw Core.")
    terminal.sees("Passphrase: ")
    terminal.types("short")
    terminal.sees("That has 5 characters; at least 8 are needed.")
    terminal.sees("Passphrase: ")
    terminal.types(PASSPHRASE)
    terminal.sees("Again: ")
    terminal.types("something else")
    terminal.sees("The two differ.")
    terminal.sees("Passphrase: ")
    terminal.types(PASSPHRASE)
    terminal.sees("Again: ")
    terminal.types(PASSPHRASE)
    told = terminal.sees(PROMPT)
    for said in (str(person.home.data), "SQLCipher", "config.toml", "No keychain answers", "leaves     nothing"):
        assert said in told
    longest = max(told.replace(str(person.home.data), "~/.local/share/openclaw-core").splitlines(), key=len)
    assert len(longest) <= 84, longest  # the address of a better model; nothing else comes near
    terminal.types("/quit")
    assert terminal.ends() == 0
    assert "short" not in terminal.screen
    person.vault().close()


def test_headless_with_a_file_the_first_question_makes_the_vault(newcomer: Person) -> None:
    done = newcomer.claw("ask", "--max-tokens", "4", "--json", "Hello")
    assert done.returncode == 0
    assert json.loads(done.stdout)["text"]
    assert "Your vault is ready." in done.stderr
    assert newcomer.home.data.stat().st_mode & 0o777 == 0o700
    assert newcomer.home.keyslots.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("typed", [["wrong"] * 2 + [PASSPHRASE], ["wrong"] * 3])
def test_a_wrong_passphrase_may_be_tried_three_times(person: Person, typed: list[str]) -> None:
    terminal = without_a_file(person).terminal("chat", "list")
    for passphrase in typed:
        terminal.sees("Passphrase: ")
        terminal.types(passphrase)
        if passphrase == "wrong":
            terminal.sees("The passphrase is wrong.")
    assert terminal.ends() == (0 if PASSPHRASE in typed else 3)
    assert terminal.screen.count("Passphrase: ") == 3
    assert "\nwrong" not in terminal.screen


def test_leaving_the_question_for_the_passphrase_is_exit_code_3(person: Person) -> None:
    terminal = without_a_file(person).terminal("chat", "list")
    terminal.sees("Passphrase: ")
    terminal.presses("d")
    terminal.sees("No passphrase was given.")
    assert terminal.ends() == 3


def test_a_passphrase_file_whose_line_end_is_windows_opens_as_well(person: Person, tmp_path: Path) -> None:
    person.passphrase_file.write_bytes(PASSPHRASE.encode() + b"\r\n")
    assert person.claw("chat", "list").returncode == 0
