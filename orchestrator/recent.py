"""What is asked for all the time, and worked out no more than once a second."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Recent"]

_HOLDS_S = 1.0

Found = TypeVar("Found")


class Recent(Generic[Found]):
    """The outcome of some work, as it was a second ago at most.

    Args:
        work: What is done.
        now: Seconds, from any beginning.
    """

    def __init__(self, work: Callable[[], Awaitable[Found]], *, now: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        self._now = now
        self._at = float("-inf")
        self._found: Found | Exception
        self._at_work = asyncio.Lock()

    async def get(self) -> Found:
        """The outcome; an error of the work is one, too."""
        async with self._at_work:
            if self._now() - self._at >= _HOLDS_S:
                try:
                    self._found = await self._work()
                except Exception as error:  # noqa: BLE001  it is raised below, for everybody who asks
                    self._found = error
                self._at = self._now()
        if isinstance(self._found, Exception):
            raise self._found
        return self._found
