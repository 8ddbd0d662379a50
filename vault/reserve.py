"""A little room on the disk, set aside for the day when there is none.

SQLite needs some to open a vault even for reading: for the index of its write-ahead log. So a file holds that room
while nobody needs it. On a full disk it goes, and a person can still read, take along and erase what is theirs.
"""

import contextlib
import os
from pathlib import Path

__all__ = ["RESERVE", "Reserve"]

RESERVE = "reserve"
"""The file's name, in the vault's folder."""

_BYTES = 256 * 1024
_LEAST = 64 * 1024
"""Less is of no use: the index of an empty log takes 32 KiB."""
_PIECE = 16 * 1024
"""It is written in pieces: on a disk with little room some of it stays."""


class Reserve:
    """The room set aside for one vault.

    Args:
        vault: The vault's folder.
    """

    def __init__(self, vault: Path) -> None:
        self._path = vault / RESERVE

    def keep(self) -> None:
        """Set room aside, or as much as there is; nothing depends on it."""
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size >= _LEAST:
                return
            noise = os.urandom(_BYTES)  # zeros take no room on some file systems
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o600)
            try:
                with contextlib.suppress(OSError):
                    for at in range(0, _BYTES, _PIECE):
                        os.write(descriptor, noise[at : at + _PIECE])
                kept = os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
            if kept < _LEAST:
                self._path.unlink()

    def release(self) -> bool:
        """Give the room back to the disk; whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
