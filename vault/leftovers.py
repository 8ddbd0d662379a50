"""Files that a crash left behind in our own folders: half-written ones, and parts of downloads."""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from vault.durable import remove_abandoned
from vault.home import Home

__all__ = ["remove_leftovers"]

_STAGED = re.compile(r"\.(?!scrub\.)(?:.+\.)?[0-9a-f]{12}\.new")
"""How `vault.durable`, the making of a vault and the folder of models name what isn't finished. Copies of the whole
vault aren't waited an hour for: `vault.scrub` removes them."""
_ABANDONED_MS = 3600 * 1000
"""Nothing of ours is at work on one file for an hour without writing to it."""
_DOWNLOADS, _PART = "partial", ".part"


def remove_leftovers(home: Home, staged_before_ms: int | None, downloads_before_ms: int | None, now_ms: int) -> int:
    """Remove what was abandoned; what can't be removed stays for the next time.

    Args:
        home: Whose folders are looked through.
        staged_before_ms: Half-written files last touched before this go, if that is an hour ago; `None`: none go.
        downloads_before_ms: Parts of downloads last touched before this go; `None`: none go.
        now_ms: The time, in milliseconds since 1970.

    Returns:
        How many were removed.
    """
    removed = 0
    if staged_before_ms is not None:
        limit = min(staged_before_ms, now_ms - _ABANDONED_MS)
        for folder in {home.data, home.vault, home.models, home.config_file.parent}:
            removed += sum(_remove(path) for path in _older(folder, limit) if _STAGED.fullmatch(path.name))
    if downloads_before_ms is not None:
        parts = _older(home.models / _DOWNLOADS, downloads_before_ms)
        removed += sum(_remove(path) for path in parts if path.suffix == _PART)
    return removed


def _older(folder: Path, limit_ms: int) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            with contextlib.suppress(OSError):
                if path.stat(follow_symlinks=False).st_mtime_ns < limit_ms * 1_000_000:
                    yield path


def _remove(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        return remove_abandoned(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever is at work on one holds this
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
