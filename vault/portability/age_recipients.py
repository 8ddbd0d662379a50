"""The age format to recipients and by identities, streamed through pyrage."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from pyrage import DecryptError, EncryptError, IdentityError, RecipientError, decrypt_io, encrypt_io, x25519

from vault.errors import BackupRefused, VaultError
from vault.portability.age import Sink, Writable, altered
from vault.portability.files import open_plain

__all__ = ["Identities", "Recipients"]

_MAX_IDENTITY_FILE = 64 * 1024
_PIECE = 1 << 16


class Recipients:
    """Encrypts to the public keys of age identities.

    Args:
        names: `age1…`, at least one.

    Raises:
        VaultError: one of them is none.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._recipients: list[x25519.Recipient] = []
        for name in names:
            try:
                self._recipients.append(x25519.Recipient.from_str(name.strip()))
            except RecipientError:
                raise VaultError(
                    f"“{name[:8]}…” is no recipient of age.", hint="One begins with age1; `age-keygen` prints it."
                ) from None

    @property
    def described(self) -> str:
        """How it is encrypted."""
        count = len(self._recipients)
        return f"age, to {count} recipients" if count > 1 else "age, to a recipient"

    def seal(self, chunks: Iterator[bytes], file: Writable) -> None:
        """Write the chunks, encrypted to every recipient."""
        source, target = _Source(chunks), _Target(file.write)
        try:
            encrypt_io(source, target, self._recipients)
        except (EncryptError, OSError):
            if not source.failure and not target.failure:
                raise
        # Asked for in any case: pyrage keeps silent about a last write that failed.
        if failure := source.failure or target.failure:
            raise failure


class Identities:
    """Decrypts what was encrypted to a recipient.

    Args:
        keys: `AGE-SECRET-KEY-1…`, at least one.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._identities = [x25519.Identity.from_str(key) for key in keys]

    @classmethod
    def read(cls, path: Path) -> "Identities":
        """The identities in a file as `age-keygen` writes it.

        Raises:
            VaultError: it can't be read, or holds none.
        """
        try:
            with open_plain(path) as file:
                lines = file.read(_MAX_IDENTITY_FILE).decode("ascii").splitlines()
        except OSError as error:
            raise VaultError(f"The identity file {path} can't be read: {error.strerror}.") from error
        except UnicodeDecodeError:
            lines = []
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        try:
            if keys:
                return cls(keys)
        except IdentityError:
            pass
        raise VaultError(
            f"{path} is no identity file of age.", hint="It has a line that begins with AGE-SECRET-KEY-1."
        )

    def open(self, file: IO[bytes], sink: Sink) -> None:
        """As `Opener` says."""
        source, target = _Source(_pieces(file)), _Target(sink)
        refusal: BackupRefused | None = None
        try:
            decrypt_io(source, target, self._identities)
        except DecryptError:
            refusal = BackupRefused(
                "The backup opens with none of these identities, or its beginning was altered.",
                hint="Nothing was changed. Name the identity file that belongs to its recipient.",
            )
        except OSError:
            refusal = altered()
        if failure := source.failure or target.failure or refusal:
            raise failure


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


class _Source:
    """A stream for pyrage to read. What goes wrong in ours would reach the caller as text; here it is kept."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self.failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._chunks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.failure = error
            raise
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)


class _Target:
    """A stream for pyrage to write to."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self.failure: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            self._take(data)
        except BaseException as error:
            self.failure = error
            raise
        return len(data)

    def flush(self) -> None:
        pass
