"""Files of weights: opened without being fooled, digested, copied, and the room for them."""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from agent.errors import ModelError, ModelRefused
from vault.durable import storage_error
from vault.errors import DiskFull

__all__ = ["Progress", "copy_weights", "open_weights", "require_room", "sha256_of"]

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how many bytes of it are done, and of how many (`None`: nobody knows)."""

_CHUNK_BYTES = 2**20
_MARGIN_BYTES = 32 * 2**20
"""Left free on the disk beside a model: the vault must go on working."""


def open_weights(path: Path, *, follow: bool = False) -> int:
    """Open a file of weights for reading; the descriptor is the caller's to close.

    What is decided later is decided about this descriptor: a path may mean another file a moment after.

    Args:
        path: The file.
        follow: Whether `path` itself may be a symbolic link (caches of other tools are full of them).

    Raises:
        ModelRefused: it isn't a regular file.
        ModelError: it can't be read.
    """
    # Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise ModelError(f"There is no file {path}.") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ModelRefused(f"{path} is a symbolic link, where a model's own file should be.") from None
        raise ModelError(f"{path} can't be read: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelRefused(f"{path} is not a plain file.", hint="Name the model's .gguf file itself.")
    return descriptor


def sha256_of(descriptor: int, doing: str, progress: Progress | None = None) -> str:
    """The digest of all of a file, wherever its position is.

    Raises:
        ModelError: the disk can't read it.
    """
    digest = hashlib.sha256()
    size = os.fstat(descriptor).st_size
    done = 0
    try:
        while chunk := os.pread(descriptor, _CHUNK_BYTES, done):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(doing, done, size)
    except OSError as error:
        raise ModelError(f"The model's file can't be read: {error.strerror}.") from error
    return digest.hexdigest()


def copy_weights(source: int, target: int, target_path: Path, progress: Progress | None = None) -> str:
    """Copy a file of weights, and give the digest of what was copied.

    Raises:
        DiskFull: there is no room for it.
        VaultError: the copy can't be written.
        ModelError: the disk can't read the source.
    """
    digest = hashlib.sha256()
    size = os.fstat(source).st_size
    done = 0
    while True:
        try:
            chunk = os.pread(source, _CHUNK_BYTES, done)
        except OSError as error:
            raise ModelError(f"The file can't be read: {error.strerror}.") from error
        if not chunk:
            return digest.hexdigest()
        digest.update(chunk)
        done += len(chunk)
        try:
            while chunk:
                chunk = chunk[os.write(target, chunk) :]
        except OSError as error:
            raise storage_error(error, target_path) from error
        if progress is not None:
            progress("Copying", done, size)


def require_room(folder: Path, needed: int) -> None:
    """Make sure that a disk has room for a model before its first byte is written.

    Raises:
        DiskFull: it hasn't.
    """
    free = shutil.disk_usage(folder).free
    if needed + _MARGIN_BYTES > free:
        raise DiskFull(
            f"The model needs {_mb(needed)} and {_mb(_MARGIN_BYTES)} to spare; the disk that holds {folder} has "
            f"{_mb(free)} free.",
            hint="Free some room (`claw model rm` removes a model), and try again. Nothing was written.",
        )


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
