"""The keychain of the desktop: a real gnome-keyring on a real session bus."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.fixtures.keychain import Desktop
from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import run_function
from vault import keychain
from vault.errors import KeychainError, KeychainLocked, NoKeychain
from vault.home import Home
from vault.keychain import SystemKeychain
from vault.store import Vault

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the Secret Service is Linux's keychain")

PLAINTEXT_BACKEND = """
from pathlib import Path
from keyring.backend import KeyringBackend

Path(__file__).with_name("chosen").touch()

class Plaintext(KeyringBackend):
    priority = 1000
    def get_password(self, service, username): return "in clear"
    def set_password(self, service, username, password): Path(__file__).with_name("stored").write_text(password)
    def delete_password(self, service, username): pass
"""


def test_a_secret_is_kept_replaced_and_removed(unlocked_desktop: Desktop) -> None:
    system = SystemKeychain()
    assert system.name == "Secret Service"
    assert system.get("an account") is None
    system.set("an account", "first")
    system.set("another account", "other")
    system.set("an account", "second")
    assert system.get("an account") == "second"
    system.delete("an account")
    system.delete("an account")
    assert system.get("an account") is None
    assert system.get("another account") == "other"


def test_a_vault_made_with_a_keychain_opens_by_it_in_another_process(unlocked_desktop: Desktop, home: Home) -> None:
    with Vault.create(home, PASSPHRASE, keychain=SystemKeychain(), cost=CHEAP) as vault:
        vault.conversations.start("Rainbows", "")
    ended = run_function(open_by_keychain, home.data)
    assert ended.stdout == "keychain Rainbows\n"
    assert ended.stderr == ""


def open_by_keychain(data: str) -> None:
    with Vault.open_with_keychain(Home.locate({"CLAW_HOME": data}), SystemKeychain()) as vault:
        (session,) = vault.conversations.sessions()
        print(vault.opened_by, session.title)


def test_what_the_keychain_holds_is_not_the_passphrase(unlocked_desktop: Desktop, home: Home) -> None:
    import secretstorage

    Vault.create(home, PASSPHRASE, keychain=SystemKeychain(), cost=CHEAP).close()
    bus = secretstorage.dbus_init()
    try:
        secrets = [item.get_secret() for item in secretstorage.Collection(bus).get_all_items()]
    finally:
        bus.close()
    assert len(secrets) == 2  # the slot's secret, and the mirror of the rollback anchor
    assert not any(PASSPHRASE.encode() in secret for secret in secrets)


def test_an_item_that_is_gone_leads_to_the_passphrase(unlocked_desktop: Desktop, home: Home) -> None:
    system = SystemKeychain()
    Vault.create(home, PASSPHRASE, keychain=system, cost=CHEAP).close()
    forget_everything()
    with pytest.raises(NoKeychain, match="holds no key for this vault") as refused:
        Vault.open_with_keychain(home, system)
    assert "passphrase" in refused.value.hint
    Vault.open_with_passphrase(home, PASSPHRASE).close()


def forget_everything() -> None:
    import secretstorage

    bus = secretstorage.dbus_init()
    try:
        for item in secretstorage.Collection(bus).get_all_items():
            item.delete()
    finally:
        bus.close()


def test_without_a_session_bus_there_is_no_keychain(no_desktop: None) -> None:
    with pytest.raises(NoKeychain, match="No keychain answers") as refused:
        SystemKeychain()
    assert "passphrase" in refused.value.hint
    assert refused.value.exit_code == 3


def test_a_bus_whose_socket_is_gone_is_no_keychain(no_desktop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(NoKeychain):
        SystemKeychain()


def test_a_bus_without_a_keychain_is_no_keychain(desktop: Desktop) -> None:
    with pytest.raises(NoKeychain):
        SystemKeychain()


def test_a_keychain_nobody_has_set_up_is_none_and_nobody_is_asked_to(desktop: Desktop) -> None:
    with desktop.keyring(unlocked=False), pytest.raises(NoKeychain, match="no keyring yet"):
        SystemKeychain()
    assert not desktop.prompted


def test_a_locked_keychain_says_so_without_asking_for_its_password(locked_desktop: Desktop) -> None:
    with pytest.raises(KeychainLocked, match="locked") as refused:
        SystemKeychain()
    assert "Unlock it" in refused.value.hint
    assert not locked_desktop.prompted


def test_a_keychain_locked_meanwhile_refuses_without_asking(unlocked_desktop: Desktop) -> None:
    system = SystemKeychain()
    system.set("an account", "secret")
    unlocked_desktop.lock()
    with pytest.raises(KeychainLocked):
        system.get("an account")
    with pytest.raises(KeychainLocked):
        system.set("an account", "other")
    with pytest.raises(KeychainLocked):
        system.delete("an account")
    assert not unlocked_desktop.prompted


def test_a_locked_keychain_makes_no_vault(locked_desktop: Desktop, home: Home) -> None:
    with pytest.raises(KeychainLocked):
        Vault.create(home, PASSPHRASE, keychain=SystemKeychain(), cost=CHEAP)
    assert not home.vault.exists()


def test_a_keychain_that_dies_is_a_clear_error(desktop: Desktop) -> None:
    with desktop.keyring(unlocked=True):
        system = SystemKeychain()
    with pytest.raises(KeychainError) as refused:
        system.get("an account")
    assert "passphrase" in refused.value.hint


def test_a_bus_that_never_answers_is_given_up(
    no_desktop: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(keychain, "_ANSWER_WITHIN_S", 0.2)
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind("bus")
        silent.listen()
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=bus")
        with pytest.raises(KeychainError, match="did not answer") as refused:
            SystemKeychain()
        assert "passphrase" in refused.value.hint
    # Its end wakes the call that was given up.
    for thread in threading.enumerate():
        if thread.name == "keychain":
            thread.join()


@pytest.mark.parametrize("named_by", ["environment", "configuration"])
def test_a_plaintext_backend_is_never_chosen_whoever_names_it(
    no_desktop: None, tmp_path: Path, named_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "cleartext.py").write_text(PLAINTEXT_BACKEND)
    environment = {"PYTHONPATH": str(tmp_path / "plain"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    if named_by == "environment":
        environment["PYTHON_KEYRING_BACKEND"] = "cleartext.Plaintext"
    else:
        configuration = tmp_path / "config" / "python_keyring" / "keyringrc.cfg"
        configuration.parent.mkdir(parents=True)
        configuration.write_text("[backend]\ndefault-keyring=cleartext.Plaintext\n")
    # The library itself would take it: otherwise this test would prove nothing.
    library = "import keyring; assert keyring.get_password('a', 'b') == 'in clear'"
    subprocess.run([sys.executable, "-c", library], env={**os.environ, **environment}, check=True)
    (tmp_path / "plain" / "chosen").unlink()
    run_function(find_no_keychain, environment=environment)
    assert not (tmp_path / "plain" / "chosen").exists()


def find_no_keychain() -> None:
    with pytest.raises(NoKeychain):
        SystemKeychain()


def test_a_real_keychain_is_preferred_to_a_plaintext_one_that_is_named(
    unlocked_desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cleartext.py").write_text(PLAINTEXT_BACKEND)
    environment = {"PYTHONPATH": str(tmp_path), "PYTHON_KEYRING_BACKEND": "cleartext.Plaintext"}
    run_function(store_a_secret, environment=environment)
    assert SystemKeychain().get("an account") == "secret"
    assert not (tmp_path / "stored").exists()


def store_a_secret() -> None:
    SystemKeychain().set("an account", "secret")


def test_only_exact_backends_are_accepted() -> None:
    accepted = {module for backends in keychain._ACCEPTED.values() for module, _, _ in backends}
    assert not accepted & {"keyring.backends.chainer", "keyring.backends.fail", "keyring.backends.null"}
    assert all(module.startswith("keyring.backends.") for module in accepted)
