"""One request to one destination while it is under way: what of it has passed, and what must not pass any more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from vault.egress.client import head_bytes
from vault.egress.journal import Outcome
from vault.egress.stop import Stop
from vault.log.entries import Status

if TYPE_CHECKING:
    import httpx

__all__ = ["Crossing"]


class Crossing:
    """Follows a request by the steps that the client tells of (the `trace` extension of httpx).

    Args:
        stop: Looked at before the first byte, when the connection stands.
        body: Bytes of the request's body.
        timeout_s: For a SOCKS proxy's part of the connection, to which the client gives no limit.

    Attributes:
        sent: Bytes that have left, a proxy's share included.
        response: What came back, once its head is there.
    """

    def __init__(self, stop: Stop, body: int, timeout_s: float) -> None:
        self._stop = stop
        self._body = body
        self._timeout_s = timeout_s
        self._limit = asyncio.timeout(None)
        self._stream: Any = None
        self.sent = 0
        self.response: httpx.Response | None = None

    @contextlib.asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """While the client sends, and waits for the head of the response.

        Raises:
            TimeoutError: the SOCKS proxy didn't answer.
        """
        async with self._limit:
            yield

    async def step(self, name: str, info: Any) -> None:  # noqa: ANN401  httpcore's own, of every kind
        """A step that the client takes.

        Raises:
            Paused, Locked: everything is paused, or the vault was locked; nothing was sent to the destination.
        """
        match name.rpartition(".")[0].rpartition(".")[2], name.rpartition(".")[2]:
            case "send_request_headers", "started":
                self._stop.check()
                sending = info["request"]  # an http proxy is sent a CONNECT first
                self.sent += head_bytes(sending.method, sending.url.target, sending.headers)
            case "send_request_body", "started" if info["request"].method != b"CONNECT":
                self.sent += self._body
            case "connect_tcp", "complete":
                self._stream = info["return_value"]
            case "setup_socks5_connection", "started":
                self._limit.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
            case "setup_socks5_connection", "complete":
                self._limit.reschedule(None)
            case "setup_socks5_connection" | "start_tls", "failed" if self._stream:
                await self._stream.aclose()  # which the client forgets when it is cancelled

    @property
    def outcome(self) -> Outcome:
        """What became of it."""
        if self.response is None:
            status = Status.SENT if self.sent else Status.REFUSED
            return Outcome(status, self.sent, 0, "no answer" if self.sent else "no connection")
        response = self.response
        line = f"{response.http_version} {response.status_code} {response.reason_phrase}\r\n\r\n"
        head = len(line) + sum(len(name) + len(value) + 4 for name, value in response.headers.raw)
        received = head + response.num_bytes_downloaded
        return Outcome(Status.ACKNOWLEDGED, self.sent, received, f"HTTP {response.status_code}")
