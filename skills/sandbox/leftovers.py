"""Folders of single runs, and those left behind by runs that were killed together with their owner.

Whoever makes such a folder holds a lock on it (flock(2)) until it is removed. The lock ends with its process,
however that ends: a folder that can be locked is nobody's any more.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

__all__ = ["claim", "sweep"]

_PREFIX = "claw-run-"


def claim(parent: Path) -> tuple[Path, int]:
    """Make a folder of one run's own.

    Returns:
        The folder, and the descriptor that holds it until it is closed.

    Raises:
        OSError: none can be made there.
    """
    while True:
        folder = parent / f"{_PREFIX}{secrets.token_hex(6)}"
        folder.mkdir(mode=0o700)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # another run swept it before it was ours
            lock = _locked(folder)
            if folder.exists():
                return folder, lock
            os.close(lock)


def sweep(parent: Path, remove: Callable[[Path], object]) -> None:
    """Remove what runs of the same person's left there.

    Args:
        parent: Where such folders are made.
        remove: How one of them is removed.
    """
    try:
        left = [folder for folder in parent.iterdir() if folder.name.startswith(_PREFIX)]
    except OSError:
        return
    for folder in left:
        with contextlib.suppress(OSError):  # in use, another person's, or gone meanwhile
            if folder.lstat().st_uid == os.geteuid():
                lock = _locked(folder)
                try:
                    remove(folder)
                finally:
                    os.close(lock)


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock on a folder.

    Raises:
        BlockingIOError: somebody else's does.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock
