"""How much memory a process takes, where the kernel can't be told how much it may."""

__all__ = ["exceeds"]


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
