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

_BYTES = 8 << 20
"""As much as a write-ahead log of usual length, and what erasing adds to it, need to be folded in."""
_SHARE = 8
"""It is at most this part of what is free, or else as little as helps."""
_LITTLE = 256 << 10
_LEAST = 64 << 10
"""Less is of no use: the index of an empty log takes 32 KiB."""
_PIECE = 64 << 10


class Reserve:
    """The room set aside for one vault.

    Args:
        vault: The vault's folder.
    """

    def __init__(self, vault: Path) -> None:
        self._path = vault / RESERVE

    def keep(self) -> None:
        """Set room aside, or as much as can be spared; nothing depends on it."""
        with contextlib.suppress(OSError):
            kept = self._path.stat().st_size if self._path.exists() else 0
            status = os.statvfs(self._path.parent)
            free = status.f_bavail * status.f_frsize + kept
            size = min(_BYTES, max(free // _SHARE, min(free, _LITTLE)))
            if kept >= size or size < _LEAST:
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                for at in range(kept, size - _PIECE + 1, _PIECE):
                    os.pwrite(descriptor, os.urandom(_PIECE), at)  # zeros take no room on some file systems
            finally:
                os.close(descriptor)

    def make_room(self) -> bool:
        """Give the room back if there is little else; whether it was given."""
        try:
            status = os.statvfs(self._path.parent)
        except OSError:
            return False
        return status.f_bavail * status.f_frsize < _BYTES and self.release()

    def release(self) -> bool:
        """Give the room back to the disk; whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
