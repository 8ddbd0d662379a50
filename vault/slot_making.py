"""New slots: each kind's secret is made or taken, kept where it belongs, and the master key put into the slot."""

import os
import secrets
import time

from vault.errors import KeychainError, VaultError
from vault.hardware import Token
from vault.keychain import Keychain
from vault.keys import KEY_BYTES, MasterKey
from vault.passphrase import KdfCost, stretch
from vault.recovery import RecoveryKit, check_value
from vault.slot_kinds import (
    SALT_BYTES,
    HardwareSlot,
    KeychainSlot,
    PassphraseSlot,
    RecoverySlot,
    encode,
)
from vault.wrapping import wrap

__all__ = ["hardware_slot", "keychain_slot", "passphrase_slot", "recovery_slot"]


def passphrase_slot(master: MasterKey, passphrase: str, cost: KdfCost) -> PassphraseSlot:
    """A slot that a passphrase opens.

    Raises:
        VaultError: it is empty, or there is less free memory than the cost asks for.
    """
    if not passphrase:
        raise VaultError("A passphrase can't be empty.")
    salt = os.urandom(SALT_BYTES)
    slot = PassphraseSlot(_new_id(), _now(), "", "", "", "", encode(salt), cost)
    return wrap(master, stretch(passphrase, salt, cost), slot)


def keychain_slot(master: MasterKey, keychain: Keychain) -> KeychainSlot:
    """A slot whose secret is put into the keychain and read back.

    Raises:
        KeychainError: the keychain didn't keep it.
    """
    slot_id = _new_id()
    account = f"vault {master.vault_id[:12]} slot {slot_id}"
    secret = secrets.token_bytes(KEY_BYTES)
    keychain.set(account, encode(secret))
    if keychain.get(account) != encode(secret):
        keychain.delete(account)
        raise KeychainError("The keychain did not keep what it was given.", hint="Use the passphrase.")
    return wrap(master, secret, KeychainSlot(slot_id, _now(), "", "", "", "", account))


def recovery_slot(master: MasterKey, kit: RecoveryKit) -> RecoverySlot:
    """A slot that the shares of a kit open."""
    check = encode(check_value(kit.secret, master.vault_id))
    slot = RecoverySlot(_new_id(), _now(), "", "", "", "", kit.threshold, len(kit.shares), kit.identifier, check)
    return wrap(master, kit.secret, slot)


def hardware_slot(master: MasterKey, token: Token) -> HardwareSlot:
    """A slot whose secret is encrypted by a new key on the token.

    Raises:
        HardwareError: the token isn't there, the PIN is wrong, or it refuses.
    """
    slot_id = _new_id()
    key = f"openclaw-core {master.vault_id[:12]} {slot_id}"
    secret = secrets.token_bytes(KEY_BYTES)
    sealed = token.seal(key, secret)
    slot = HardwareSlot(
        slot_id,
        _now(),
        *("", "", "", ""),
        token.label,
        sealed.serial,
        key,
        sealed.mechanism,
        encode(sealed.nonce),
        encode(sealed.secret),
    )
    return wrap(master, secret, slot)


def _new_id() -> str:
    return secrets.token_hex(4)


def _now() -> int:
    return int(time.time())
