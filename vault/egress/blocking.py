"""The door for callers that wait: the same one, run to its end in an event loop of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal

from vault.egress.door import AsyncEgress
from vault.egress.journal import Journal
from vault.egress.request import Reply, Request
from vault.pause import PauseLatch
from vault.settings import NetworkSettings
from vault.transfer import Answer, Transfer

__all__ = ["Egress"]


class Egress:
    """The door. It holds connections: close it, or use it in a `with` block, outside any running event loop.

    Args and errors are those of `AsyncEgress`, and so are those of its methods.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        journal: Journal,
        latch: PauseLatch,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._door = AsyncEgress(settings, journal, latch, pause=pause)
        self._runner = asyncio.Runner()

    def describe(self, request: Request) -> Answer:
        """Ask what a GET would find (HEAD); see `AsyncEgress.describe`."""
        return self._runner.run(self._door.describe(request))

    def send(
        self,
        request: Request,
        body: bytes,
        *,
        most: int,
        method: Literal["POST", "PUT"] = "POST",
        content_type: str = "application/octet-stream",
    ) -> Reply:
        """Send a body, once; see `AsyncEgress.send`."""
        return self._runner.run(self._door.send(request, body, most=most, method=method, content_type=content_type))

    def fetch(self, request: Request, *, most: int) -> Reply:
        """Get a whole, bounded response; see `AsyncEgress.fetch`."""
        return self._runner.run(self._door.fetch(request, most=most))

    def download(self, request: Request, transfer: Transfer) -> None:
        """Fetch a file; see `AsyncEgress.download`."""
        self._runner.run(self._door.download(request, transfer))

    def close(self) -> None:
        """Close the connections."""
        try:
            self._runner.run(self._door.aclose())
        finally:
            self._runner.close()

    def __enter__(self) -> "Egress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
