"""The inference worker as a process: how it is started, and what is found out of why it ended."""

import re

from agent.errors import (
    AdapterRefused,
    ModelError,
    ModelRefused,
    ModelTooLarge,
    Unconfined,
    WorkerDied,
    WorkerError,
)
from agent.worker.protocol import Failed, Reply, Request, Setup
from vault.capacity import free_memory, usable_cores
from vault.child import Child, Ending
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


class WorkerProcess(Child[Request, Reply]):
    """One worker. Starting returns at once; its first reply says whether it could load the model.

    Args:
        weights: The model's descriptor, open for reading; it stays the caller's.
        settings: Threads, context window, memory and confinement.

    Raises:
        WorkerDied: it ended at once.
    """

    def __init__(self, weights: int, settings: InferenceSettings) -> None:
        super().__init__(
            "agent.worker",
            Reply,  # type: ignore[arg-type]
            environment=_ENVIRONMENT,
            inherited=(weights,),
        )
        self._memory_limit_mb = settings.memory_limit_mb
        self._ended_because = ""
        self.send(
            Setup(
                model=weights,
                threads=settings.threads or usable_cores(),
                context=settings.context,
                gpu_layers=settings.gpu_layers,
                memory_free=free_memory(),
                memory_limit=settings.memory_limit_mb * 2**20,
                confine=settings.confinement == "required",
            )
        )

    def end(self, because: str) -> None:
        """End it from any thread; whoever waits for its next message learns why."""
        self._ended_because = because
        self.kill()

    def error(self, ending: Ending) -> WorkerDied:
        """What is raised when it has ended."""
        ending = ending._replace(last_words=_BUILD_PATH.sub("", ending.last_words))
        if self._memory_limit_mb and ending.signalled:
            # llama.cpp ends the process where it is refused memory.
            self._ended_because = self._ended_because or (
                f"it seems to have needed more than the {self._memory_limit_mb} MiB that "
                "inference.memory_limit_mb lets it take"
            )
        message = f"The inference worker ended unexpectedly ({ending})."
        if self._ended_because:
            message = f"The inference worker was ended: {self._ended_because}."
        return WorkerDied(message, hint="Nothing that was said is lost; ask again and it is started anew.")


def failure(failed: Failed) -> ModelError | Unconfined | WorkerError:
    """What a worker says of its failure, as the error that a person reads; sanitized."""
    message = sanitize(failed.message)
    match failed.kind:
        case "model":
            return ModelRefused(
                f"llama.cpp can't load this model: {message}.",
                hint="It may be damaged, or too new for this llama.cpp: get it again, or choose another.",
            )
        case "adapter":
            return AdapterRefused(
                f"The adapter can't be used with this model: {message}.",
                hint="`claw skill adapters rollback SKILL` goes back to the one before; `off` uses none.",
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
