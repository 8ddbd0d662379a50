"""Digests and signatures that can't be taken for one another: each names its purpose, its parts can't run together.

What is hashed is the protocol's name and version, the purpose, and each part behind its length. SHA-256 (FIPS
180-4), Ed25519 (RFC 8032).
"""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["DIGEST_BYTES", "KEY_BYTES", "SIGNATURE_BYTES", "digest", "is_signed", "labelled", "sign"]

DIGEST_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64

_NAME = b"openclaw-core federation 1"


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


def is_signed(key: bytes, signature: bytes, purpose: str, *parts: bytes) -> bool:
    """Whether the holder of a key signed just that.

    Args:
        key: Ed25519 public key, 32 bytes.
        signature: 64 bytes.
        purpose: As it was signed for.
        parts: As they were signed.
    """
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, digest(purpose, *parts))
    except (InvalidSignature, ValueError):
        return False
    return True
