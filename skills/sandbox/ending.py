"""The end of a process, as a descriptor that can be waited for together with what the process says."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator

__all__ = ["end_by_thread", "end_of"]


@contextlib.contextmanager
def end_of(process: "subprocess.Popen[bytes]") -> Iterator[int]:
    """A descriptor that can be read from once a process has ended."""
    if not hasattr(os, "pidfd_open"):
        with end_by_thread(process) as descriptor:
            yield descriptor
        return
    descriptor = os.pidfd_open(process.pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def end_by_thread(process: "subprocess.Popen[bytes]") -> Iterator[int]:
    """The same where the system has no such descriptors: a thread waits, and then closes its end of a pipe.

    A block that is left earlier ends the process: the thread could not be.
    """
    ours, theirs = os.pipe()

    def wait() -> None:
        try:
            process.wait()
        finally:
            os.close(theirs)

    waiting = threading.Thread(target=wait, name="end of a job")
    waiting.start()
    try:
        yield ours
    finally:
        process.kill()
        waiting.join()
        os.close(ours)
