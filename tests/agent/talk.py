"""Asking a worker from a test, and waiting for what it does."""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from agent.adapters import Adapter
from agent.inference import Event, Inference
from agent.worker.protocol import ChatMessage, Delta, Finished, Sampling
from vault.classes import HighlySensitive
from vault.settings import InferenceSettings

GREEDY = Sampling(
    temperature=0, top_k=0, top_p=1, min_p=0, repeat_penalty=1, repeat_last_n=0, seed=0, max_tokens=16
)
"""The likeliest token every time, sixteen times."""

ENDLESS = msgspec.structs.replace(GREEDY, temperature=1.0, max_tokens=0)
"""As long a reply as fits."""

QUESTION = ChatMessage("user", "Name three colours of the rainbow.")

LONG = ChatMessage("user", "The fox went to the river and drank. " * 400)
"""More than two thousand tokens: seconds of evaluation."""


def counting(turns: int) -> list[ChatMessage]:
    """A conversation whose next reply is beyond doubt, however the rounding of the arithmetic falls."""
    lines = [" ".join(str(number) for number in range(start, start + 8)) for start in range(1, 16 * turns, 8)]
    return [ChatMessage("assistant" if index % 2 else "user", line) for index, line in enumerate(lines)][:-1]


class Answer(NamedTuple):
    """A whole reply."""

    text: str
    end: Finished
    events: list[Event]


class Weights:
    """An open model file."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def worker(path: Path, settings: InferenceSettings | None = None) -> Iterator[Inference]:
    """A worker of its own for a model file, with one thread: several wait for each other on cores that are busy."""
    weights = Weights(path)
    try:
        with Inference(weights, msgspec.structs.replace(settings or InferenceSettings(), threads=1)) as inference:
            yield inference
    finally:
        os.close(weights.descriptor)


def ask(
    inference: Inference,
    *messages: ChatMessage,
    sampling: Sampling = GREEDY,
    reserve: int = 32,
    schema: str | None = None,
    adapter: Adapter | None = None,
) -> Answer:
    """Ask, and wait for the end of the reply."""
    return answer(list(inference.generate(messages, sampling, reserve=reserve, schema=schema, adapter=adapter)))


def answer(events: list[Event]) -> Answer:
    """What a reply's events amount to."""
    end = events[-1]
    assert isinstance(end, Finished)
    return Answer("".join(event.text for event in events if isinstance(event, Delta)), end, events)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; a minute without it is a failure."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "what was waited for didn't happen within a minute"
        time.sleep(0.002)


def pid_of(inference: Inference) -> int:
    """Process id of a worker that has loaded its model."""
    inference.ready()
    process_id = inference.process_id
    assert process_id is not None
    return process_id


def busy(process_id: int, seconds: float) -> Callable[[], bool]:
    """Whether a process has computed for so many seconds since now."""
    process = psutil.Process(process_id)
    before = sum(process.cpu_times()[:2])
    return lambda: sum(process.cpu_times()[:2]) - before >= seconds


def when(condition: Callable[[], bool], action: Callable[[], object]) -> threading.Thread:
    """Do something from another thread as soon as a condition holds."""

    def wait_and_act() -> None:
        wait_until(condition)
        action()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def adapter(content: bytes) -> Adapter:
    """An adapter as a question is asked with it."""
    return Adapter(hashlib.sha256(content).hexdigest(), lambda: HighlySensitive(content))
