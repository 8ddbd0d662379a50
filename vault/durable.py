"""Writing small files so that a crash at any moment leaves the old one or the new one, never neither."""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from vault.errors import DiskFull, HomeNotWritable, VaultError

__all__ = ["at_work_in", "make_private_folder", "remove_abandoned", "replace_file", "storage_error", "sync_folder"]


def storage_error(error: OSError, path: Path) -> VaultError:
    """Turn an operating system's refusal to write into an error a person can act on."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"The disk that holds {path} is full.",
            hint="Free some room and try again; nothing that was saved before is lost.",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return HomeNotWritable(
            f"{path} can't be written: {error.strerror}.",
            hint="Make the folder writable, or point CLAW_HOME at one that is.",
        )
    return VaultError(f"{path} can't be written: {error.strerror}.")


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter (0700), and the parents it lacks, as the umask says; durably.

    Raises:
        HomeNotWritable: the folder can't be made, or is somebody else's.
        DiskFull: there is no room for it.
    """
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise storage_error(error, path) from error
    for folder in missing:
        sync_folder(folder.parent)


@contextlib.contextmanager
def at_work_in(folder: Path) -> Iterator[None]:
    """Mark a folder that isn't finished as in use, for as long as this process does something in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def remove_abandoned(folder: Path) -> bool:
    """Remove a folder that isn't finished, unless somebody is at work in it; whether it is gone."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return not os.path.lexists(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (a rename isn't, until its folder is synced).

    Raises:
        VaultError: the system refuses.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise storage_error(error, path) from error


def replace_file(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, atomically and durably, readable by its owner alone.

    Raises:
        DiskFull: there is no room; the old file is untouched.
        HomeNotWritable: the folder can't be written; the old file is untouched.
    """
    # A hidden name with a random end: two processes never share one, and no sync tool picks it up as ours.
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(error, path) from error
        raise
