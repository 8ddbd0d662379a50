"""Who belongs to a federation: identities that its registrar vouched for.

The registrar is a key that signs each device's identity once, when the device is admitted, and that the
orchestrator doesn't hold. A device knows it from the moment it joins. So an orchestrator can't make up the
others of a cohort.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.digests import is_signed, sign

__all__ = ["Registrar", "certify"]

_PURPOSE = "enrolment"


def certify(registrar: Ed25519PrivateKey, federation: bytes, device: bytes) -> bytes:
    """The registrar's signature, 64 bytes, that a device belongs to a federation.

    Args:
        registrar: The registrar's key.
        federation: Digest that stands for the federation, 32 bytes.
        device: The device's identity, an Ed25519 public key of 32 bytes.
    """
    return sign(registrar, _PURPOSE, federation, device)


class Registrar:
    """The registrar as others know it. What it vouched for once is remembered.

    Args:
        key: Its Ed25519 public key, 32 bytes.
        federation: Digest that stands for the federation, 32 bytes.

    Attributes:
        federation: The same.
    """

    def __init__(self, key: bytes, federation: bytes) -> None:
        self._key = key
        self.federation = federation
        self._known: set[tuple[bytes, bytes]] = set()

    def vouches_for(self, device: bytes, certificate: bytes) -> bool:
        """Whether a device was admitted."""
        if (device, certificate) in self._known:
            return True
        if not is_signed(self._key, certificate, _PURPOSE, self.federation, device):
            return False
        self._known.add((device, certificate))
        return True
