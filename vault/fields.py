"""Sealing single fields, inside a database that is encrypted as a whole.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce under a key per data class and epoch. The associated data
bind vault, class, epoch, table, row and column, so that a ciphertext moved anywhere else opens nothing. A key seals
far fewer than the 2^32 values that random nonces allow; rotation begins a new epoch.

A sealed field is: version (1 byte), epoch (4 bytes, big-endian), nonce (12), ciphertext and tag.
"""

import os
import struct
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.classes import DataClass, HighlySensitive
from vault.errors import DatabaseDamaged

__all__ = ["OVERHEAD_BYTES", "FieldCipher"]

_VERSION = 1
_HEADER = struct.Struct(">BI")
_NONCE_BYTES = 12
_TAG_BYTES = 16

OVERHEAD_BYTES = _HEADER.size + _NONCE_BYTES + _TAG_BYTES
"""How many more a sealed field has than what was sealed."""


class FieldCipher:
    """Seals and opens the highly sensitive fields of one vault.

    Args:
        derive: The key of a use (`MasterKey.derive`).
        vault_id: Bound into every field.
        epoch: Which generation of keys seals; older ones still open.
    """

    def __init__(self, derive: Callable[[str], bytes], vault_id: str, epoch: int = 1) -> None:
        self._derive = derive
        self._vault_id = vault_id
        self._ciphers: dict[int, AESGCM] = {}
        self.epoch = epoch

    def seal(self, table: str, row: str, column: str, value: HighlySensitive[bytes]) -> bytes:
        """Encrypt a field for its place.

        Args:
            table: Of the field.
            row: The row's primary key, as text.
            column: Of the field.
            value: What is to be sealed.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher(self.epoch).encrypt(
            nonce, value.reveal(), self._binding(self.epoch, table, row, column)
        )
        return _HEADER.pack(_VERSION, self.epoch) + nonce + sealed

    def open(self, table: str, row: str, column: str, sealed: bytes) -> HighlySensitive[bytes]:
        """Decrypt a field from its place.

        Raises:
            DatabaseDamaged: it was altered, or belongs somewhere else.
        """
        try:
            version, epoch = _HEADER.unpack_from(sealed)
            if version != _VERSION or len(sealed) < OVERHEAD_BYTES:
                raise ValueError("not a sealed field")
            nonce = sealed[_HEADER.size : _HEADER.size + _NONCE_BYTES]
            binding = self._binding(epoch, table, row, column)
            opened = self._cipher(epoch).decrypt(nonce, sealed[_HEADER.size + _NONCE_BYTES :], binding)
        except (InvalidTag, ValueError, struct.error):
            raise DatabaseDamaged(
                f"A sealed field of {table} was altered, or was moved there from somewhere else.",
                hint="Restore the vault from a backup; `claw vault check` says what else is wrong.",
            ) from None
        return HighlySensitive(opened)

    def wipe(self) -> None:
        """Forget the keys."""
        self._ciphers.clear()

    def _cipher(self, epoch: int) -> AESGCM:
        if epoch not in self._ciphers:
            self._ciphers[epoch] = AESGCM(self._derive(f"field/{DataClass.HIGHLY_SENSITIVE}/{epoch}"))
        return self._ciphers[epoch]

    def _binding(self, epoch: int, table: str, row: str, column: str) -> bytes:
        return msgspec.json.encode(
            ["openclaw-core/field", _VERSION, self._vault_id, DataClass.HIGHLY_SENSITIVE, epoch, table, row, column]
        )
