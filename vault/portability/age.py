"""Encrypted streams in the age format (https://age-encryption.org/v1), which `age -d` opens too.

To recipients they are pyrage's work (`vault.portability.age_recipients`). It offers passphrases for whole messages
alone, so `vault.portability.age_passphrase` writes and reads that kind itself.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from vault.errors import BackupRefused, ImportRefused
from vault.portability.files import open_plain

__all__ = ["BY_PASSPHRASE", "Opener", "Sealer", "Sink", "Writable", "altered", "opens_by_passphrase"]

BY_PASSPHRASE = b"age-encryption.org/v1\n-> scrypt "
"""How a file begins that opens by a passphrase."""

_VERSION_LINE = b"age-encryption.org/v1\n"

Sink = Callable[[bytes], None]
"""Takes the plaintext piece by piece. Only the end of the stream proves that nothing was cut off."""


class Writable(Protocol):
    """What can be written to."""

    def write(self, data: bytes, /) -> int:
        """Append."""
        ...


class Sealer(Protocol):
    """What encrypts a stream."""

    @property
    def described(self) -> str:
        """How, for the transparency log."""
        ...

    def seal(self, chunks: Iterator[bytes], file: Writable) -> None:
        """Write the chunks, encrypted."""
        ...


class Opener(Protocol):
    """What decrypts a stream."""

    def open(self, file: IO[bytes], sink: Sink) -> None:
        """Read a whole file, and hand its plaintext on as it comes.

        Raises:
            WrongPassphrase: another passphrase opens it.
            BackupRefused: it was altered, cut off or lengthened, or opens with none of the identities.
        """
        ...


def opens_by_passphrase(path: Path) -> bool:
    """Whether a backup opens by a passphrase, and not by an identity.

    Raises:
        ImportRefused: it can't be read.
        BackupRefused: it is no file of age.
    """
    try:
        with open_plain(path) as file:
            beginning = file.read(len(BY_PASSPHRASE))
    except OSError as error:
        raise ImportRefused(f"The backup {path} can't be read: {error.strerror}.") from error
    if not beginning.startswith(_VERSION_LINE):
        raise BackupRefused(f"{path} is no backup: it doesn't begin as a file of age does.")
    return beginning == BY_PASSPHRASE


def altered() -> BackupRefused:
    """The refusal of a file that isn't as it was written."""
    return BackupRefused(
        "The backup was altered or cut off.", hint="Nothing was changed. Use another copy of it, or an older one."
    )
