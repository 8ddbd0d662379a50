"""The descriptors of one run: what it reads, says and writes, none of it without a limit.

All of it is in memory, but on a Mac, which has no such files: those there have no name.
"""

import contextlib
import os
from collections.abc import Iterator

from skills.sandbox.job import Job

__all__ = ["Channel", "channel", "in_memory", "without_a_name"]


class Channel:
    """What a sandboxed program is given of descriptors, and our ends of them.

    Attributes:
        stdin: Holds what it reads.
        stdout: It writes.
        stderr: It writes.
        progress: It writes lines of JSON.
        outputs: By name, what it writes; on Linux it finds them as /proc/self/fd/N.
        heard: Our ends of stdout, stderr and progress.
    """

    def __init__(self, job: Job, closing: contextlib.ExitStack) -> None:
        self._theirs = closing.enter_context(contextlib.ExitStack())
        self.stdin = _kept(in_memory(job.stdin), closing)
        self.outputs = {name: _kept(in_memory(b""), closing) for name in job.outputs}
        self.stdout, stdout = self._pipe(closing)
        self.stderr, stderr = self._pipe(closing)
        self.progress, progress = self._pipe(closing)
        self.heard = (stdout, stderr, progress)

    @property
    def inherited(self) -> list[int]:
        """What is passed on under its own number."""
        return [self.progress, *self.outputs.values()]

    def started(self) -> None:
        """Close what the program alone holds from now on, so that its end can be heard."""
        self._theirs.close()

    def written(self, most: int) -> dict[str, bytes]:
        """What the program wrote of its outputs, once it is gone.

        Args:
            most: Bytes of each; a longer one is left out.
        """
        return {name: data for name in self.outputs if (data := self.read(name, most))}

    def read(self, name: str, most: int) -> bytes:
        """What the program has written of one output; empty where that is nothing, or too much.

        Args:
            name: Of the output.
            most: Bytes of it.
        """
        descriptor = self.outputs[name]
        size = os.fstat(descriptor).st_size
        return os.pread(descriptor, size, 0) if 0 < size <= most else b""

    def _pipe(self, closing: contextlib.ExitStack) -> tuple[int, int]:
        ours, theirs = os.pipe()
        return _kept(theirs, self._theirs), _kept(ours, closing)


@contextlib.contextmanager
def channel(job: Job) -> Iterator[Channel]:
    """The descriptors of one job, closed in the end."""
    with contextlib.ExitStack() as closing:
        yield Channel(job, closing)


def in_memory(data: bytes) -> int:
    """A file without a name that holds some bytes, to be read from its beginning; in memory where that can be."""
    descriptor = os.memfd_create("claw", os.MFD_CLOEXEC) if hasattr(os, "memfd_create") else without_a_name()
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def without_a_name() -> int:
    """An empty file that has no name, on the disk."""
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _kept(descriptor: int, closing: contextlib.ExitStack) -> int:
    closing.callback(os.close, descriptor)
    return descriptor
