"""What every tier of the sandbox does: start a job behind its walls."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from skills.sandbox.channel import Channel
from skills.sandbox.job import PYTHON, Job, Limits

__all__ = ["ENVIRONMENT", "THREADS", "Running", "Walls", "interpreter", "is_python", "limits_of"]

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that a job finds there, beside where it writes its progress."""
THREADS = 64
"""How many threads the processes of a job may have beyond one each."""
_DESCRIPTORS = 256


class Running(NamedTuple):
    """A job that was started.

    Attributes:
        process: The process to wait for; killing it ends all of the job's.
        gone: Waits until none of them is left; called after `process` ended.
        exceeds: Whether it takes more than it may and the kernel doesn't see to that; asked now and then.
    """

    process: "subprocess.Popen[bytes]"
    gone: Callable[[], None]
    exceeds: Callable[[], bool] = lambda: False


class Walls(Protocol):
    """One tier."""

    name: str

    def why_not(self) -> str:
        """What it lacks on this system; empty where nothing is known to be missing."""
        ...

    def start(self, job: Job, channel: Channel) -> Running:
        """Start a job.

        Raises:
            SandboxError: it couldn't be.
        """
        ...


def interpreter() -> Path:
    """The Python that runs us, without the links of a virtual environment."""
    return Path(sys.executable).resolve()


def is_python(job: Job) -> bool:
    """Whether it is a program for the interpreter that runs us."""
    return job.argv[0] == PYTHON[0]


def limits_of(limits: Limits, memory: int, file_bytes: int = 0, *, others: int = 0) -> dict[int, tuple[int, int]]:
    """What setrlimit(2) is told, soft and hard.

    Args:
        limits: Of the job.
        memory: Bytes of address space, of each process.
        file_bytes: Bytes of a file that have to be possible in any case.
        others: How many threads the system counts along with the job's, for they are the same person's.
    """
    threads = others + limits.processes + THREADS
    file_bytes = max(file_bytes, limits.file_bytes)
    return {
        resource.RLIMIT_AS: (memory + limits.addresses, memory + limits.addresses),
        resource.RLIMIT_CPU: (limits.cpu_s, limits.cpu_s + 1),
        resource.RLIMIT_FSIZE: (file_bytes, file_bytes),
        resource.RLIMIT_NPROC: (threads, threads),
        resource.RLIMIT_NOFILE: (_DESCRIPTORS, _DESCRIPTORS),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (1 << 16, 1 << 16),
    }
