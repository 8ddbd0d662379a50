"""The folder of weights: one process at a time changes what lies in it, and nothing unfinished stays behind."""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from vault.durable import make_private_folder, storage_error, sync_folder

__all__ = ["ModelsFolder"]


class ModelsFolder:
    """The folder of weights; made, private to its owner, when first written to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the folder; the kernel unlocks it after a crash."""
        make_private_folder(self.path)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def staged(self) -> Iterator[tuple[Path, int]]:
        """A new file, as its path and a descriptor open for both; gone afterwards unless it was moved away."""
        path = self.path / f".{secrets.token_hex(6)}.new"
        with self.locked():
            self._sweep()
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise storage_error(error, path) from error
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # tells other processes' sweeps that it is in use
        try:
            yield path, descriptor
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)

    def move_in(self, staged: Path, descriptor: int, name: str) -> Path:
        """Give a finished file its name, durably. An unregistered file of that name, left by a crash, is replaced.

        Raises:
            VaultError: it can't be written or moved; it lies where it was.
        """
        final = self.path / name
        try:
            os.fsync(descriptor)
            staged.rename(final)
            sync_folder(self.path)
        except OSError as error:
            raise storage_error(error, final) from error
        return final

    def delete(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            VaultError: it can't be removed.
        """
        path = self.path / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, path) from error

    def _sweep(self) -> None:
        """Remove what a killed process left unfinished: staged files that nobody holds."""
        for path in self.path.glob(".*.new"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                continue  # its process has just finished with it
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            except BlockingIOError:
                continue  # its process is still at work
            finally:
                os.close(descriptor)
