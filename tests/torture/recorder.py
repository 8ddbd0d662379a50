"""The preloaded disk (`disk.c`) as Python sees it: compiled, told what to do, and its trace read back."""

import ctypes
import errno
import os
import struct
import subprocess
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["Event", "Fault", "Operation", "compile_disk", "environment", "events", "mark", "report", "start"]

_SOURCE = Path(__file__).with_name("disk.c")
_HEADER = struct.Struct("<IB3xQQHHI")

Manner = Literal["once", "always", "short", "kill", "tear"]


class Operation(IntEnum):
    """What a record of the trace tells; the numbers are those of `disk.c`."""

    CREATE = 1
    WRITE = 2
    RESIZE = 3
    SYNC = 4
    SYNC_FOLDER = 5
    RENAME = 6
    EXCHANGE = 7
    UNLINK = 8
    MKDIR = 9
    RMDIR = 10
    LINK = 11
    SYNC_FAILED = 12
    MARK = 13


class Event(NamedTuple):
    """One record.

    Attributes:
        operation: What was done.
        inode: Of the file that was written, resized, synced or made; 0 where names alone matter.
        offset: Of the write, or the new size.
        path: Whole; of the file or folder.
        other: Whole; the new name.
        data: What was written, or the text of a mark.
    """

    operation: Operation
    inode: int
    offset: int
    path: str
    other: str
    data: bytes


class Fault(NamedTuple):
    """A fault at the nth change of the files.

    Attributes:
        at: From 1.
        manner: `"once"` that change fails; `"always"` all from there on; `"short"` half of the write is done, the
            rest fails; `"kill"` the process is killed before it, `"tear"` in its middle.
        code: What failing changes say.
    """

    at: int
    manner: Manner
    code: int = errno.EIO


def compile_disk(folder: Path) -> Path:
    """Compile the library into a folder; its path.

    Raises:
        CalledProcessError: there is no compiler, or it refused.
    """
    library = folder / "disk.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(_SOURCE)]
    subprocess.run([*command, "-lpthread"], check=True)
    return library


def environment(root: Path, trace: Path, fault: Fault | None = None) -> dict[str, str]:
    """What tells the library its task; `LD_PRELOAD` is the caller's."""
    told = {"CLAW_TORTURE_ROOT": str(root), "CLAW_TORTURE_TRACE": str(trace)}
    if fault is not None:
        told["CLAW_TORTURE_DO"] = fault.manner
        told["CLAW_TORTURE_AT"] = str(fault.at)
        told["CLAW_TORTURE_ERRNO"] = str(fault.code)
    return told


def start(told: dict[str, str]) -> None:
    """Give the library, preloaded into this process, a new task."""
    os.environ.update(told)
    ctypes.CDLL(None).claw_torture_start()


def mark(text: str) -> None:
    """Put a mark into the trace, between what was done before and after."""
    data = text.encode()
    ctypes.CDLL(None).claw_torture_mark(data, ctypes.c_size_t(len(data)))


def report() -> tuple[bool, int]:
    """Whether the fault has come, and how many changes there were."""
    library = ctypes.CDLL(None)
    library.claw_torture_count.restype = ctypes.c_long
    return bool(library.claw_torture_fired()), int(library.claw_torture_count())


def events(trace: Path) -> Iterator[Event]:
    """The records of a trace, in order; one that a kill cut off counts as none.

    Raises:
        ValueError: it isn't a trace.
    """
    data = trace.read_bytes()
    position = 0
    while position + _HEADER.size <= len(data):
        length, operation, inode, offset, path, other, size = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        if length != path + other + size:
            raise ValueError(f"the trace {trace} is damaged at {position}")
        if position + length > len(data):
            return
        names = data[position : position + path + other]
        written = data[position + path + other : position + length]
        yield Event(
            Operation(operation), inode, offset, os.fsdecode(names[:path]), os.fsdecode(names[path:]), written
        )
        position += length
