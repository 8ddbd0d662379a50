"""Connections: not too many of them, and none that is kept open by saying nothing.

uvicorn ends a connection on which nothing comes after an answer, and no other: who connects and is silent, or sends
a head a byte a minute, would hold one for ever; and who reads an answer slowly would be cut off.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Connection"]

_HEAD_S = 20.0
"""Within which a request's head has come, after the connection stands or the head begins."""
_MOST_HEAD = 64 << 10
_READ_S = 300.0
"""Within which an answer is read."""


class Connection(HttpToolsProtocol):
    """One connection, until either end closes it. uvicorn makes them, as many as its `limit_concurrency` says."""

    _head_until: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _answered_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin, unless there are too many."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            transport.abort()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._no_more_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something came."""
        super().data_received(data)
        if self._head_until is not None and self.parser is not None:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """A head is there."""
        self._no_more_head()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """An answer is written; that isn't to say that it is read."""
        self._answered_at = self.loop.time()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came since the answer; perhaps because it is still being read."""
        unread = self.transport.get_write_buffer_size()
        if unread and not self.transport.is_closing() and self.loop.time() < self._answered_at + _READ_S:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        elif unread:
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _await_head(self) -> None:
        if self._head_until is None:
            self._head_bytes = 0
            self._head_until = self.loop.call_later(_HEAD_S, self.transport.abort)

    def _no_more_head(self) -> None:
        if self._head_until is not None:
            self._head_until.cancel()
            self._head_until = None
