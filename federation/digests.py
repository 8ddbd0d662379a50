"""Digests and signatures that can't be taken for one another: each names its purpose, its parts can't run together.

What is hashed is the protocol's name and version, the purpose, and each part behind its length. SHA-256 (FIPS
180-4), Ed25519 (RFC 8032).
"""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["DIGEST_BYTES", "KEY_BYTES", "SIGNATURE_BYTES", "digest", "has_holder", "is_signed", "labelled", "sign"]

DIGEST_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64

_NAME = b"openclaw-core federation 1"
_SMALL_ORDER = frozenset(
    int.from_bytes(bytes.fromhex(y), "little")
    for y in (
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
"""The y of all points whose order divides 8, also where it is written as more than the prime: as public keys, they
have signatures that anybody can make."""
_ALL_BUT_SIGN = (1 << 255) - 1


def labelled(purpose: str, *parts: bytes) -> bytes:
    """The bytes that stand for some parts, for one purpose."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in (_NAME, purpose.encode(), *parts))


def digest(purpose: str, *parts: bytes) -> bytes:
    """SHA-256 of some parts, for one purpose; 32 bytes."""
    total = hashlib.sha256()
    for part in (_NAME, purpose.encode(), *parts):
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.digest()


def sign(key: Ed25519PrivateKey, purpose: str, *parts: bytes) -> bytes:
    """Sign some parts for one purpose; 64 bytes."""
    return key.sign(digest(purpose, *parts))


def has_holder(key: bytes) -> bool:
    """Whether an Ed25519 public key can be somebody's; one of small order has signatures that anybody can make."""
    return int.from_bytes(key, "little") & _ALL_BUT_SIGN not in _SMALL_ORDER


def is_signed(key: bytes, signature: bytes, purpose: str, *parts: bytes) -> bool:
    """Whether the holder of a key signed just that. A key of small order has no holder, and signs nothing.

    Args:
        key: Ed25519 public key, 32 bytes.
        signature: 64 bytes.
        purpose: As it was signed for.
        parts: As they were signed.
    """
    if not has_holder(key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, digest(purpose, *parts))
    except (InvalidSignature, ValueError):
        return False
    return True
