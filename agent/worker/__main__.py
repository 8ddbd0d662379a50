"""The worker's process: reads requests in one thread, works in the other, and ends with its parent."""

import os
import queue
import resource
import threading
from typing import TYPE_CHECKING

from agent.worker.protocol import Cancel, Failed, Generate, Reply, Request, Setup
from vault.frames import FrameReader, FrameWriter

if TYPE_CHECKING:
    from agent.worker.engine import Engine


def main() -> None:
    """Serve the parent until it closes the pipe."""
    # The pipes move away from 0 and 1, so that nothing a library prints can end up between two frames.
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    reader: FrameReader[Request] = FrameReader(requests, Request)  # type: ignore[arg-type]
    writer: FrameWriter[Reply] = FrameWriter(replies)
    setup = reader.read()
    if isinstance(setup, Setup):
        _serve(setup, reader, writer)


def _serve(setup: Setup, reader: FrameReader[Request], writer: FrameWriter[Reply]) -> None:
    from agent.worker.engine import Engine, LoadFailed, OutOfMemory

    if setup.memory_limit:
        resource.setrlimit(resource.RLIMIT_DATA, (setup.memory_limit, setup.memory_limit))
    confinement = "none"
    try:
        confinement = _confine()
    except OSError as error:
        if setup.confine:
            writer.write(Failed(0, "confinement", str(error)))
            return
    try:
        engine = Engine(setup, confinement)
    except LoadFailed as error:
        writer.write(Failed(0, "model", str(error)))
        return
    except (OutOfMemory, MemoryError) as error:
        writer.write(Failed(0, "memory", str(error)))
        return
    writer.write(engine.ready)
    inbox: queue.SimpleQueue[Generate] = queue.SimpleQueue()
    cancelled: set[int] = set()
    current = [0]

    def listen() -> None:
        while True:
            message = reader.read()
            if isinstance(message, Generate):
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
        engine.stop_flag[0] = b"\0"
        current[0] = request.id
        if request.id in cancelled:
            engine.stop_flag[0] = b"\1"
        _answer(engine, request, writer)
        current[0] = 0
        cancelled.discard(request.id)


def _answer(engine: "Engine", request: Generate, writer: FrameWriter[Reply]) -> None:
    from agent.worker.engine import OutOfMemory
    from agent.worker.sampling import SchemaFailed
    from agent.worker.template import TemplateFailed

    try:
        engine.generate(request, writer.write)
    except TemplateFailed as error:
        writer.write(Failed(request.id, "template", str(error)))
    except SchemaFailed as error:
        writer.write(Failed(request.id, "schema", str(error)))
    except (OutOfMemory, MemoryError) as error:
        writer.write(Failed(request.id, "memory", str(error)))


def _confine() -> str:
    """Give up files, network and processes, before one byte of the model is read."""
    import importlib

    # Whatever is imported or looked up later can't be found any more.
    for name in ("llama_cpp.llama_grammar", "jinja2.debug", "agent.worker.engine"):
        importlib.import_module(name)
    from agent.worker.template import rehearse

    rehearse()
    from skills.sandbox import confine_to_descriptors

    confine_to_descriptors()
    return "seccomp"


if __name__ == "__main__":
    main()
