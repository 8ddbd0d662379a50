"""What runs in the sandbox, and what comes back: one program, its inputs and outputs named one by one."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from skills.errors import JobRefused
from skills.file_names import why_not

__all__ = ["PYTHON", "Ended", "Job", "Limits", "Outcome", "Progress"]

PYTHON = ("python", "-E", "-s", "-S", "-B", "-X", "utf8")
"""How a Python program begins its `argv`: the interpreter that runs us, without its packages."""

_MIB = 1 << 20
_OUTPUT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}")
_MOST_FILES = 1000
_MOST_PARTS = 1 << 53


class Limits(msgspec.Struct, frozen=True):
    """How much one job may take; whatever exceeds one is ended.

    Attributes:
        wall_s: Seconds on the clock.
        cpu_s: Seconds of computing, of each process.
        memory: Bytes of memory, of all its processes together.
        addresses: Bytes of addresses that it may take beside memory, where these are counted instead.
        processes: How many at once. Threads aren't counted.
        file_bytes: Bytes of each file that it writes, its outputs among them.
        scratch: Bytes of all files in its own /tmp, which is memory, and of the files as such, 1 KiB each; 0: it
            has none.
        stream: Bytes of what it says on stdout, and on stderr.
    """

    wall_s: float = 30.0
    cpu_s: int = 20
    memory: int = 512 * _MIB
    addresses: int = 0
    processes: int = 1
    file_bytes: int = 16 * _MIB
    scratch: int = 64 * _MIB
    stream: int = _MIB


class Job(msgspec.Struct, frozen=True):
    """One call of one program.

    Attributes:
        argv: The program and its arguments; `PYTHON` begins that of a Python program. It starts in a folder that
            holds `in/` and `out/`, and names its files by these.
        inputs: What is in `in/`, by name; names may have folders in them, and be what those of a skill's files may.
        outputs: Names of files that it may write in `out/`.
        stdin: What it reads on stdin.
        read_only: Files and folders of ours that it may read, under their own paths.
        limits: How much it may take.
    """

    argv: tuple[str, ...]
    inputs: dict[str, bytes] = {}
    outputs: tuple[str, ...] = ()
    stdin: bytes = b""
    read_only: tuple[Path, ...] = ()
    limits: Limits = Limits()

    def check(self) -> None:
        """See that it can be run as it is described.

        Raises:
            JobRefused: it can't.
        """
        if not self.argv or any("\0" in word for word in self.argv):
            raise JobRefused("There is no program to run, or a zero byte in its arguments.")
        if len(self.inputs) + len(self.outputs) > _MOST_FILES:
            raise JobRefused(f"More than {_MOST_FILES:,} files go in and out.")
        for name in self.inputs:
            if why := why_not(name):
                raise JobRefused(f"The name {name!r} of a file that goes in {why}.")
        folders = {name.rsplit("/", depth)[0] for name in self.inputs for depth in range(1, name.count("/") + 1)}
        if clash := folders & self.inputs.keys():
            raise JobRefused(f"{min(clash)!r} can't be a file and a folder.")
        for name in self.outputs:
            if not _OUTPUT.fullmatch(name) or self.outputs.count(name) > 1:
                raise JobRefused(f"{name!r} can't be the name of a file that comes out.")
        if not all(path.is_absolute() for path in self.read_only):
            raise JobRefused("What may be read has to be named by whole paths.")


class Ended(StrEnum):
    """Why a job ended."""

    EXITED = "exited"
    """By itself."""
    STOPPED = "stopped"
    """It was asked to stop."""
    WALL = "took too long"
    OVERRAN = "said too much"
    KILLED = "was killed"
    """By a signal: over a limit, most often."""


class Outcome(msgspec.Struct, frozen=True):
    """What came of a job. All of it is the program's word, and to be trusted as little as that.

    Attributes:
        ended: Why it ended.
        status: Its exit status; minus the signal's number when one ended it.
        stdout: What it said there, as far as the limit.
        stderr: The same.
        outputs: What it wrote of the files that it was to write.
        wall_s: How long it took.
        tier: The walls that it ran behind.
    """

    ended: Ended
    status: int
    stdout: bytes
    stderr: bytes
    outputs: dict[str, bytes]
    wall_s: float
    tier: str

    @property
    def ok(self) -> bool:
        """Whether it came to its end by itself, without an error."""
        return self.ended is Ended.EXITED and self.status == 0


class Progress(msgspec.Struct, frozen=True):
    """How far a job says it is.

    Attributes:
        done: Parts that are done.
        total: Of how many; 0 where it doesn't know.
        note: A few words.
        written: Name of an output that is whole now; it is read at once, and has to stay as it is until another is.
    """

    done: Annotated[int, msgspec.Meta(ge=0, le=_MOST_PARTS)] = 0
    total: Annotated[int, msgspec.Meta(ge=0, le=_MOST_PARTS)] = 0
    note: str = ""
    written: str = ""
