"""How often a tool may be called: no reply, however confused, keeps the machine or the person busy for long."""

import collections
import time
from collections.abc import Callable

from skills.errors import NotPermitted
from skills.tools.tool import Effect

__all__ = ["Rate"]

_WINDOW_S = 60.0
_MOST = {
    Effect.NONE: 60,
    Effect.READ: 60,
    Effect.REMEMBER: 20,
    Effect.WRITE: 20,
    Effect.RUN: 20,
    Effect.SEND: 10,
}
"""Calls a minute, of all tools with that effect together. Refused ones count too: each may have been a question."""


class Rate:
    """Counts the calls of one session.

    Args:
        clock: In seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls: dict[Effect, collections.deque[float]] = {effect: collections.deque() for effect in Effect}

    def count(self, effect: Effect) -> None:
        """Count a call.

        Raises:
            NotPermitted: there were too many within a minute.
        """
        now, calls = self._clock(), self._calls[effect]
        while calls and now - calls[0] >= _WINDOW_S:
            calls.popleft()
        if len(calls) >= _MOST[effect]:
            raise NotPermitted(f"More than {_MOST[effect]} calls a minute that {effect}: try again in a minute.")
        calls.append(now)
