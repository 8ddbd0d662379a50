"""What is derived from the keys of a round: pairwise masks, seals between neighbours, commitments.

X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), AES-256-GCM (NIST SP 800-38D). Everything that is derived is bound to the
graph of the round, and so to its plan and cohort, and to both identities in their order. A key seals one message.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federation.digests import digest, labelled
from federation.errors import Refused

__all__ = ["agree", "commitment", "mask_key", "open_sealed", "pair_mask_key", "public_half", "seal"]

_NONCE = bytes(12)  # each key seals one message


def public_half(private: bytes) -> bytes:
    """The public half of an X25519 key, 32 bytes each."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, public: bytes) -> bytes:
    """What the holders of two keys share: 32 bytes, to derive keys from.

    Raises:
        Refused: the public key has small order, so that anybody could know the outcome.
    """
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Refused("A device's key is one that agrees on the same with everybody.") from None


def pair_mask_key(agreed: bytes, view: bytes, lower: bytes, higher: bytes) -> bytes:
    """The key of the mask that two devices share; `lower` is the one that adds it."""
    return _derived(agreed, view, "pair mask", lower, higher)


def mask_key(seed: bytes, view: bytes, device: bytes) -> bytes:
    """The key of a device's own mask."""
    return _derived(seed, view, "own mask", device)


def commitment(purpose: str, view: bytes, device: bytes, secret: bytes) -> bytes:
    """What a device tells of a secret of 32 unforeseeable bytes before it tells the secret."""
    return digest(purpose, view, device, secret)


def seal(agreed: bytes, view: bytes, sender: bytes, receiver: bytes, text: bytes) -> bytes:
    """Seal a message from one device to another; 16 bytes longer."""
    return AESGCM(_derived(agreed, view, "seal", sender, receiver)).encrypt(_NONCE, text, view)


def open_sealed(agreed: bytes, view: bytes, sender: bytes, receiver: bytes, sealed: bytes) -> bytes | None:
    """Open what `seal` sealed; `None` if that isn't what came."""
    try:
        return AESGCM(_derived(agreed, view, "seal", sender, receiver)).decrypt(_NONCE, sealed, view)
    except InvalidTag:
        return None


def _derived(secret: bytes, view: bytes, purpose: str, *parties: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=view, info=labelled(purpose, *parties)).derive(secret)
