"""PKCS#11 tokens, on a real PKCS#11 library: SoftHSM."""

import os
import shutil
import sys
from pathlib import Path

import msgspec
import pkcs11
import pytest
from pkcs11 import Attribute, ObjectClass

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import run_function
from tests.fixtures.slots import opens, same_key
from tests.fixtures.softhsm import PIN, SoftToken
from vault.errors import HardwareError, KeyslotsDamaged, WrongPin
from vault.hardware import Token
from vault.keys import MasterKey, new_vault_id
from vault.keyslots import Keyslots
from vault.slot_kinds import HardwareSlot
from vault.slot_making import hardware_slot

SECRET = bytes(range(32))


@pytest.fixture
def master() -> MasterKey:
    return MasterKey.generate(new_vault_id())


def with_token(master: MasterKey, token: Token) -> tuple[Keyslots, HardwareSlot]:
    slot = hardware_slot(master, token)
    return Keyslots.first(master, PASSPHRASE, CHEAP).with_slot(master, slot), slot


def keys_on(soft: SoftToken) -> list[tuple[str, bool, bool]]:
    """Label, sensitivity and extractability of each secret or private key on the token."""
    library = pkcs11.lib(soft.module)
    try:
        with library.get_token(token_label=soft.label).open(user_pin=PIN) as session:
            return [
                (key.label, key[Attribute.SENSITIVE], key[Attribute.EXTRACTABLE])
                for key in session.get_objects()
                if key.object_class != ObjectClass.PUBLIC_KEY
            ]
    finally:
        library.finalize()


def refusal(slots: Keyslots, token: Token) -> HardwareError:
    with pytest.raises(HardwareError) as refused:
        slots.open_with_hardware(token)
    assert refused.value.exit_code == 3
    assert not token.pin or token.pin not in refused.value.message + refused.value.hint
    return refused.value


def test_a_token_opens_what_it_closed(soft_token: SoftToken, master: MasterKey) -> None:
    slots, slot = with_token(master, soft_token.token)
    opening = slots.open_with_hardware(soft_token.token)
    assert same_key(opening.master, master)
    assert opening.slot == slot
    assert (slot.token, slot.mechanism) == (soft_token.label, "aes-gcm")
    assert len(slot.serial) == 16


def test_a_token_without_aes_gcm_does_it_with_rsa(soft_token: SoftToken, master: MasterKey) -> None:
    soft_token.know_rsa_alone()
    slots, slot = with_token(master, soft_token.token)
    assert (slot.mechanism, slot.nonce) == ("rsa-oaep", "")
    assert same_key(slots.open_with_hardware(soft_token.token).master, master)
    assert keys_on(soft_token) == [(slot.key, True, False)]
    soft_token.token.destroy(slot.key)
    assert keys_on(soft_token) == []


def test_a_token_that_can_do_neither_says_so(soft_token: SoftToken, master: MasterKey) -> None:
    soft_token.know_nothing_of_use()
    with pytest.raises(HardwareError, match="neither AES-GCM nor RSA-OAEP"):
        hardware_slot(master, soft_token.token)
    assert keys_on(soft_token) == []


def test_the_key_never_leaves_the_token(soft_token: SoftToken, master: MasterKey) -> None:
    _, slot = with_token(master, soft_token.token)
    assert keys_on(soft_token) == [(slot.key, True, False)]


def test_each_slot_has_a_key_of_its_own(soft_token: SoftToken, master: MasterKey) -> None:
    slots, first = with_token(master, soft_token.token)
    second = hardware_slot(master, soft_token.token)
    slots = slots.with_slot(master, second)
    assert first.key != second.key
    soft_token.token.destroy(first.key)
    soft_token.token.destroy(first.key)
    assert slots.open_with_hardware(soft_token.token).slot == second
    assert "holds no key that opens" in refusal(slots.without(master, second.id), soft_token.token).message


def test_a_rotated_vault_opens_with_the_token_that_was_in_a_drawer(
    soft_token: SoftToken, master: MasterKey
) -> None:
    slots, _ = with_token(master, soft_token.token)
    soft_token.unplug()
    new = MasterKey.generate(master.vault_id)
    renewed = slots.rewrapped(master, new)
    soft_token.plug_in()
    assert same_key(renewed.open_with_hardware(soft_token.token).master, new)


# The PIN


@pytest.mark.parametrize("pin", ["271829", "2718", "", "x" * 300, "ümläut"])
def test_a_wrong_pin_opens_nothing_and_is_tried_once(soft_token: SoftToken, master: MasterKey, pin: str) -> None:
    slots, _ = with_token(master, soft_token.token)
    assert soft_token.token.warning() == ""
    error = refusal(slots, Token(soft_token.module, soft_token.label, pin))
    assert isinstance(error, WrongPin)
    assert error.message == "The PIN is wrong."
    assert "several in a row lock it" in error.hint
    assert "several in a row lock it" in soft_token.token.warning()
    assert same_key(slots.open_with_hardware(soft_token.token).master, master)
    assert soft_token.token.warning() == ""  # the right one resets the token's count


def test_a_wrong_pin_makes_no_slot(soft_token: SoftToken, master: MasterKey) -> None:
    with pytest.raises(HardwareError, match="PIN is wrong"):
        hardware_slot(master, Token(soft_token.module, soft_token.label, "000000"))
    assert keys_on(soft_token) == []


def test_a_pin_shows_itself_nowhere(soft_token: SoftToken) -> None:
    assert PIN not in repr(soft_token.token)


# The token


def test_a_token_that_is_not_plugged_in_is_asked_for(soft_token: SoftToken, master: MasterKey) -> None:
    slots, _ = with_token(master, soft_token.token)
    soft_token.unplug()
    error = refusal(slots, soft_token.token)
    assert error.message == "No token called our token is plugged in."
    assert "Plug it in" in error.hint
    with pytest.raises(HardwareError, match="No token called"):
        soft_token.token.warning()
    assert opens(slots, master)
    soft_token.plug_in()
    assert same_key(slots.open_with_hardware(soft_token.token).master, master)


def test_another_token_of_the_same_name_holds_no_key_of_this_vault(
    soft_token: SoftToken, master: MasterKey
) -> None:
    slots, _ = with_token(master, soft_token.token)
    soft_token.unplug()
    soft_token.initialize()
    assert refusal(slots, soft_token.token).message == "The token our token holds no key that opens this vault."


def test_a_token_that_no_slot_names_is_not_even_asked(soft_token: SoftToken, master: MasterKey) -> None:
    slots, _ = with_token(master, soft_token.token)
    other = Token(soft_token.module, "another", PIN)
    assert refusal(slots, other).message == "The token another holds no key that opens this vault."


def test_two_tokens_of_one_name_are_not_chosen_between(soft_token: SoftToken, master: MasterKey) -> None:
    slots, _ = with_token(master, soft_token.token)
    soft_token.initialize()
    error = refusal(slots, soft_token.token)
    assert error.message == "Several tokens are called our token."
    assert "Unplug" in error.hint


def test_a_secret_altered_in_the_file_is_refused(soft_token: SoftToken, master: MasterKey) -> None:
    slots, slot = with_token(master, soft_token.token)
    altered = msgspec.structs.replace(slot, secret="A" * 64)
    changed = Keyslots(slots.vault_id, slots.epoch, (altered,), bytes(32))
    assert "refused" in refusal(changed, soft_token.token).message


def test_a_label_altered_in_the_file_is_found(soft_token: SoftToken, master: MasterKey) -> None:
    slots, slot = with_token(master, soft_token.token)
    altered = msgspec.structs.replace(slot, serial="0")
    changed = Keyslots(slots.vault_id, slots.epoch, (altered,), bytes(32))
    with pytest.raises(KeyslotsDamaged, match="was changed"):
        changed.open_with_hardware(soft_token.token)


# The library


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("", "No PKCS#11 library is set."),
        ("libsofthsm2.so", "vault.pkcs11_module needs the library's whole path, not libsofthsm2.so."),
        ("/nonexistent/library.so", "The PKCS#11 library /nonexistent/library.so can't be read"),
        ("/etc/hostname", "refused: PKCS11Error"),
    ],
)
def test_a_library_that_is_none_is_a_clear_error(module: str, said: str) -> None:
    with pytest.raises(HardwareError) as refused:
        Token(module, "our token", PIN).warning()
    assert said in refused.value.message


def test_without_a_library_the_setting_is_named() -> None:
    with pytest.raises(HardwareError) as refused:
        Token("", "our token", PIN).warning()
    assert refused.value.hint.startswith("claw config set vault.pkcs11_module ")


def test_a_library_that_others_can_change_is_not_loaded(soft_token: SoftToken, tmp_path: Path) -> None:
    copy = tmp_path / "library.so"
    shutil.copy(soft_token.module, copy)
    copy.chmod(0o777)
    token = Token(str(copy), soft_token.label, PIN)
    with pytest.raises(HardwareError, match="can be changed by others") as refused:
        token.warning()
    assert refused.value.hint == f"chmod go-w {copy}"
    copy.chmod(0o755)
    assert token.warning() == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_another_users_library_is_not_loaded(soft_token: SoftToken, tmp_path: Path) -> None:
    copy = tmp_path / "library.so"
    shutil.copy(soft_token.module, copy)
    os.chown(copy, 12345, 12345)
    with pytest.raises(HardwareError, match="can be changed by others"):
        Token(str(copy), soft_token.label, PIN).warning()


def test_without_python_pkcs11_its_extra_is_named() -> None:
    run_function(use_a_token_without_python_pkcs11)


def use_a_token_without_python_pkcs11() -> None:
    sys.modules["pkcs11"] = None  # type: ignore[assignment]
    with pytest.raises(HardwareError, match="isn't installed") as refused:
        Token("/usr/lib/library.so", "our token", PIN).warning()
    assert refused.value.hint == "pip install 'openclaw-core[hsm]'"
