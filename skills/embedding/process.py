"""The embedder as a process: how it is started and spoken to, how it ends, and what is found out of why."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from typing import BinaryIO

from skills.embedding.files import OpenFiles
from skills.embedding.protocol import MOST_REPLY, Reply, Request, Setup
from skills.errors import EmbedderDied
from vault.errors import FrameError
from vault.frames import FrameReader, FrameWriter
from vault.sanitize import sanitize_line

__all__ = ["EmbedderProcess", "Retired"]

_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    # Huge pages for what malloc gives out: each decision walks through all the weights; about a tenth of its time.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # One thread a product: texts are short, and OpenBLAS's threads spin. On two busy cores, two of them took half a
    # second for what takes one 57 milliseconds.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class Retired(Exception):
    """It has ended as it should, because nobody asked for a while; another has to be started."""


class EmbedderProcess:
    """One child, from its start to its end; it is never started again.

    Args:
        files: What it loads; the descriptors stay the caller's.
        threads: Batches that are computed at once.
        idle_s: Seconds without a request after which it ends.

    Attributes:
        discarded: Whether it was ended and let go of; it answers no more.

    Raises:
        EmbedderDied: it ended at once.
    """

    def __init__(self, files: OpenFiles, *, threads: int, idle_s: float) -> None:
        self.discarded = False
        # Crash messages of native code go to a file without a name: nothing of them reaches terminal or disk.
        self._stderr = _nameless_file()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "skills.embedding.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_ENVIRONMENT,
            cwd="/",
            pass_fds=(files.weights, files.vocabulary),
            start_new_session=True,  # Ctrl-C is for us to handle
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._writer: FrameWriter[Request] = FrameWriter(self._process.stdin.fileno())
        self._reader: FrameReader[Reply] = FrameReader(
            self._process.stdout.fileno(),
            Reply,  # type: ignore[arg-type]
            most=MOST_REPLY,
        )
        try:
            self.send(Setup(files.weights, files.vocabulary, threads, idle_s))
        except Retired:
            raise self.give_up() from None

    @property
    def process_id(self) -> int | None:
        """Its process id, while it runs."""
        return self._process.pid if self._process.poll() is None else None

    def send(self, message: Request) -> None:
        """Send a message.

        Raises:
            FrameError: it is too large; the child goes on.
            Retired: it has ended as it should.
            EmbedderDied: it doesn't listen any more.
        """
        try:
            self._writer.write(message)
        except BrokenPipeError as error:
            raise self._ended() from error
        except FrameError:  # nothing was written
            raise
        except BaseException:  # an interrupt, perhaps in the middle of a frame
            self.discard()
            raise

    def receive(self) -> Reply:
        """Wait for the next message.

        Raises:
            Retired: it has ended as it should instead.
            EmbedderDied: it ended otherwise, or sent what is no message.
        """
        try:
            reply = self._reader.read()
        except (FrameError, OSError) as error:
            raise self.give_up() from error
        except BaseException:  # an interrupt: what came next would be read out of step
            self.discard()
            raise
        if reply is None:
            raise self._ended()
        return reply

    def _ended(self) -> EmbedderDied | Retired:
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process.wait(timeout=0.5) == 0:
                self.discard()
                return Retired()
        return self.give_up()

    def give_up(self) -> EmbedderDied:
        """End what is left of it, and say how it ended."""
        how = "it answered nonsense"
        if not self.discarded:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=0.5)
                how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
            self._stderr.seek(0)
            lines = self._stderr.read()[-400:].decode("utf-8", "replace").strip().splitlines()
            if lines:
                how += f": {sanitize_line(lines[-1])}"
        self.discard()
        return EmbedderDied(
            f"The embedder ended unexpectedly ({how}).", hint="Nothing is lost; ask again and it is started anew."
        )

    def discard(self) -> None:
        """End it and let go of it; again is without effect."""
        if self.discarded:
            return
        self.discarded = True
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                pipe.close()


def _nameless_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("embedder-stderr"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)  # closed when it is discarded


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), str(number))  # real-time ones vary
