"""What a process of ours may take of the machine it runs on."""

import os

__all__ = ["free_memory", "usable_cores"]


def usable_cores() -> int:
    """Physical cores that this process may use."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def free_memory() -> int:
    """Bytes of memory that programs can still take, without others having to be swapped out."""
    import psutil

    return int(psutil.virtual_memory().available)
