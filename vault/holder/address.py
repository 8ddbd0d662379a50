"""Where the process that holds the key answers."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["reachable", "socket_paths"]

_MOST_PATH_BYTES = 107
"""sun_path of <sys/un.h> has 108, the last one zero."""


def socket_paths(vault: Path, data: Path, environment: Mapping[str, str]) -> list[Path]:
    """Where it may answer, the best place first: the session's own folder, which is in memory; the person's data.

    Args:
        vault: The vault's folder; each vault has a holder of its own.
        data: The person's data folder.
        environment: Names the session's folder (`XDG_RUNTIME_DIR`).
    """
    digest = hashlib.sha256(os.fsencode(os.path.realpath(vault))).hexdigest()
    paths = [data / "run" / f"{digest[:16]}.sock"]
    session = environment.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        # After `su` or `sudo` the variable may still name the folder of another user.
        if os.path.isabs(session) and os.stat(session).st_uid == os.geteuid():
            paths.insert(0, Path(session) / "openclaw-core" / f"{digest[:16]}.sock")
    return paths


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """An address of the socket at `path` that the kernel takes, however long the path is."""
    if len(os.fsencode(path)) <= _MOST_PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
