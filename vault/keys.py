"""The master key and what is derived from it.

One random 256-bit master key per vault; every other key is HKDF-SHA256 (RFC 5869) of it, with the vault's id as
salt and a name of its own as info, so that no two uses ever share a key.
"""

import contextlib
import hmac
import secrets
from collections.abc import Iterator
from typing import NewType, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.errors import SecretKept
from vault.memory import SecretBuffer

__all__ = ["KEY_BYTES", "MasterKey", "VaultId", "new_vault_id"]

KEY_BYTES = 32

VaultId = NewType("VaultId", str)
"""16 random bytes in hex: names a vault without saying anything about it."""


def new_vault_id() -> VaultId:
    """A fresh random id."""
    return VaultId(secrets.token_hex(16))


class MasterKey:
    """A vault's master key, in memory only: it can't be stored, pickled or copied.

    After `wipe`, whatever needs the key raises `Locked`.

    Args:
        secret: 32 bytes, copied; or a buffer that holds them, which becomes the key's own.
        vault_id: The vault it belongs to.
    """

    __slots__ = ("_secret", "vault_id")

    def __init__(self, secret: bytes | bytearray | SecretBuffer, vault_id: VaultId) -> None:
        buffer = secret if isinstance(secret, SecretBuffer) else SecretBuffer.of(secret)
        if buffer.length != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes, not {buffer.length}")
        self._secret = buffer
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
        with self._secret.opened() as view:
            return kdf.derive(view)

    def authenticate(self, use: str, data: bytes) -> bytes:
        """HMAC-SHA256 of `data` under the key derived for `use`; 32 bytes."""
        return hmac.digest(self.derive(use), data, "sha256")

    @contextlib.contextmanager
    def opened(self) -> Iterator[memoryview]:
        """The key itself where it lies, for handing it to the process that holds it."""
        with self._secret.opened() as view:
            yield view

    def expose(self) -> bytes:
        """A copy of the key itself, for wrapping into a slot and for nothing else."""
        with self._secret.opened() as view:
            return bytes(view)

    def wipe(self) -> None:
        """Overwrite the key, from any thread. Copies that Python or a library made are beyond reach."""
        self._secret.wipe()

    def __conform__(self, protocol: object) -> NoReturn:
        """SQLite's adaptation of a bound parameter (PEP 246)."""
        raise SecretKept("A master key lives in memory alone; nothing was stored.")

    def __reduce__(self) -> NoReturn:
        raise SecretKept("A master key lives in memory alone; nothing was stored.")
