"""The worker's process: reads requests in one thread, works in the other, and ends with its parent."""

import contextlib
import importlib
import os
import queue
import resource
import threading
import time
from typing import TYPE_CHECKING

from agent.worker.protocol import (
    PROTOCOL,
    Adapt,
    Adapted,
    Cancel,
    Count,
    Counted,
    Encode,
    Encoded,
    Failed,
    Generate,
    Reply,
    Request,
    Setup,
)
from vault.frames import FrameReader, FrameWriter, own_pipes

if TYPE_CHECKING:
    from agent.worker.engine import Engine


def main() -> None:
    """Serve the parent until it closes the pipe."""
    requests, replies = own_pipes()
    reader: FrameReader[Request] = FrameReader(requests, Request)  # type: ignore[arg-type]
    writer: FrameWriter[Reply] = FrameWriter(replies)
    setup = reader.read()
    if not isinstance(setup, Setup):
        return
    if setup.protocol != PROTOCOL:
        writer.write(Failed(0, "internal", "it comes from another version of this program; install it again"))
        return
    _go_first()
    _serve(setup, reader, writer)


def _serve(setup: Setup, reader: FrameReader[Request], writer: FrameWriter[Reply]) -> None:
    from agent.worker.engine import WORKING_MEMORY, Engine, LoadFailed, OutOfMemory
    from skills.sandbox import Unsupported

    if setup.memory_limit:
        if setup.memory_limit < WORKING_MEMORY:
            wanted, given = WORKING_MEMORY // 2**20, setup.memory_limit // 2**20
            writer.write(Failed(0, "memory", f"a worker takes {wanted} MiB beside the model, and may take {given}"))
            return
        resource.setrlimit(resource.RLIMIT_DATA, (setup.memory_limit, setup.memory_limit))
    from agent.worker.binding import llama

    # A GPU's driver opens devices and libraries of its own while a model is loaded and first used.
    gpu = setup.gpu_layers != 0 and bool(llama.llama_supports_gpu_offload())
    try:
        if setup.confine and not gpu:
            _confine()
        engine = Engine(setup, gpu)
        if setup.confine and gpu:
            engine.warm_up()
            _confine(devices=True)
    except Unsupported as error:
        writer.write(Failed(0, "confinement", str(error)))
        return
    except LoadFailed as error:
        writer.write(Failed(0, "model", str(error)))
        return
    except (OutOfMemory, MemoryError) as error:
        writer.write(Failed(0, "memory", str(error) or "the model can't be loaded into it"))
        return
    writer.write(engine.ready("seccomp" if setup.confine else "none"))
    inbox: queue.SimpleQueue[Generate | Count | Adapt | Encode] = queue.SimpleQueue()
    cancelled: set[int] = set()
    current = [0]

    def listen() -> None:
        while True:
            try:
                message = reader.read()
            except BaseException as error:  # noqa: BLE001  this thread's end alone would leave both sides waiting for ever
                os.write(2, type(error).__name__.encode())
                os._exit(1)
            if isinstance(message, Generate | Count | Adapt | Encode):
                inbox.put(message)
            elif isinstance(message, Cancel):
                cancelled.add(message.id)
                if current[0] == message.id:
                    engine.stop_flag[0] = b"\1"
            else:  # the parent is gone, or doesn't keep to the protocol
                os._exit(0)

    threading.Thread(target=listen, name="requests", daemon=True).start()
    while True:
        request = inbox.get()
        if isinstance(request, Count):
            writer.write(Counted(request.id, engine.count(request.text)))
            continue
        if isinstance(request, Encode):
            _encode(engine, request, writer)
            continue
        engine.stop_flag[0] = b"\0"
        if isinstance(request, Adapt):
            _adapt(engine, request, writer)
            continue
        current[0] = request.id
        if request.id in cancelled:
            engine.stop_flag[0] = b"\1"
        _answer(engine, request, writer)
        current[0] = 0
        cancelled.discard(request.id)


def _answer(engine: "Engine", request: Generate, writer: FrameWriter[Reply]) -> None:
    from agent.worker.engine import OutOfMemory
    from agent.worker.grammar import SchemaFailed
    from agent.worker.lora import AdapterFailed
    from agent.worker.template import TemplateFailed

    try:
        engine.generate(request, writer.write)
    except TemplateFailed as error:
        writer.write(Failed(request.id, "template", str(error)))
    except SchemaFailed as error:
        writer.write(Failed(request.id, "schema", str(error)))
    except AdapterFailed as error:
        writer.write(Failed(request.id, "adapter", str(error)))
    except (OutOfMemory, MemoryError) as error:
        writer.write(Failed(request.id, "memory", str(error) or "the prompt can't be held in it"))


def _encode(engine: "Engine", request: Encode, writer: FrameWriter[Reply]) -> None:
    from agent.worker.template import TemplateFailed

    try:
        writer.write(Encoded(request.id, *engine.encode(request.messages, request.reply)))
    except TemplateFailed as error:
        writer.write(Failed(request.id, "template", str(error)))


def _adapt(engine: "Engine", request: Adapt, writer: FrameWriter[Reply]) -> None:
    from agent.worker.lora import AdapterFailed

    started = time.perf_counter()
    try:
        engine.adapt(request.content)
    except AdapterFailed as error:
        writer.write(Failed(request.id, "adapter", str(error)))
    except MemoryError:
        writer.write(Failed(request.id, "memory", "the adapter can't be held in it"))
    else:
        writer.write(Adapted(request.id, time.perf_counter() - started))


def _go_first() -> None:
    """Should the machine run out of memory, it is this process that goes, not one of the person's."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _confine(*, devices: bool = False) -> None:
    """Give up files, network and processes: without a GPU, before one byte of the model is read."""
    # Whatever is imported or looked up later can't be found any more.
    for name in ("llama_cpp.llama_grammar", "jinja2.debug"):
        importlib.import_module(name)
    from agent.worker.template import rehearse
    from skills.sandbox import confine_to_descriptors

    rehearse()
    confine_to_descriptors(devices=devices)


if __name__ == "__main__":
    main()
