"""The limits, asked again and again while something trains: an event that is set when one no longer holds."""

import threading
import time
from types import TracebackType

from fl_client.limits.judge import Limits, Spent

__all__ = ["LimitWatch"]

_EVERY_S = 1.0
_UNWATCHED = "Nobody could watch the limits any longer."


class LimitWatch(threading.Event):
    """Is set when a limit no longer holds, and also while something else is to end.

    It looks in a thread of its own from `with` on, so that whoever waits for training isn't held up by a desktop
    that doesn't answer. What is spent in training meanwhile it counts itself.

    Args:
        limits: What to look at.
        spent: What learning took today, before.
        stop: Set when it is to end for another reason.
        every_s: Seconds from one look to the next.

    Attributes:
        why: What no longer holds, in sentences; empty while everything does.
    """

    def __init__(
        self,
        limits: Limits,
        spent: Spent,
        *,
        stop: threading.Event | None = None,
        every_s: float = _EVERY_S,
    ) -> None:
        super().__init__()
        self.why = ""
        self._limits = limits
        self._spent = spent
        self._stop = stop
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="limits", daemon=True)
        self._began = 0.0

    def __enter__(self) -> "LimitWatch":
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def is_set(self) -> bool:
        """Whether it is to end."""
        return super().is_set() or (self._stop is not None and self._stop.is_set())

    def _watch(self) -> None:
        reasons: list[str] = []
        try:
            while not self._over.is_set() and not reasons:
                reasons = self._limits.reasons(self._so_far())
                self._over.wait(0 if reasons else self._every_s)
        finally:  # however it ends: what nobody watches doesn't go on
            if reasons or not self._over.is_set():
                self.why = " ".join(reasons) or _UNWATCHED
                self.set()

    def _so_far(self) -> Spent:
        return self._spent._replace(trained_s=self._spent.trained_s + time.monotonic() - self._began)
