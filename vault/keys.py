"""The master key and what is derived from it.

One random 256-bit master key per vault; every other key is HKDF-SHA256 (RFC 5869) of it, with the vault's id as
salt and a name of its own as info, so that no two uses ever share a key.
"""

import hmac
import secrets
from typing import NewType

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["KEY_BYTES", "MasterKey", "VaultId", "new_vault_id"]

KEY_BYTES = 32

VaultId = NewType("VaultId", str)
"""16 random bytes in hex: names a vault without saying anything about it."""


def new_vault_id() -> VaultId:
    """A fresh random id."""
    return VaultId(secrets.token_hex(16))


class MasterKey:
    """A vault's master key, in memory only.

    Args:
        secret: 32 bytes; copied.
        vault_id: The vault it belongs to.
    """

    __slots__ = ("_secret", "vault_id")

    def __init__(self, secret: bytes | bytearray, vault_id: VaultId) -> None:
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = bytearray(secret)
        self.vault_id = vault_id

    @classmethod
    def generate(cls, vault_id: VaultId) -> "MasterKey":
        """A fresh key from the operating system's generator."""
        return cls(secrets.token_bytes(KEY_BYTES), vault_id)

    def __repr__(self) -> str:
        return f"<MasterKey of vault {self.vault_id[:8]}>"

    def derive(self, use: str) -> bytes:
        """The 32-byte key for one use, such as `"database"`."""
        kdf = HKDF(
            algorithm=hashes.SHA256(),
            length=KEY_BYTES,
            salt=bytes.fromhex(self.vault_id),
            info=b"openclaw-core/v1/" + use.encode(),
        )
        return kdf.derive(bytes(self._secret))

    def authenticate(self, use: str, data: bytes) -> bytes:
        """HMAC-SHA256 of `data` under the key derived for `use`; 32 bytes."""
        return hmac.digest(self.derive(use), data, "sha256")

    def expose(self) -> bytes:
        """The key itself, for wrapping into a slot and for nothing else."""
        return bytes(self._secret)

    def wipe(self) -> None:
        """Overwrite the key. Copies that Python or a library made are beyond reach."""
        self._secret[:] = bytes(len(self._secret))
