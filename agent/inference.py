"""The app's side of the inference worker: starts it, asks it, stops it, and starts it again when it dies."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from typing import BinaryIO, Protocol

import msgspec

from agent.errors import (
    ContextOverflow,
    ModelError,
    ModelRefused,
    ModelTooLarge,
    Unconfined,
    WorkerDied,
    WorkerError,
)
from agent.worker.protocol import (
    Cancel,
    ChatMessage,
    Delta,
    Evaluated,
    Failed,
    Finished,
    Generate,
    Overflow,
    Ready,
    Reply,
    Request,
    Sampling,
    Setup,
)
from vault.errors import FrameError
from vault.frames import FrameReader, FrameWriter
from vault.sanitize import sanitize
from vault.settings import InferenceSettings

__all__ = ["Event", "Inference", "Overfull", "Weights", "probe"]

_STOP_WITHIN_S = 2.0
"""A worker that hasn't stopped this long after it was told to is killed."""
_STOP_READING_WITHIN_S = 0.15
"""The same before it evaluates: rendering and tokenizing can't be interrupted, and nothing is lost with them."""

_WORKER_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    # Huge pages for what malloc gives out: the cache is made three times as fast, decoding gains 2 to 6 %.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # OpenMP's threads spin at every barrier for milliseconds by default. Beside other busy programs they then wait
    # for each other's time slices: 8 tokens a second instead of 20. Spinning less than this costs speed when alone.
    "GOMP_SPINCOUNT": "2000",
}

Event = Evaluated | Delta | Finished

_BUILD_PATH = re.compile(r"/\S*/(?=[\w.-]+:\d+)")
"""Where llama.cpp was compiled, in front of its source file's name."""

_STOPPED = Finished(
    id=0,
    finish="cancelled",
    tokens=None,
    prompt_tokens=0,
    cached_tokens=0,
    completion_tokens=0,
    prefill_s=0.0,
    decode_s=0.0,
    first_token_s=0.0,
    peak_memory=0,
)


class Weights(Protocol):
    """An open, verified model file."""

    @property
    def descriptor(self) -> int:
        """Open for reading."""
        ...


class Overfull(ContextOverflow):
    """The messages don't fit the context window.

    Attributes:
        costs: Tokens of each message.
        total: Tokens of all of them.
        room: Tokens there is room for.
    """

    def __init__(self, overflow: Overflow) -> None:
        super().__init__(
            f"The conversation takes {overflow.total} tokens; the context window has room for {overflow.context}.",
            hint="Shorten the message, start a new conversation, or raise inference.context.",
        )
        self.costs = overflow.costs
        self.total = overflow.total
        self.room = overflow.context


class Inference:
    """A worker process for one model.

    Starting returns at once, so that the model loads while the app does something else; the first question waits
    for it. One question at a time; only `cancel` may be called from another thread. Not from a signal handler: it
    could have interrupted a write to the same pipe.

    Args:
        weights: The model; the descriptor is duplicated and stays the caller's.
        settings: Threads, context window, memory and confinement.
    """

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        self._descriptor = os.dup(weights.descriptor)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: Ready | None = None
        self._writer: FrameWriter[Request] | None = None
        self._writing = threading.Lock()
        self._next_id = 1
        self._running: int | None = None
        self._loading = False
        self._evaluating = False
        self._ended_because = ""

    def start(self) -> None:
        """Start the worker, if it isn't running."""
        if self._process is not None and self._process.poll() is None:
            return
        self._discard()
        self._ended_because = ""
        # Crash messages of native code go to a file without a name: nothing of them reaches terminal or disk.
        self._stderr = _nameless_file()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "agent.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_WORKER_ENVIRONMENT,
            cwd="/",
            pass_fds=(self._descriptor,),
            start_new_session=True,  # Ctrl-C is for us to handle: it stops a reply, not the worker
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._writer = FrameWriter(self._process.stdin.fileno())
        self._reader: FrameReader[Reply] = FrameReader(self._process.stdout.fileno(), Reply)  # type: ignore[arg-type]
        self._send(
            Setup(
                model=self._descriptor,
                threads=self._settings.threads or usable_cores(),
                context=self._settings.context,
                gpu_layers=self._settings.gpu_layers,
                memory_free=_free_memory(),
                memory_limit=self._settings.memory_limit_mb * 2**20,
                confine=self._settings.confinement == "required",
            )
        )

    def ready(self) -> Ready:
        """Wait until the model is loaded.

        Raises:
            ModelRefused: llama.cpp can't load the file.
            ModelTooLarge: it doesn't fit the memory.
            Unconfined: the worker can't be confined here, and the settings require it.
            WorkerDied: it ended instead.
        """
        self.start()
        if self._ready is None:
            self._loading = True
            try:
                reply = self._receive()
            finally:
                self._loading = False
            if isinstance(reply, Failed):
                self._discard()
                raise _error(reply)
            if not isinstance(reply, Ready):
                raise self._broken()
            self._ready = reply
        return self._ready

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        reserve: int,
        schema: str | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[Event]:
        """Ask for a reply, and yield what happens until it is `Finished`.

        Closing the iterator early stops the worker's work. All text is sanitized.

        Args:
            messages: The conversation, oldest first.
            sampling: How tokens are chosen.
            reserve: Tokens that must be free for the reply.
            schema: A JSON schema that the reply must fit.
            stop: Set before `cancel` is called; a reply that is stopped before its worker can answer, or whose
                worker had to be ended for it, is `Finished` as cancelled too.

        Raises:
            Overfull: the messages don't fit; nothing was generated.
            ModelError: the model can't answer this (no chat template, say).
            WorkerDied: the worker ended in the middle; the next call starts it again.
            WorkerError: another question is still being answered.
        """
        if self._running is not None:
            raise WorkerError("The model is still answering another question.", hint="Stop that reply first.")
        stop = stop or threading.Event()
        if stop.is_set():
            yield _STOPPED
            return
        try:
            context = self.ready().context
        except WorkerDied:
            if not stop.is_set():
                raise
            yield _STOPPED
            return
        request = Generate(self._next_id, list(messages), sampling, min(reserve, max(1, context // 2)), schema)
        self._next_id += 1
        self._evaluating = False
        self._running = request.id
        process = self._process
        answering, as_generated = False, True
        try:
            self._send(request)
            answering = True
            if stop.is_set():  # while there was nothing yet that `cancel` could have stopped
                self._tell_to_stop(request.id)
            while True:
                reply = self._receive()
                self._evaluating = True
                if isinstance(reply, Ready) or reply.id != request.id:
                    raise self._broken()
                answering = isinstance(reply, Evaluated | Delta)
                match reply:
                    case Evaluated():
                        yield reply
                    case Delta():
                        text = sanitize(reply.text)
                        as_generated = as_generated and text == reply.text
                        if text:
                            yield msgspec.structs.replace(reply, text=text)
                    case Finished():
                        self._running = None
                        # Tokens that spell more than the person was shown are no history to go on from.
                        yield reply if as_generated else msgspec.structs.replace(reply, tokens=None)
                        return
                    case Overflow():
                        raise Overfull(reply)
                    case Failed():
                        raise _error(reply)
        except WorkerDied:
            if not stop.is_set():
                raise
            yield _STOPPED
        finally:
            self._running = None
            if answering and process is self._process:
                self._stop_and_drain(request.id)

    def cancel(self) -> None:
        """Stop the reply that is being generated, if one is; its text so far is kept by whoever reads it.

        While a question waits for the model to be loaded, the loading is given up: it can't be interrupted.
        """
        running, process = self._running, self._process
        if running is not None:
            self._tell_to_stop(running)
        elif self._loading and process is not None:
            self._ended_because = "it was stopped while it loaded the model"
            process.kill()

    def _tell_to_stop(self, request_id: int) -> None:
        process = self._process
        with contextlib.suppress(BrokenPipeError):  # who reads its answers finds out
            self._write(Cancel(request_id))

        def insist() -> None:
            if self._running == request_id and process is self._process and process is not None:
                self._ended_because = "it didn't stop when it was told to"
                process.kill()

        timer = threading.Timer(_STOP_WITHIN_S if self._evaluating else _STOP_READING_WITHIN_S, insist)
        timer.daemon = True
        timer.start()

    def _stop_and_drain(self, request_id: int) -> None:
        """Stop a request whose reader has gone, and read its last messages."""
        self._running = request_id
        self._tell_to_stop(request_id)
        with contextlib.suppress(WorkerDied):
            while not isinstance(self._receive(), Finished | Overflow | Failed):
                pass
        self._running = None

    @property
    def process_id(self) -> int | None:
        """Process id of the worker, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def close(self) -> None:
        """End the worker."""
        self._discard()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "Inference":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, message: Request) -> None:
        try:
            self._write(message)
        except BrokenPipeError as error:
            raise self._broken() from error
        except FrameError:  # too large: nothing was written
            raise
        except BaseException:  # an interrupt, perhaps in the middle of a frame
            self._discard()
            raise

    def _write(self, message: Request) -> None:
        with self._writing:
            if self._writer is None:
                raise BrokenPipeError
            self._writer.write(message)

    def _receive(self) -> Reply:
        try:
            reply = self._reader.read()
        except (FrameError, OSError) as error:
            raise self._broken() from error
        except BaseException:  # an interrupt: what came next would be read out of step
            self._discard()
            raise
        if reply is None:
            raise self._broken()
        return reply

    def _broken(self) -> WorkerDied:
        """End what is left of the worker, and say how it ended."""
        process = self._process
        how = "it answered nonsense"
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=0.5)
                how = f"signal {_signal_name(-code)}" if code < 0 else f"exit code {code}"
            self._stderr.seek(0)
            detail = sanitize(self._stderr.read()[-400:].decode("utf-8", "replace")).strip().splitlines()
            if detail:
                how += f": {_BUILD_PATH.sub('', detail[-1])}"
            if self._settings.memory_limit_mb and "signal" in how:
                # llama.cpp ends the process where it is refused memory.
                self._ended_because = self._ended_because or (
                    f"it seems to have needed more than the {self._settings.memory_limit_mb} MiB that "
                    "inference.memory_limit_mb lets it take"
                )
        self._discard()
        message = f"The inference worker ended unexpectedly ({how})."
        if self._ended_because:
            message = f"The inference worker was ended: {self._ended_because}."
        return WorkerDied(
            message,
            hint="Nothing that was said is lost; ask again and it is started anew.",
        )

    def _discard(self) -> None:
        process, self._process, self._ready = self._process, None, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait()
        with self._writing:  # a thread that cancels must never write to what may be another file by then
            self._writer = None
        for pipe in (process.stdin, process.stdout, self._stderr):
            if pipe is not None:
                pipe.close()


def probe(descriptor: int, settings: InferenceSettings | None = None) -> Ready:
    """Load a model in a worker of its own and end it again: the proof that this build of llama.cpp can use it.

    Args:
        descriptor: The file, open for reading.
        settings: The person's; of the window, the model's own is tried.

    Raises:
        ModelError: it can't; the text says why.
    """

    class _Candidate:
        def __init__(self) -> None:
            self.descriptor = descriptor

    with Inference(_Candidate(), msgspec.structs.replace(settings or InferenceSettings(), context=0)) as inference:
        return inference.ready()


def _nameless_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("worker-stderr"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)  # closed when the worker is discarded


def usable_cores() -> int:
    """Physical cores that this process may use."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), str(number))  # real-time ones vary


def _free_memory() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _error(failed: Failed) -> ModelError | Unconfined | WorkerError:
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
