"""Bodies of requests: no longer than a message can be, no slower than its signature holds, not too many at once.

A body is read piece by piece; what isn't read stays with whoever sends it. So long ones, masked updates above all,
wait for room: a thousand devices that send at the same moment don't fill the memory.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

from starlette.requests import Request

from federation.requests import HOLDS_S
from orchestrator.errors import TooLong, TooMuch, TooSlow

__all__ = ["SMALL", "Bodies"]

SMALL = 4096
"""Bytes of a body that is read without waiting for room."""
_ROOM = 64 << 20
_WITHIN_S = float(HOLDS_S)


class Bodies:
    """Reads bodies.

    Args:
        room: Bytes that are read at the same time, in all.
        within_s: How long one may take to come.
    """

    def __init__(self, room: int = _ROOM, within_s: float = _WITHIN_S) -> None:
        self._room = room
        self._left = room
        self._freed = asyncio.Condition()
        self._within_s = within_s

    def waits(self, request: Request, most: int) -> bool:
        """Whether a body of at most so many bytes is read only once there is room; errors as `read`."""
        return _said_length(request, most) > SMALL

    @contextlib.asynccontextmanager
    async def read(self, request: Request, most: int) -> AsyncIterator[bytes]:
        """A request's body; its room is kept until this ends.

        Args:
            request: The request.
            most: Bytes that it may have.

        Raises:
            TooLong: it has more, or says so.
            TooSlow: it doesn't come to its end in time.
            TooMuch: so many others are being read that there is no room for it in time.
        """
        length = _said_length(request, most)
        if length <= SMALL:
            yield await self._all(request, most)
            return
        await self._take(min(length, self._room))
        try:
            yield await self._all(request, most)
        finally:
            await self._give_back(min(length, self._room))

    async def _all(self, request: Request, most: int) -> bytes:
        parts, length = [], 0
        try:
            async with asyncio.timeout(self._within_s):
                async for part in request.stream():
                    length += len(part)
                    if length > most:
                        raise TooLong("That is longer than such a message can be.")
                    parts.append(part)
        except TimeoutError:
            raise TooSlow("The request takes longer to come than its signature holds.") from None
        return b"".join(parts)

    async def _take(self, length: int) -> None:
        try:
            async with asyncio.timeout(self._within_s), self._freed:
                await self._freed.wait_for(lambda: self._left >= length)
                self._left -= length
        except TimeoutError:
            raise TooMuch("Too many devices send at this moment.", hint="Try again later.") from None

    async def _give_back(self, length: int) -> None:
        async with self._freed:
            self._left += length
            self._freed.notify_all()


def _said_length(request: Request, most: int) -> int:
    """How long a body says it is; as long as it may be if it doesn't.

    Raises:
        TooLong: longer than it may be.
    """
    told = request.headers.get("content-length")
    if told is None:
        return most if "transfer-encoding" in request.headers else 0
    if not re.fullmatch("[0-9]{1,12}", told) or int(told) > most:
        raise TooLong("That is longer than such a message can be.")
    return int(told)
