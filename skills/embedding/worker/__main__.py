"""The embedder's process: confines itself, verifies and loads its files, and answers until nobody asks any more."""

import contextlib
import hashlib
import os
import queue
import resource
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from skills.embedding.head import Head
from skills.embedding.pins import DIMENSION, VOCABULARY, WEIGHTS, Pin
from skills.embedding.protocol import (
    PROTOCOL,
    Decide,
    Decided,
    Embed,
    Embedded,
    Failed,
    Learn,
    Learned,
    Progress,
    Ready,
    Reply,
    Request,
    Setup,
)
from skills.embedding.worker.bert import Bert
from skills.embedding.worker.learning import Material, OpenHead, learn
from skills.embedding.worker.weights import Unreadable, tensors
from skills.embedding.worker.wordpiece import WordPiece
from skills.sandbox.seccomp import confine_to_descriptors
from skills.sandbox.syscalls import Unsupported
from vault.frames import FrameReader, FrameWriter, own_pipes

_MEMORY = 2 << 30
_CHUNK = 256

Array = npt.NDArray[np.float32]


def main() -> None:
    """Serve the parent until it closes the pipe, or has asked for nothing for a while."""
    requests, replies = own_pipes()
    reader: FrameReader[Request] = FrameReader(requests, Request)  # type: ignore[arg-type]
    writer: FrameWriter[Reply] = FrameWriter(replies)
    setup = reader.read()
    if not isinstance(setup, Setup):
        return
    if setup.protocol != PROTOCOL:
        writer.write(Failed(0, "internal", "it comes from another version of this program; install it again"))
        return
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")  # should memory run out, it is this process that goes
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    started = time.perf_counter()
    try:
        confine_to_descriptors()
        service = Service(setup, writer.write)
    except Unsupported as error:
        writer.write(Failed(0, "confinement", str(error)))
    except Unreadable as error:
        writer.write(Failed(0, "files", str(error)))
    except MemoryError:
        writer.write(Failed(0, "memory", "the weights can't be loaded into it"))
    else:
        writer.write(Ready(time.perf_counter() - started))
        _serve(service, reader, writer, setup.idle_s)


def _serve(service: "Service", reader: FrameReader[Request], writer: FrameWriter[Reply], idle_s: float) -> None:
    inbox: queue.SimpleQueue[Request] = queue.SimpleQueue()

    def listen() -> None:
        while True:
            try:
                request = reader.read()
            except BaseException as error:  # noqa: BLE001  this thread's end alone would leave both sides waiting for ever
                os.write(2, type(error).__name__.encode())
                os._exit(1)
            if request is None:  # the parent is gone
                os._exit(0)
            inbox.put(request)

    threading.Thread(target=listen, name="requests", daemon=True).start()
    while True:
        try:
            request = inbox.get(timeout=idle_s)
        except queue.Empty:
            os._exit(0)
        if isinstance(request, Setup):
            return
        try:
            writer.write(service.answer(request))
        except MemoryError:
            writer.write(Failed(request.id, "memory", "so many texts can't be held in it"))


class Service:
    """The encoder, and the head that was last asked for.

    Args:
        setup: What to load.
        send: Tells the parent how far it is.

    Raises:
        Unreadable: a file isn't what it has to be.
    """

    def __init__(self, setup: Setup, send: Callable[[Reply], None]) -> None:
        self._words = WordPiece(_verified(setup.vocabulary, VOCABULARY))
        self._bert = Bert(tensors(_verified(setup.weights, WEIGHTS)), setup.threads)
        self._threads = setup.threads
        self._send = send
        self._head: OpenHead | None = None

    def answer(self, request: Embed | Learn | Decide) -> Reply:
        """Do what is asked."""
        match request:
            case Embed(id=number, texts=texts):
                vectors = self._embed(texts, partial(self._tell, number))
                return Embedded(number, np.ascontiguousarray(vectors, "<f4").tobytes())
            case Decide(id=number, text=text, head=head, most=most):
                if head is not None:
                    self._head = OpenHead(head)
                if self._head is None:
                    return Failed(number, "internal", "it was given nothing to decide by")
                vector = self._bert.embed([self._words.encode(text)])[0]
                return Decided(number, self._head.decide(vector, most))
            case Learn(id=number):
                return Learned(number, self._learn(request))

    def _learn(self, request: Learn) -> Head:
        texts = [text for subject in request.subjects for text in (*subject.descriptions, *subject.examples)]
        vectors = self._embed([*texts, *request.outside], partial(self._tell, request.id))
        materials = []
        start = 0
        for subject in request.subjects:
            middle = start + len(subject.descriptions)
            end = middle + len(subject.examples)
            materials.append(Material(subject.label, vectors[start:middle], vectors[middle:end]))
            start = end
        return learn(materials, vectors[start:], train=request.train, side_by_side=self._side_by_side)

    def _embed(self, texts: Sequence[str], tell: Callable[[int, int], None]) -> Array:
        """`(len(texts), DIMENSION)`. Texts of like length go together, so that few batches are small."""
        vectors = np.empty((len(texts), DIMENSION), np.float32)
        tokens = [self._words.encode(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda place: len(tokens[place]))
        for start in range(0, len(order), _CHUNK):
            places = order[start : start + _CHUNK]
            vectors[places] = self._bert.embed([tokens[place] for place in places])
            tell(start + len(places), len(texts))
        return vectors

    def _tell(self, number: int, done: int, total: int) -> None:
        self._send(Progress(number, done, total))

    def _side_by_side(self, work: Callable[[int], None], numbers: range) -> None:
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(work, numbers))


def _verified(descriptor: int, pin: Pin) -> bytes:
    """A file's bytes, read once: what was verified is what is used."""
    parts = []
    missing = pin.bytes + 1
    while missing and (part := os.read(descriptor, min(missing, 1 << 24))):
        parts.append(part)
        missing -= len(part)
    os.close(descriptor)
    data = b"".join(parts)
    if hashlib.sha256(data).hexdigest() != pin.sha256:
        raise Unreadable(f"{os.path.basename(pin.path)} isn't the file that was pinned")
    return data


if __name__ == "__main__":
    main()
