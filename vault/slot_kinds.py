"""The kinds of key slots, as they lie in `keyslots.json`.

A slot of today holds the public half of a key pair and the master key sealed to it (`vault.wrapping`); the person,
the keychain, the shares or the token hold the secret that the private half is made of. A slot of version 1 wraps
the master key under the secret itself: it opens as before, but a new master key can't be put into it unseen.
"""

import base64
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from vault.keys import KEY_BYTES
from vault.passphrase import KdfCost

__all__ = [
    "CHECK_BYTES",
    "HELD_BYTES",
    "MOST_SHARES",
    "NONCE_BYTES",
    "SALT_BYTES",
    "SEALED_BYTES",
    "TAG_BYTES",
    "WRAPPED_BYTES",
    "AnyRotatable",
    "Base64",
    "HardwareSlot",
    "KeychainSlot",
    "Mechanism",
    "PassphraseSlot",
    "RecoverySlot",
    "RotatableSlot",
    "Slot",
    "SymmetricKeychainSlot",
    "SymmetricPassphraseSlot",
    "SymmetricSlot",
    "check_lengths",
    "decode",
    "encode",
    "kind_of",
]

NONCE_BYTES = 12
SALT_BYTES = 16
TAG_BYTES = 32
CHECK_BYTES = 8
_GCM_TAG_BYTES = 16
WRAPPED_BYTES = KEY_BYTES + _GCM_TAG_BYTES
"""A key under AES-GCM, with its tag."""
SEALED_BYTES = KEY_BYTES + WRAPPED_BYTES
"""An encapsulated X25519 key, and the master key under AES-GCM."""
HELD_BYTES = NONCE_BYTES + WRAPPED_BYTES
"""A nonce, and a key under AES-GCM."""
MOST_SHARES = 16
"""SLIP-39 counts no further."""

Mechanism = Literal["aes-gcm", "rsa-oaep"]
"""How a key on a token encrypts the slot's secret."""

Base64 = Annotated[str, Meta(max_length=4096)]
_Timestamp = Annotated[int, Meta(ge=0)]
_Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}\Z")]
_Label = Annotated[str, Meta(min_length=1, max_length=64)]
_Count = Annotated[int, Meta(ge=1, le=MOST_SHARES)]


class _Rotatable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every slot of today has.

    Attributes:
        id: Of this slot alone, for as long as it exists.
        created: Seconds since 1970.
        public: X25519 key to which the master key is sealed.
        sealed: The master key, sealed to `public`.
        held: The slot's authentication key, encrypted under the master key.
        tag: Proves with the authentication key that a holder of the master key wrote the slot.
    """

    id: _Id
    created: _Timestamp
    public: Base64
    sealed: Base64
    held: Base64
    tag: Base64


class PassphraseSlot(_Rotatable, frozen=True, tag="passphrase"):
    """Opened by a passphrase, stretched with the salt and cost stored here."""

    salt: Base64
    cost: KdfCost


class KeychainSlot(_Rotatable, frozen=True, tag="keychain"):
    """Opened by the secret that the OS keychain keeps under `account`."""

    account: Annotated[str, Meta(max_length=200)]


class RecoverySlot(_Rotatable, frozen=True, tag="recovery"):
    """Opened by any `threshold` of `shares` SLIP-39 shares.

    Attributes:
        threshold: Shares that are needed.
        shares: Shares that were made.
        identifier: Of the set, as SLIP-39 writes it into each of them.
        check: Key-check value of the secret they give.
    """

    threshold: _Count
    shares: _Count
    identifier: Annotated[int, Meta(ge=0, lt=2**15)]
    check: Base64

    def __post_init__(self) -> None:
        if self.threshold > self.shares:
            raise ValueError("no set needs more shares than it has")


class HardwareSlot(_Rotatable, frozen=True, tag="hardware"):
    """Opened by a secret that a key on a PKCS#11 token decrypts.

    Attributes:
        token: Label of the token.
        serial: The token's serial number, as it tells it.
        key: Label of the key on it, of this slot alone.
        mechanism: How the key encrypts.
        nonce: For AES-GCM; empty for RSA-OAEP.
        secret: The encrypted secret.
    """

    token: _Label
    serial: Annotated[str, Meta(max_length=64)]
    key: _Label
    mechanism: Mechanism
    nonce: Base64
    secret: Base64


class _Symmetric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every slot of version 1 has: the master key, wrapped with AES-256-GCM under the slot's secret."""

    id: _Id
    created: _Timestamp
    nonce: Base64
    wrapped: Base64


class SymmetricPassphraseSlot(_Symmetric, frozen=True, tag="passphrase"):
    """A passphrase slot of version 1."""

    salt: Base64
    cost: KdfCost


class SymmetricKeychainSlot(_Symmetric, frozen=True, tag="keychain"):
    """A keychain slot of version 1."""

    account: Annotated[str, Meta(max_length=200)]


RotatableSlot = PassphraseSlot | KeychainSlot | RecoverySlot | HardwareSlot
"""A slot of today."""
SymmetricSlot = SymmetricPassphraseSlot | SymmetricKeychainSlot
"""A slot of version 1."""
Slot = RotatableSlot | SymmetricSlot
AnyRotatable = TypeVar("AnyRotatable", bound=RotatableSlot)


def kind_of(slot: Slot) -> str:
    """What a slot is called: `passphrase`, `keychain`, `recovery` or `hardware`."""
    return str(slot.__struct_config__.tag)


def check_lengths(slot: Slot) -> None:
    """Check every field of a slot that holds bytes.

    Raises:
        ValueError: one isn't base64, or not of the length it always has.
    """
    if isinstance(slot, SymmetricSlot):
        decode(slot.nonce, NONCE_BYTES)
        decode(slot.wrapped, WRAPPED_BYTES)
    else:
        for text, length in (
            (slot.public, KEY_BYTES),
            (slot.sealed, SEALED_BYTES),
            (slot.held, HELD_BYTES),
            (slot.tag, TAG_BYTES),
        ):
            decode(text, length)
    if isinstance(slot, PassphraseSlot | SymmetricPassphraseSlot):
        decode(slot.salt, SALT_BYTES)
    elif isinstance(slot, RecoverySlot):
        decode(slot.check, CHECK_BYTES)
    elif isinstance(slot, HardwareSlot):
        gcm = slot.mechanism == "aes-gcm"
        decode(slot.nonce, NONCE_BYTES if gcm else 0)
        decode(slot.secret, WRAPPED_BYTES if gcm else None)


def encode(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def decode(text: str, length: int | None = None) -> bytes:
    """The bytes that base64 stands for.

    Raises:
        ValueError: it isn't base64, or stands for another number of bytes.
    """
    data = base64.b64decode(text, validate=True)
    if length is not None and len(data) != length:
        raise ValueError(f"{length} bytes were expected, not {len(data)}")
    return data
