"""Passphrases: where they come from without a terminal, and how a key is made of one (Argon2id, RFC 9106).

The PIN of a hardware token comes from the same kind of file.
"""

import os
import stat
import unicodedata
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from msgspec import Meta

from vault.errors import PassphraseFileRefused, VaultError
from vault.keys import KEY_BYTES

__all__ = [
    "DEFAULT_COST",
    "MIN_LENGTH",
    "KdfCost",
    "check_length",
    "read_passphrase_file",
    "read_pin_file",
    "stretch",
]

MIN_LENGTH = 8
"""Shortest passphrase accepted for a new slot, in characters."""

_MAX_FILE_BYTES = 4096
_MOST_WORK_KIB = 16 * 2**20
"""Most memory times passes of one slot: half a minute of work."""


class KdfCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost of stretching a passphrase, stored beside each slot. The bounds keep a forged file from stalling us."""

    memory_kib: Annotated[int, Meta(ge=8, le=4 * 2**20)]
    iterations: Annotated[int, Meta(ge=1, le=100)]
    lanes: Annotated[int, Meta(ge=1, le=64)]
    name: Literal["argon2id"] = "argon2id"

    def __post_init__(self) -> None:
        if self.memory_kib < 8 * self.lanes:
            raise ValueError("Argon2 takes at least 8 KiB a lane")
        if self.memory_kib * self.iterations > _MOST_WORK_KIB:
            raise ValueError("no vault of ours costs that much")


DEFAULT_COST = KdfCost(memory_kib=256 * 1024, iterations=3, lanes=4)
"""256 MiB and three passes: about a second on a laptop, and as long for each guess of a thief's."""


def check_length(passphrase: str) -> None:
    """Check that a passphrase may open a vault.

    Raises:
        VaultError: it is too short.
    """
    if len(passphrase) < MIN_LENGTH:
        raise VaultError(f"A passphrase needs at least {MIN_LENGTH} characters; a few random words are best.")


def stretch(passphrase: str, salt: bytes, cost: KdfCost) -> bytes:
    """The 32-byte key of a passphrase.

    It is normalized first (NFC, as RFC 8265 asks for): one keyboard types "é" as one character, another as two.

    Raises:
        VaultError: there is less free memory than the cost asks for.
    """
    kdf = Argon2id(
        salt=salt,
        length=KEY_BYTES,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    try:
        return kdf.derive(unicodedata.normalize("NFC", passphrase).encode("utf-8"))
    except MemoryError:
        raise VaultError(
            f"There isn't enough free memory to try the passphrase: that takes {cost.memory_kib // 1024} MiB.",
            hint="Close other programs and try again.",
        ) from None


def read_passphrase_file(path: Path) -> str:
    """The passphrase in a file: all of it but one line end at the end.

    Raises:
        PassphraseFileRefused: the file is missing, not a plain file, not ours, open to group or others, empty,
            too large, or not UTF-8.
    """
    return _read_private(path, "passphrase")


def read_pin_file(path: Path) -> str:
    """The PIN of a hardware token in a file; errors as above."""
    return _read_private(path, "PIN")


def _read_private(path: Path, what: str) -> str:
    mend = f"chmod 600 {path}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise PassphraseFileRefused(f"The {what} file {path} can't be read: {error.strerror}.") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PassphraseFileRefused(f"The {what} file {path} is not a plain file.")
        if status.st_uid != os.geteuid():
            raise PassphraseFileRefused(f"The {what} file {path} belongs to another user.")
        if status.st_mode & 0o077:
            raise PassphraseFileRefused(f"The {what} file {path} can be read by others.", hint=mend)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_FILE_BYTES:
        raise PassphraseFileRefused(f"The {what} file {path} is larger than {_MAX_FILE_BYTES} bytes.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise PassphraseFileRefused(f"The {what} file {path} is not UTF-8 text.") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise PassphraseFileRefused(f"The {what} file {path} is empty.")
    return secret
