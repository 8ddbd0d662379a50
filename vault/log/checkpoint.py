"""The checkpoints of the device's own log: what `tlog` finds wrong with one is said as damage to the log."""

from tlog.errors import BadNote
from tlog.note import Checkpoint, Signer, Verifier, origin_of
from vault.classes import TopSecret
from vault.errors import LogDamaged
from vault.log.finding import damaged

__all__ = ["SEED_BYTES", "opened", "signer_of", "verifier_of"]

SEED_BYTES = 32
_ORIGIN = "openclaw-core/device"


def signer_of(seed: TopSecret[bytes]) -> Signer:
    """What signs the log of the device with this key.

    Args:
        seed: 32 bytes (RFC 8032's private key).
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(seed.reveal())
    return Signer(key, origin_of(_ORIGIN, key.public_key().public_bytes_raw()))


def verifier_of(text: str) -> Verifier:
    """The verifier that a person names.

    Raises:
        LogDamaged: it is no verifier key.
    """
    try:
        return Verifier.parse(text)
    except BadNote as error:
        raise LogDamaged(error.message, hint=error.hint) from None


def opened(note: str, verifier: Verifier) -> Checkpoint:
    """What a signed checkpoint says.

    Raises:
        LogDamaged: it is none, or this key didn't sign it.
    """
    try:
        return Checkpoint.parse(verifier.open(note))
    except BadNote as error:
        raise damaged(error.message) from None
