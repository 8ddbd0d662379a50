"""How much memory a process takes, where the kernel can't be told how much it may."""

import os

__all__ = ["exceeds", "has_too_many_files"]

_BYTES_A_FILE = 1024
"""What the kernel keeps of a file in memory that has nothing in it (measured: 1.0 KiB)."""


def exceeds(pid: int, memory: int) -> bool:
    """Whether a process takes more memory than it may; one that can't be looked at does.

    Args:
        pid: Of a process of ours.
        memory: Bytes.
    """
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss) > memory
    except psutil.NoSuchProcess:  # it has ended, and waits to be heard
        return False
    except psutil.Error:
        return True


def has_too_many_files(pid: int, folder: str, room: int) -> bool:
    """Whether files take more memory by being there than what is in them may take.

    The size of a file system in memory bounds what is in its files. Their number is bounded by the machine's memory
    alone, of which empty ones could take most where no control group counts them.

    Args:
        pid: Of a process with a root of its own; one that has none yet, or can't be looked at, has no files.
        folder: Where it has a file system in memory.
        room: Bytes of that.
    """
    root = f"/proc/{pid}/root"
    try:
        if os.path.samestat(os.stat(f"{root}/"), os.stat("/")):
            return False
        found = os.statvfs(root + folder)
    except OSError:
        return False
    return (found.f_files - found.f_ffree) * _BYTES_A_FILE > room
