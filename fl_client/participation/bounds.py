"""What holds a training up, and the clock that takes down how long it took."""

import time
from collections.abc import Callable
from typing import NamedTuple

from fl_client.limits.judge import Limits, Spent

__all__ = ["Bounds", "Clock"]


class Bounds(NamedTuple):
    """What holds training up.

    Attributes:
        limits: The person's.
        spent: What learning took today.
        take: Takes down that so many seconds more were trained.
    """

    limits: Limits
    spent: Callable[[], Spent]
    take: Callable[[float], None]


class Clock:
    """Counts seconds of training, also while it goes on, so that a process that is killed has counted them.

    Args:
        take: Told how many more there were.
    """

    def __init__(self, take: Callable[[float], None]) -> None:
        self._take = take
        self._since = 0.0

    def count(self) -> None:
        """Count until now."""
        now = time.monotonic()
        self._take(now - self._since)
        self._since = now

    def __enter__(self) -> "Clock":
        self._since = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        self.count()
