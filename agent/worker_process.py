"""The inference worker as a process: how it is started and spoken to, how it ends, and what is found out of why."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from typing import BinaryIO

from agent.errors import ModelError, ModelRefused, ModelTooLarge, Unconfined, WorkerDied, WorkerError
from agent.worker.protocol import Failed, Reply, Request, Setup
from vault.errors import FrameError
from vault.frames import FrameReader, FrameWriter
from vault.sanitize import sanitize
from vault.settings import InferenceSettings

__all__ = ["WorkerProcess", "failure"]

_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    # Huge pages for what malloc gives out: the cache is made three times as fast, decoding gains 2 to 6 %.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # OpenMP's threads spin at every barrier for milliseconds by default. Beside other busy programs they then wait
    # for each other's time slices: 8 tokens a second instead of 20. Spinning less than this costs speed when alone.
    "GOMP_SPINCOUNT": "2000",
}

_BUILD_PATH = re.compile(r"/\S*/(?=[\w.-]+:\d+)")
"""Where llama.cpp was compiled, in front of its source file's name."""


class WorkerProcess:
    """One worker, from its start to its end; it is never started again.

    Starting returns at once; the worker's first reply says whether it could load the model. Only `write` and `kill`
    may be called from another thread than the one that reads.

    Args:
        weights: The model's descriptor, open for reading; it stays the caller's.
        settings: Threads, context window, memory and confinement.

    Attributes:
        discarded: Whether it was ended and let go of, by its holder or after an error; it answers no more.

    Raises:
        WorkerDied: it ended at once.
    """

    def __init__(self, weights: int, settings: InferenceSettings) -> None:
        self._memory_limit_mb = settings.memory_limit_mb
        self._ended_because = ""
        self._writing = threading.Lock()
        self.discarded = False
        # Crash messages of native code go to a file without a name: nothing of them reaches terminal or disk.
        self._stderr = _nameless_file()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "agent.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_ENVIRONMENT,
            cwd="/",
            pass_fds=(weights,),
            start_new_session=True,  # Ctrl-C is for us to handle: it stops a reply, not the worker
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._writer: FrameWriter[Request] | None = FrameWriter(self._process.stdin.fileno())
        self._reader: FrameReader[Reply] = FrameReader(self._process.stdout.fileno(), Reply)  # type: ignore[arg-type]
        self.send(
            Setup(
                model=weights,
                threads=settings.threads or _usable_cores(),
                context=settings.context,
                gpu_layers=settings.gpu_layers,
                memory_free=_free_memory(),
                memory_limit=settings.memory_limit_mb * 2**20,
                confine=settings.confinement == "required",
            )
        )

    @property
    def process_id(self) -> int | None:
        """Its process id, while it runs."""
        return self._process.pid if self._process.poll() is None else None

    def send(self, message: Request) -> None:
        """Send a message, and discard the worker if that fails half-way.

        Raises:
            FrameError: the message is too large; the worker goes on.
            WorkerDied: it doesn't listen any more.
        """
        try:
            self.write(message)
        except BrokenPipeError as error:
            raise self.give_up() from error
        except FrameError:  # too large: nothing was written
            raise
        except BaseException:  # an interrupt, perhaps in the middle of a frame
            self.discard()
            raise

    def write(self, message: Request) -> None:
        """Send a message from any thread; the worker stays as it is if that fails.

        Raises:
            BrokenPipeError: it doesn't listen any more.
        """
        with self._writing:
            if self._writer is None:
                raise BrokenPipeError
            self._writer.write(message)

    def receive(self) -> Reply:
        """Wait for the next message.

        Raises:
            WorkerDied: it ended instead, or sent what is no message.
        """
        try:
            reply = None if self.discarded else self._reader.read()  # the descriptor may be another file's by then
        except (FrameError, OSError) as error:
            raise self.give_up() from error
        except BaseException:  # an interrupt: what came next would be read out of step
            self.discard()
            raise
        if reply is None:
            raise self.give_up()
        return reply

    def kill(self, because: str) -> None:
        """End it from any thread; whoever waits for its next message learns why."""
        self._ended_because = because
        self._process.kill()

    def give_up(self) -> WorkerDied:
        """End what is left of the worker, and say how it ended."""
        how = "it answered nonsense"
        if not self.discarded:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(timeout=0.5)
                how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
            self._stderr.seek(0)
            detail = sanitize(self._stderr.read()[-400:].decode("utf-8", "replace")).strip().splitlines()
            if detail:
                how += f": {_BUILD_PATH.sub('', detail[-1])}"
            if self._memory_limit_mb and "signal" in how:
                # llama.cpp ends the process where it is refused memory.
                self._ended_because = self._ended_because or (
                    f"it seems to have needed more than the {self._memory_limit_mb} MiB that "
                    "inference.memory_limit_mb lets it take"
                )
        self.discard()
        message = f"The inference worker ended unexpectedly ({how})."
        if self._ended_because:
            message = f"The inference worker was ended: {self._ended_because}."
        return WorkerDied(
            message,
            hint="Nothing that was said is lost; ask again and it is started anew.",
        )

    def discard(self) -> None:
        """End the worker and let go of it; again is without effect."""
        if self.discarded:
            return
        self.discarded = True
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        with self._writing:  # a thread that cancels must never write to what may be another file by then
            self._writer = None
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                pipe.close()


def failure(failed: Failed) -> ModelError | Unconfined | WorkerError:
    """What a worker says of its failure, as the error that a person reads; sanitized."""
    message = sanitize(failed.message)
    match failed.kind:
        case "model":
            return ModelRefused(
                f"llama.cpp can't load this model: {message}.",
                hint="It may be damaged, or too new for this llama.cpp: get it again, or choose another.",
            )
        case "memory":
            return ModelTooLarge(
                f"There isn't enough memory: {message}.",
                hint="Choose a smaller model, or lower inference.context or raise inference.memory_limit_mb.",
            )
        case "confinement":
            return Unconfined(
                f"The inference worker can't be confined here: {message}.",
                hint="`claw config set inference.confinement off` runs it without; see SECURITY.md.",
            )
        case "template" | "schema":
            return ModelError(f"The model can't answer: {message}.", hint="Choose another with `claw model use`.")
        case "internal":
            return WorkerError(f"The inference worker failed: {message}.")


def _nameless_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("worker-stderr"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)  # closed when the worker is discarded


def _usable_cores() -> int:
    """Physical cores that this process may use."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), str(number))  # real-time ones vary
