"""Asking the model: a worker answers one question at a time, can be stopped, and is started again when it dies."""

import contextlib
import os
import threading
from collections.abc import Generator, Sequence
from typing import Protocol, TypeVar

import msgspec

from agent.adapters import Adapter
from agent.errors import ContextOverflow, WorkerDied, WorkerError
from agent.models.adapter import AdaptableModel
from agent.worker.protocol import (
    Adapt,
    Adapted,
    Called,
    Cancel,
    ChatMessage,
    Count,
    Counted,
    Delta,
    Encode,
    Encoded,
    Evaluated,
    Failed,
    Finished,
    Generate,
    OfferedTool,
    Overflow,
    Ready,
    Sampling,
)
from agent.worker_process import WorkerProcess, failure
from vault.sanitize import sanitize
from vault.settings import InferenceSettings

__all__ = ["Event", "Inference", "Overfull", "Weights", "probe"]

_STOP_WITHIN_S = 2.0
"""A worker that hasn't stopped this long after it was told to is killed."""
_STOP_READING_WITHIN_S = 0.15
"""The same before it evaluates: rendering and tokenizing can't be interrupted, and nothing is lost with them."""

Answered = TypeVar("Answered", Adapted, Counted, Encoded)
Event = Evaluated | Delta | Called | Finished

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
        tools: Tokens that the tools take besides.
    """

    def __init__(self, overflow: Overflow) -> None:
        super().__init__(
            f"The conversation takes {overflow.total} tokens; the context window has room for {overflow.context}.",
            hint="Shorten the message, start a new conversation, or raise inference.context.",
        )
        self.costs = overflow.costs
        self.total = overflow.total
        self.room = overflow.context
        self.tools = overflow.tools


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
        self._adaptable: AdaptableModel | None = None
        self._adapter = ""
        self._worker: WorkerProcess | None = None
        self._ready: Ready | None = None
        self._next_id = 1
        self._running: int | None = None
        self._loading = False
        self._evaluating = False

    def start(self) -> None:
        """Start the worker, if it isn't running."""
        if self._worker is not None:
            if self._worker.process_id is not None:
                return
            self._worker.discard()
        self._ready = None
        self._adapter = ""
        self._worker = WorkerProcess(self._descriptor, self._settings)

    def ready(self) -> Ready:
        """Wait until the model is loaded.

        Raises:
            ModelRefused: llama.cpp can't load the file.
            ModelTooLarge: it doesn't fit the memory.
            Unconfined: the worker can't be confined here, and the settings require it.
            WorkerDied: it ended instead.
        """
        self.start()
        worker = self._worker
        assert worker is not None
        if self._ready is None:
            self._loading = True
            try:
                reply = worker.receive()
            finally:
                self._loading = False
            if isinstance(reply, Failed):
                worker.discard()
                raise failure(reply)
            if not isinstance(reply, Ready):
                raise worker.give_up()
            self._ready = reply
        return self._ready

    def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        *,
        reserve: int,
        schema: str | None = None,
        tools: Sequence[OfferedTool] = (),
        adapter: Adapter | None = None,
        stop: threading.Event | None = None,
    ) -> Generator[Event]:
        """Ask for a reply, and yield what happens until it is `Finished`.

        Closing the iterator early stops the worker's work. All text is sanitized.

        Args:
            messages: The conversation, oldest first.
            sampling: How tokens are chosen.
            reserve: Tokens that must be free for the reply.
            schema: A JSON schema that the reply must fit.
            tools: That may be called, where `Ready` says that the model has a form for it: the reply is then text,
                or one `Called` before it is `Finished`.
            adapter: That it is answered with. The worker keeps the one that it was last given: only another one is
                read and sent to it, also to a worker that was started again.
            stop: Set before `cancel` is called; a reply that is stopped before its worker can answer, or whose
                worker had to be ended for it, is `Finished` as cancelled too.

        Raises:
            Overfull: the messages don't fit; nothing was generated.
            ModelError: the model can't answer this (no chat template, say).
            AdapterRefused: the adapter doesn't fit the model, and the worker goes on with the one that it has; or
                what it evaluates with it is no number, and it goes on without.
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
        reserve = min(reserve, max(1, context // 2))
        request = Generate(self._next_id, list(messages), sampling, reserve, schema, tuple(tools))
        self._next_id += 1
        self._evaluating = False
        self._running = request.id
        worker = self._worker
        assert worker is not None
        answering, as_generated = False, True
        try:
            self._adapt(worker, adapter)
            worker.send(request)
            answering = True
            if stop.is_set():  # while there was nothing yet that `cancel` could have stopped
                self._tell_to_stop(worker, request.id)
            while True:
                reply = worker.receive()
                self._evaluating = True
                if isinstance(reply, Ready | Counted | Encoded | Adapted) or reply.id != request.id:
                    raise worker.give_up()
                answering = isinstance(reply, Evaluated | Delta | Called)
                match reply:
                    case Evaluated():
                        yield reply
                    case Delta():
                        text = sanitize(reply.text)
                        as_generated = as_generated and text == reply.text
                        if text:
                            yield msgspec.structs.replace(reply, text=text)
                    case Called():
                        yield msgspec.structs.replace(reply, text=sanitize(reply.text))
                    case Finished():
                        self._running = None
                        # Tokens that spell more than the person was shown are no history to go on from.
                        yield reply if as_generated else msgspec.structs.replace(reply, tokens=None)
                        return
                    case Overflow():
                        raise Overfull(reply)
                    case Failed():
                        if reply.kind == "adapter":
                            self._adapter = ""
                        raise failure(reply)
        except WorkerDied:
            if not stop.is_set():
                raise
            yield _STOPPED
        finally:
            self._running = None
            if answering and not worker.discarded:
                self._stop_and_drain(worker, request.id)

    def _adapt(self, worker: WorkerProcess, adapter: Adapter | None) -> None:
        """See that the worker answers with an adapter, or with none."""
        wanted = adapter.sha256 if adapter is not None else ""
        if wanted == self._adapter:
            return
        content = b""
        if adapter is not None:
            if self._adaptable is None:
                self._adaptable = AdaptableModel.read(self._descriptor)
            content = adapter.read().reveal()
            self._adaptable.check(content)
        self._exchange(worker, Adapt(self._next_id, content), Adapted)
        self._adapter = wanted

    def count(self, text: str) -> int:
        """How many tokens a text is, by itself.

        Raises:
            ModelError: the model can't be loaded.
            WorkerDied: the worker ended instead.
            WorkerError: a question is still being answered.
        """
        request = Count(self._next_id, text)
        return self._answer(request, Counted).tokens

    def encode(self, messages: Sequence[ChatMessage], reply: str) -> Encoded:
        """The tokens of a conversation and of the reply to it, as if it had been generated.

        Raises:
            ModelError: the model can't be loaded, or has no chat template.
            WorkerDied: the worker ended instead.
            WorkerError: a question is still being answered.
        """
        request = Encode(self._next_id, list(messages), reply)
        return self._answer(request, Encoded)

    def _answer(self, request: Count | Encode, kind: type[Answered]) -> Answered:
        """The answer to a request that is no question to the model itself."""
        if self._running is not None:
            raise WorkerError("The model is still answering another question.", hint="Stop that reply first.")
        self.ready()
        assert self._worker is not None
        return self._exchange(self._worker, request, kind)

    def _exchange(self, worker: WorkerProcess, request: Adapt | Count | Encode, kind: type[Answered]) -> Answered:
        """Send a request, and wait for the one message that answers it."""
        self._next_id += 1
        worker.send(request)
        reply = worker.receive()
        if isinstance(reply, Failed) and reply.id == request.id:
            raise failure(reply)
        if not isinstance(reply, kind) or reply.id != request.id:
            raise worker.give_up()
        return reply

    def cancel(self) -> None:
        """Stop the reply that is being generated, if one is; its text so far is kept by whoever reads it.

        While a question waits for the model to be loaded, the loading is given up: it can't be interrupted.
        """
        running, worker = self._running, self._worker
        if worker is None:
            return
        if running is not None:
            self._tell_to_stop(worker, running)
        elif self._loading:
            worker.end("it was stopped while it loaded the model")

    def kill(self, because: str) -> None:
        """End the worker at once, with all that it remembers; the next question starts another.

        May be called from any thread.

        Args:
            because: What to tell whoever waits for its answer; the middle of a sentence.
        """
        if self._worker is not None:
            self._worker.end(because)

    def _tell_to_stop(self, worker: WorkerProcess, request_id: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # who reads its answers finds out
            worker.write(Cancel(request_id))

        def insist() -> None:
            if self._running == request_id and not worker.discarded:
                worker.end("it didn't stop when it was told to")

        timer = threading.Timer(_STOP_WITHIN_S if self._evaluating else _STOP_READING_WITHIN_S, insist)
        timer.daemon = True
        timer.start()

    def _stop_and_drain(self, worker: WorkerProcess, request_id: int) -> None:
        """Stop a request whose reader has gone, and read its last messages."""
        self._running = request_id
        try:
            self._tell_to_stop(worker, request_id)
            with contextlib.suppress(WorkerDied):
                while not isinstance(worker.receive(), Finished | Overflow | Failed):
                    pass
        finally:
            self._running = None

    @property
    def process_id(self) -> int | None:
        """Process id of the worker, while it runs."""
        return self._worker.process_id if self._worker is not None else None

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.discard()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "Inference":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
