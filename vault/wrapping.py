"""The master key inside a slot: sealed, opened, and sealed anew without the slot's secret.

A slot's 32-byte secret (of Argon2id, a keychain, recovery shares or a token) gives two keys by HKDF-SHA256
(RFC 5869): the private half of an X25519 pair, and an authentication key. The master key is sealed to the public
half by HPKE (RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM), so that a rotation can put
a new one into every slot while nobody types a passphrase.

Base mode lets anybody seal to a public key. The authentication key's HMAC over the whole slot makes sure that a
holder of the vault's master key did; without it, a thief could swap the vault for one of their own that the
person's passphrase opens. It lies in the slot encrypted under the master key, which a rotation has at hand. Whoever
learns an old master key learns the authentication keys, and still none that opens what was sealed later.
"""

import hmac
import os
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.errors import KeyslotsDamaged
from vault.keys import KEY_BYTES, MasterKey, VaultId
from vault.slot_kinds import (
    HELD_BYTES,
    NONCE_BYTES,
    SEALED_BYTES,
    TAG_BYTES,
    WRAPPED_BYTES,
    AnyRotatable,
    KeychainSlot,
    PassphraseSlot,
    RotatableSlot,
    SymmetricPassphraseSlot,
    SymmetricSlot,
    decode,
    encode,
    kind_of,
)

__all__ = ["FORMAT", "modernized", "rewrap", "unwrap", "unwrap_symmetric", "wrap"]

FORMAT = "openclaw-core/keyslots"
_VERSION = 2
_HOLDING_USE = "slot-authentication"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class _SlotKeys(NamedTuple):
    """What a slot's secret gives."""

    private: X25519PrivateKey
    authentication: bytes


def wrap(master: MasterKey, secret: bytes, slot: AnyRotatable) -> AnyRotatable:
    """Put the master key into a slot.

    Args:
        master: The key.
        secret: The slot's own, 32 bytes.
        slot: Whole but for `public`, `sealed`, `held` and `tag`.
    """
    keys = _derive(master.vault_id, slot, secret)
    slot = msgspec.structs.replace(slot, public=encode(keys.private.public_key().public_bytes_raw()))
    return _seal(master, keys.authentication, slot)


def unwrap(vault_id: VaultId, secret: bytes, slot: RotatableSlot) -> MasterKey | None:
    """The master key in a slot, or `None` if the secret isn't this slot's.

    Raises:
        KeyslotsDamaged: the secret is right, but the slot isn't the one that this vault wrote.
    """
    keys = _derive(vault_id, slot, secret)
    public = keys.private.public_key().public_bytes_raw()
    if not hmac.compare_digest(public, decode(slot.public, KEY_BYTES)):
        return None
    if not hmac.compare_digest(_tag(vault_id, keys.authentication, slot), decode(slot.tag, TAG_BYTES)):
        raise _altered(slot)
    try:
        opened = _SUITE.decrypt(decode(slot.sealed, SEALED_BYTES), keys.private, _binding(vault_id, slot))
    except InvalidTag as error:
        raise _altered(slot) from error
    return MasterKey(opened, vault_id)


def rewrap(master: MasterKey, new: MasterKey, slot: AnyRotatable) -> AnyRotatable:
    """Put a new master key into a slot, with the old one at hand and not the slot's secret.

    Raises:
        KeyslotsDamaged: the slot isn't the one that a holder of the old master key wrote.
    """
    held = decode(slot.held, HELD_BYTES)
    try:
        authentication = AESGCM(master.derive(_HOLDING_USE)).decrypt(
            held[:NONCE_BYTES], held[NONCE_BYTES:], _binding(master.vault_id, slot)
        )
    except InvalidTag as error:
        raise _altered(slot) from error
    if not hmac.compare_digest(_tag(master.vault_id, authentication, slot), decode(slot.tag, TAG_BYTES)):
        raise _altered(slot)
    return _seal(new, authentication, slot)


def unwrap_symmetric(vault_id: VaultId, secret: bytes, slot: SymmetricSlot) -> MasterKey | None:
    """The master key in a slot of version 1, or `None` if the secret doesn't open it."""
    binding = msgspec.json.encode([FORMAT, 1, vault_id, msgspec.structs.replace(slot, wrapped="")])
    try:
        opened = AESGCM(secret).decrypt(
            decode(slot.nonce, NONCE_BYTES), decode(slot.wrapped, WRAPPED_BYTES), binding
        )
    except InvalidTag:
        return None
    return MasterKey(opened, vault_id)


def modernized(master: MasterKey, secret: bytes, slot: SymmetricSlot) -> RotatableSlot:
    """A slot of version 1 that was just opened, in the form of today."""
    if isinstance(slot, SymmetricPassphraseSlot):
        passphrase = PassphraseSlot(slot.id, slot.created, "", "", "", "", slot.salt, slot.cost)
        return wrap(master, secret, passphrase)
    return wrap(master, secret, KeychainSlot(slot.id, slot.created, "", "", "", "", slot.account))


def _seal(master: MasterKey, authentication: bytes, slot: AnyRotatable) -> AnyRotatable:
    binding = _binding(master.vault_id, slot)
    public = X25519PublicKey.from_public_bytes(decode(slot.public, KEY_BYTES))
    nonce = os.urandom(NONCE_BYTES)
    held = nonce + AESGCM(master.derive(_HOLDING_USE)).encrypt(nonce, authentication, binding)
    slot = msgspec.structs.replace(
        slot, sealed=encode(_SUITE.encrypt(master.expose(), public, binding)), held=encode(held)
    )
    return msgspec.structs.replace(slot, tag=encode(_tag(master.vault_id, authentication, slot)))


def _derive(vault_id: VaultId, slot: RotatableSlot, secret: bytes) -> _SlotKeys:
    def key(use: str) -> bytes:
        info = f"{FORMAT}/v{_VERSION}/{use}/{kind_of(slot)}/{slot.id}".encode()
        return HKDF(hashes.SHA256(), KEY_BYTES, bytes.fromhex(vault_id), info).derive(secret)

    return _SlotKeys(X25519PrivateKey.from_private_bytes(key("x25519")), key("authentication"))


def _binding(vault_id: VaultId, slot: RotatableSlot) -> bytes:
    """Everything the slot says of itself, and the vault it opens; a rotation changes none of it."""
    return _with_vault(vault_id, msgspec.structs.replace(slot, sealed="", held="", tag=""))


def _tag(vault_id: VaultId, authentication: bytes, slot: RotatableSlot) -> bytes:
    return hmac.digest(authentication, _with_vault(vault_id, msgspec.structs.replace(slot, tag="")), "sha256")


def _with_vault(vault_id: VaultId, slot: RotatableSlot) -> bytes:
    return msgspec.json.encode([FORMAT, _VERSION, vault_id, slot])


def _altered(slot: RotatableSlot) -> KeyslotsDamaged:
    return KeyslotsDamaged(
        f"The {kind_of(slot)} slot {slot.id} was changed by something else than this vault.",
        hint="Compare keyslots.json with keyslots.json.backup beside it, and put the good copy back.",
    )
