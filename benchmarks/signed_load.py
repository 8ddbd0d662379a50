"""Load on an orchestrator: requests that were signed before, sent over TLS connections that are kept open.

Server and client share the machine's cores, so that the client does as little as it can: no HTTP library, and
nothing is signed while it is measured.
"""

import asyncio
import ssl
import time
from collections import Counter
from typing import NamedTuple

__all__ = ["Load", "Served", "http_request"]


class Served(NamedTuple):
    """What came of some load.

    Attributes:
        statuses: How often each HTTP status was answered.
        seconds: From the first request to the last answer.
        latencies: Of each request, in seconds.
    """

    statuses: "Counter[int]"
    seconds: float
    latencies: list[float]

    @property
    def a_second(self) -> float:
        """Requests that were answered a second."""
        return sum(self.statuses.values()) / self.seconds


def http_request(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request as it goes over a connection that is kept open."""
    lines = [f"{method} {target} HTTP/1.1", "host: orchestrator", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Load:
    """Some connections to one address.

    Args:
        host: Where to.
        port: Where to.
        trusted: The server's certificate, in a file.
    """

    def __init__(self, host: str, port: int, trusted: str) -> None:
        self._address = host, port
        self._context = ssl.create_default_context(cafile=trusted)

    async def send(self, of_each: list[list[bytes]]) -> Served:
        """Send requests, one behind the other on each connection.

        Args:
            of_each: The requests of each connection.
        """
        connections = await asyncio.gather(*(self._connect() for _ in of_each))
        statuses, latencies = Counter[int](), list[float]()
        begun = time.perf_counter()
        await asyncio.gather(
            *(
                _one_by_one(*connection, requests, statuses, latencies)
                for connection, requests in zip(connections, of_each, strict=True)
            )
        )
        seconds = time.perf_counter() - begun
        for _, writer in connections:
            writer.close()
        return Served(statuses, seconds, latencies)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._address, ssl=self._context)


async def _one_by_one(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    requests: list[bytes],
    statuses: "Counter[int]",
    latencies: list[float],
) -> None:
    for request in requests:
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        at = head.find(b"content-length: ") + 16
        length = int(head[at : head.index(b"\r", at)]) if at > 15 else 0
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - begun)
        statuses[int(head[9:12])] += 1
