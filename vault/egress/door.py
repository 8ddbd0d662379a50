"""The door itself: one request at a time past our rules, what stops it, the budget and the log."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from vault.egress.client import (
    answer_of,
    authorization,
    destination,
    head_bytes,
    host_of,
    open_client,
    origin_of,
    redirected_to,
    shown,
    translated,
)
from vault.egress.crossing import Crossing
from vault.egress.journal import Departure, Journal
from vault.egress.request import Reply, Request, admit
from vault.egress.stop import Stop
from vault.errors import EgressError, EgressRefused, Locked, Paused, VerificationFailed
from vault.pause import PauseLatch
from vault.pinning import Pin
from vault.settings import NetworkSettings
from vault.transfer import Answer, Broken, Transfer

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncEgress"]

_MAX_HOPS = 5
_TRIES_WITHOUT_PROGRESS = 5
_FIRST_WAIT_S = 0.25
_LOOK_EVERY_S = 0.25


class AsyncEgress:
    """The door, for asynchronous callers. It holds connections: close it, or use it in an `async with` block.

    Committing to the log, and looking for a pause, block the event loop for a few milliseconds each. When the vault
    of the journal is locked, what is under way ends within a second, too, and its end is still logged.

    Args:
        settings: How to reach the network.
        journal: Takes down what passes, before it does.
        latch: Stops everything while it is engaged, within a second, also what is under way.
        pause: Waits that many seconds before a broken transfer is tried again.

    Raises:
        SettingsError: a network setting can't be used.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        journal: Journal,
        latch: PauseLatch,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._stop = Stop(latch, journal.closing)
        self._pause = pause
        self._clients: dict[tuple[Pin, ...], httpx.AsyncClient] = {(): open_client(settings)}

    async def describe(self, request: Request) -> Answer:
        """Ask what a GET would find (HEAD). Redirects are reported, not followed.

        Raises:
            EgressRefused: the door's rules forbid the request.
            EgressError: the destination can't be reached, or isn't who it says.
            Paused, Locked: everything is paused, or the vault was locked.
        """
        async with self._unless_stopped(), self._exchange("HEAD", request) as response:
            return answer_of(response)

    async def send(
        self,
        request: Request,
        body: bytes,
        *,
        most: int,
        method: Literal["POST", "PUT"] = "POST",
        content_type: str = "application/octet-stream",
    ) -> Reply:
        """Send a body, once; what comes back is bounded. Redirects are reported, not followed.

        Args:
            request: To whom, and what for.
            body: What is sent.
            most: Bytes of the response's body that are accepted.
            method: POST or PUT.
            content_type: Of the body.

        Raises:
            EgressRefused: the door's rules forbid the request.
            VerificationFailed: more came back than is accepted, or the destination isn't the pinned one.
            EgressError: the destination can't be reached, or isn't who it says. It may have the body all the same.
            Paused, Locked: everything is paused, or the vault was locked.
        """
        headers = {"Content-Type": content_type}
        async with (
            self._unless_stopped(),
            self._exchange(method, request, headers=headers, body=body) as response,
        ):
            return await self._whole(response, most)

    async def fetch(self, request: Request, *, most: int) -> Reply:
        """Get a whole response, which is bounded. Redirects are reported, not followed.

        Args:
            request: From whom, and what for.
            most: Bytes of the response's body that are accepted.

        Raises:
            EgressRefused, VerificationFailed, EgressError, Paused, Locked: as in `send`.
        """
        async with self._unless_stopped(), self._exchange("GET", request) as response:
            return await self._whole(response, most)

    async def _whole(self, response: "httpx.Response", most: int) -> Reply:
        answer = answer_of(response)
        too_much = VerificationFailed(f"{answer.host} answers with more than the {most:,} bytes accepted.")
        if (answer.size or 0) > most:
            raise too_much
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise EgressError(f"{answer.host} answers in another encoding than was asked for.")
        received = bytearray()
        async for chunk in response.aiter_raw():
            self._stop.check()
            received += chunk
            if len(received) > most:
                raise too_much
        return Reply(answer, bytes(received))

    async def download(self, request: Request, transfer: Transfer) -> None:
        """Fetch a file, going on where an earlier try ended, until all of it is there.

        A broken connection is tried again, ever later, until five tries in a row brought nothing new. Whatever
        ends this call, the file is a prefix of what was served, so that a later call can go on.

        Raises:
            EgressRefused: the door's rules forbid the request.
            VerificationFailed: the server's size isn't the promised one, or it sends more.
            DiskFull: there is no room for the next bytes.
            EgressError: the destination can't be reached, refuses, or kept breaking off.
            Paused, Locked: everything is paused, or the vault was locked.
        """
        failures = 0
        async with self._unless_stopped():
            while not transfer.complete:
                reached = transfer.furthest
                try:
                    await self._attempt(request, transfer)
                except Broken as error:
                    failures = 0 if transfer.furthest > reached else failures + 1
                    if failures >= _TRIES_WITHOUT_PROGRESS:
                        raise EgressError(error.message, hint=error.hint) from error
                    await self._pause(_FIRST_WAIT_S * 2**failures)

    async def _attempt(self, request: Request, transfer: Transfer) -> None:
        headers = transfer.headers()
        async with self._exchange("GET", request, headers=headers, follow=request.redirects) as response:
            if transfer.begin(answer_of(response)):
                # As they arrive: gathered into larger chunks, the last ones would be lost with the connection.
                async for chunk in response.aiter_raw():
                    self._stop.check()
                    transfer.write(chunk)
                transfer.end()

    @contextlib.asynccontextmanager
    async def _exchange(
        self,
        method: str,
        request: Request,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        follow: bool = False,
    ) -> "AsyncIterator[httpx.Response]":
        """Send a request and give the response with its body unread; errors of reading it become ours too."""
        url = destination(request.url)
        own = {**request.signature, **(headers or {})}
        sent = {**own, **authorization(request.token)}
        origin = origin_of(url)
        for _ in range(_MAX_HOPS + 1):
            async with self._crossing(method, request, url, sent, body) as response:
                if not (follow and response.has_redirect_location):
                    yield response
                    return
                url = destination(redirected_to(response))
            if origin_of(url) != origin:
                # For good: a later hop back to the first origin was chosen by somebody else.
                sent = own
        raise EgressRefused(f"{host_of(url)} redirects more than {_MAX_HOPS} times; the request was given up.")

    @contextlib.asynccontextmanager
    async def _crossing(
        self, method: str, request: Request, url: "httpx.URL", headers: Mapping[str, str], body: bytes
    ) -> "AsyncIterator[httpx.Response]":
        """One request to one destination, taken down before it leaves and completed when it is over."""
        self._stop.check()
        crossing = Crossing(self._stop, len(body), self._settings.timeout_s)
        client = self._client(request.pins)
        outgoing = client.build_request(
            method,
            url,
            headers=headers,
            content=body if method in ("POST", "PUT") else None,
            extensions={"trace": crossing.step},
        )
        departure = Departure(
            purpose=request.purpose,
            destination=shown(url),
            bytes=head_bytes(method.encode(), url.raw_path, outgoing.headers.raw) + len(body),
            data_class=request.data_class,
            description=request.description,
            consent=request.consent,
            encryption="TLS 1.3, pinned key" if request.pins else "TLS 1.3",
            payload_sha256=hashlib.sha256(body).hexdigest() if body else "",
        )
        try:
            admit(request, body=method in ("POST", "PUT"))
        except EgressRefused as error:
            self._journal.refuse(departure, error.message)
            raise
        with self._journal.closing.put_off():
            prepared = self._journal.prepare(departure)
            try:
                with translated(host_of(url)):
                    async with crossing.under_way():
                        response = crossing.response = await client.send(outgoing, stream=True)
                    async with contextlib.aclosing(response):
                        yield response
            finally:
                self._journal.complete(prepared, crossing.outcome)

    @contextlib.asynccontextmanager
    async def _unless_stopped(self) -> AsyncIterator[None]:
        """Give up what is done inside when a pause begins or the vault is locked, wherever it waits."""
        self._stop.check()
        loop = asyncio.get_running_loop()
        reason: Paused | Locked | None = None
        try:
            async with asyncio.timeout(None) as limit:
                next_look: asyncio.TimerHandle | None = None

                def look() -> None:
                    nonlocal next_look, reason
                    if reason := self._stop.reason():
                        limit.reschedule(loop.time())
                    else:
                        next_look = loop.call_later(_LOOK_EVERY_S, look)

                look()
                try:
                    yield
                finally:
                    if next_look is not None:
                        next_look.cancel()
        except TimeoutError:
            if reason and limit.expired():
                raise reason from None
            raise

    def _client(self, pins: tuple[Pin, ...]) -> "httpx.AsyncClient":
        if pins not in self._clients:
            self._clients[pins] = open_client(self._settings, pins)
        return self._clients[pins]

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def __aenter__(self) -> "AsyncEgress":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
