"""Somebody who has the orchestrator's machine: its disk, its memory, and every message in the clear."""

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx

__all__ = ["Observer"]


class Observer(httpx.AsyncBaseTransport):
    """Hears what devices and an orchestrator say to each other, and looks at its machine at each step.

    It stands where TLS ends, which is what somebody with the server's keys is.

    Args:
        transport: Carries requests on.
        pid: Of the orchestrator's process.
        folder: Its folder.

    Attributes:
        said: Every message of a device: the address and the body.
        told: Every answer: the address and the body.
        on_disk, in_memory: Pages that were there at some step, each once.
        steps: At which it looked.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, pid: int, folder: Path) -> None:
        self._transport = transport
        self._pid = pid
        self._folder = folder
        self.said: list[tuple[str, bytes]] = []
        self.told: list[tuple[str, bytes]] = []
        self.on_disk: set[bytes] = set()
        self.in_memory: set[bytes] = set()
        self.steps: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request on."""
        body = await request.aread()
        step = request.url.path.rsplit("/", 1)[-1]
        if request.method == "PUT":
            self.said.append((request.url.path, body))
            if step not in self.steps:
                self.look(step)
        response = await self._transport.handle_async_request(request)
        self.told.append((request.url.path, await response.aread()))
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    def look(self, step: str) -> None:
        """Take everything that is on the disk and in the process's memory at this moment."""
        self.steps.add(step)
        os.kill(self._pid, signal.SIGSTOP)
        try:
            for path in self._folder.rglob("*"):
                if path.is_file():
                    self.on_disk.update(_pages(path.read_bytes()))
            self.in_memory.update(_memory(self._pid))
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def has(self, secrets: Iterable[bytes]) -> Iterator[bytes]:
        """Those of some byte strings that were anywhere, at any step."""
        messages = [body for _, body in (*self.said, *self.told)]
        for secret in secrets:
            places = (messages, self.on_disk, self.in_memory)
            if any(secret in one for place in places for one in place):
                yield secret


_PAGE = 1 << 16
_OVERLAP = 64
"""What lies over the end of one page is whole in the next."""


def _pages(data: bytes) -> Iterator[bytes]:
    for begin in range(0, len(data), _PAGE):
        yield data[max(0, begin - _OVERLAP) : begin + _PAGE]


def _memory(pid: int) -> Iterator[bytes]:
    """What a process can write to, and so what it may have kept something in."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            begin, end = (int(part, 16) for part in where.split("-"))
            for at in range(begin, end, _PAGE):
                memory.seek(at)
                try:
                    page = memory.read(min(_PAGE + _OVERLAP, end - at))
                except OSError:
                    continue  # nothing is behind it
                if page.strip(b"\0"):
                    yield page
