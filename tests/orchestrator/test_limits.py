"""Whoever asks too often, sends too much or too slowly, or says nothing, costs the orchestrator little."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from federation.requests import sign_request
from orchestrator import connections
from orchestrator.bodies import SMALL, Bodies
from orchestrator.connections import Connection
from orchestrator.errors import TooLong, TooMuch, TooSlow
from orchestrator.unsigned import Unsigned
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.here import Here
from tests.orchestrator.replicas import free_port

TASK = task_of(20)
CHECK_IN = f"/v1/tasks/{TASK.name}/check-ins"


def test_who_does_not_sign_is_answered_so_often_a_minute_and_devices_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        here = Here(tmp_path)
        async with here.running() as http:
            await here.open(TASK)
            device = Device(http, lambda _round: np.zeros(40))
            await device.join(await here.invite(), TASK.name)
            here.unsigned.limit(of_address=3, of_all=1_000)
            got = [await http.get("/v1/tasks") for _ in range(5)]
            assert [one.status_code for one in got] == [200, 200, 200, 429, 429]
            assert got[-1].headers["retry-after"]
            stranger = Device(http, lambda _round: np.zeros(40))
            forged = sign_request(stranger.identity, "POST", CHECK_IN, b"", 1, time.time(), os.urandom)
            forged["Signature"] = "claw=:" + "A" * 86 + "==:"
            assert (await http.post(CHECK_IN, headers=forged)).status_code == 429
            assert (await device.signed("POST", CHECK_IN)).status_code == 200
            assert (await http.get("/v1/health")).status_code == 204
            assert b"claw_requests_total" in (await http.get("/metrics")).content

    asyncio.run(story())


def test_an_address_s_limit_is_its_own_and_the_limit_of_all_is_everybody_s() -> None:
    now = [0.0]
    unsigned = Unsigned(2, 5, now=lambda: now[0])
    for host in ("10.0.0.1", "10.0.0.2", "2001:db8::1"):
        unsigned.count(host)
    unsigned.count("10.0.0.1")
    with pytest.raises(TooMuch):
        unsigned.count("10.0.0.1")
    unsigned.count("2001:db8::ffff")  # of the same network as before
    with pytest.raises(TooMuch):
        unsigned.count("2001:db8::2")
    with pytest.raises(TooMuch):
        unsigned.count("10.0.0.3")  # five in all
    now[0] += 30
    unsigned.count("10.0.0.1")  # half a minute earns one of two


def test_no_limit_of_an_address_is_none() -> None:
    unsigned = Unsigned(0, 1_000, now=lambda: 0.0)
    for _ in range(1_000):
        unsigned.count("10.0.0.1")
    with pytest.raises(TooMuch):
        unsigned.count("10.0.0.2")


def request_of(parts: list[bytes], said: int | None = None, *, waits: asyncio.Event | None = None) -> Request:
    """A request whose body comes in some parts; the last one once somebody says so."""
    left = list(parts)

    async def receive() -> Message:
        if len(left) == 1 and waits:
            await waits.wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    length = sum(map(len, parts)) if said is None else said
    return Request({"type": "http", "headers": [(b"content-length", str(length).encode())]}, receive)


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def story() -> None:
        bodies = Bodies(within_s=0.05)
        with pytest.raises(TooSlow):
            async with bodies.read(request_of([b"a", b"b"], waits=asyncio.Event()), 100):
                pass
        with pytest.raises(TooLong):
            async with bodies.read(request_of([b"a" * 101]), 100):
                pass
        with pytest.raises(TooLong):  # it said that it was shorter
            async with bodies.read(request_of([b"a" * 60, b"b" * 60], said=10), 100):
                pass
        async with bodies.read(request_of([b"a" * 60, b"b" * 40]), 100) as body:
            assert len(body) == 100

    asyncio.run(story())


def test_long_bodies_wait_for_room_and_short_ones_do_not() -> None:
    async def story() -> None:
        bodies, long, held = Bodies(room=3 * SMALL), bytes(2 * SMALL), asyncio.Event()
        read = list[str]()

        async def one(name: str, request: Request) -> None:
            async with bodies.read(request, 10 * SMALL) as body:
                read.append(f"{name}: {len(body)}")

        first = asyncio.create_task(one("first", request_of([long[:-1], b"x"], waits=held)))
        await asyncio.sleep(0)
        second = asyncio.create_task(one("second", request_of([long])))
        await one("short", request_of([b"x"]))
        assert read == ["short: 1"]
        held.set()
        await asyncio.gather(first, second)
        assert read[1:] == [f"first: {2 * SMALL}", f"second: {2 * SMALL}"]
        with pytest.raises(TooSlow):
            async with Bodies(room=SMALL, within_s=0.05).read(
                request_of([long, b"x"], waits=asyncio.Event()), 10 * SMALL
            ):
                pass

    asyncio.run(story())


@contextlib.asynccontextmanager
async def served(answer: bytes, connections_at_most: int = 100) -> AsyncIterator[int]:
    """A server with our connections that gives every request the same answer; its port."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            limit_concurrency=connections_at_most,
            timeout_keep_alive=1,
        )
    )
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield port
    finally:
        server.should_exit = True
        await serving


async def until(done: Callable[[], bool], within_s: float = 20) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(within_s):
        while not done():
            await asyncio.sleep(0.01)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes the connection."""
    async with asyncio.timeout(20):
        try:
            return await reader.read(-1)
        except ConnectionError:
            return b""


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed in the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The head of an answer."""
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    return await reader.readuntil(b"\r\n\r\n")


def test_who_says_nothing_or_a_head_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_HEAD_S", 0.3)

    async def story() -> None:
        async with served(b"there") as port:
            async with connected(port) as (silent, _):
                assert await ended(silent) == b""
            async with connected(port) as (dribbling, writer):
                for part in (b"GET / HTTP/1.1\r\n", b"a: b\r\n"):
                    writer.write(part)
                assert await ended(dribbling) == b""
            async with connected(port) as (large, writer):
                writer.write(b"GET / HTTP/1.1\r\n")
                with contextlib.suppress(ConnectionError):
                    for _ in range(200):
                        writer.write(b"a: " + b"b" * 1000 + b"\r\n")
                        await writer.drain()
                assert await ended(large) == b""
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                assert (await http.get("/")).content == b"there"

    asyncio.run(story())


def test_more_connections_than_allowed_are_closed_and_others_go_on() -> None:
    async def story() -> None:
        async with served(b"", connections_at_most=4) as port, contextlib.AsyncExitStack() as stack:
            for _ in range(2):
                kept = await stack.enter_async_context(connected(port))
                assert (await asked(*kept)).startswith(b"HTTP/1.1 200")
            async with connected(port) as last:
                assert (await asked(*last)).startswith(b"HTTP/1.1 200")
                async with connected(port) as (too_many, _):
                    assert await ended(too_many) == b""
            async with connected(port) as again:
                assert (await asked(*again)).startswith(b"HTTP/1.1 200")

    asyncio.run(story())


def test_who_reads_an_answer_slowly_gets_all_of_it() -> None:
    """And may go on: uvicorn alone ends a connection so long after it wrote an answer, read or not."""

    async def story() -> None:
        answer = os.urandom(1 << 20) * 32
        async with served(answer) as port, connected(port) as (reader, writer):
            await asked(reader, writer)
            got, begun = b"", time.monotonic()
            while len(got) < len(answer):
                got += await reader.readexactly(min(1 << 20, len(answer) - len(got)))
                if time.monotonic() - begun < 3:
                    await asyncio.sleep(0.5)
            assert got == answer
            assert (await asked(reader, writer)).startswith(b"HTTP/1.1 200")

    asyncio.run(story())


def test_a_stranger_s_long_body_is_not_read(tmp_path: Path) -> None:
    async def story() -> None:
        here = Here(tmp_path)
        async with here.running() as http:
            task = task_of(20, parameters=4_000)
            await here.open(task)
            read = list[bytes]()

            async def body() -> AsyncIterator[bytes]:
                read.append(b"")
                yield bytes(8_000)

            target = f"/v1/tasks/{task.name}/rounds/1/mask"
            headers = sign_request(
                Ed25519PrivateKey.generate(), "PUT", target, bytes(8_000), 1, time.time(), os.urandom
            )
            got = await http.put(target, content=body(), headers={**headers, "content-length": "8000"})
            assert (got.status_code, "isn't admitted" in got.text, read) == (403, True, [])

    asyncio.run(story())
