"""What ends taking part, at any moment: a pause, a lock, a consent that was withdrawn, a signal.

Looked at a few times a second, also in the middle of training and while something is under way at the door.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from fl_client.errors import ConsentNeeded, TrainingStopped
from vault.consent_store import Consent, ConsentStore
from vault.errors import ClawError
from vault.pause import PauseLatch

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Stopping", "ended"]

_LOOK_EVERY_S = 0.2


class Stopping(threading.Event):
    """Is set when taking part under a consent is to end.

    Args:
        vault: Holds the consent.
        consent: Under which something is done.
        ends: Set when the process is to end.
    """

    def __init__(self, vault: "Vault", consent: Consent, ends: threading.Event) -> None:
        super().__init__()
        self._vault = vault
        self._consent = consent
        self._store = ConsentStore(vault.database)
        self._latch = PauseLatch(vault.home)
        self._ends = ends
        self._looked = 0.0
        self._held = True
        self._lock = threading.Lock()

    def is_set(self) -> bool:
        """Whether it is to end."""
        return self._ends.is_set() or self.reason() is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is to end, or for so many seconds; whether it is."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (until is None or time.monotonic() < until):
            self._ends.wait(_LOOK_EVERY_S)
        return self.is_set()

    def reason(self) -> ClawError | None:
        """Why, as the error to raise; `None` where the process just ends, or nothing does."""
        if self._latch.engaged:
            return self._latch.refusal()
        if locked := self._vault.closing.refusal():
            return locked
        return None if self._consent_holds() else self._withdrawn()

    def _consent_holds(self) -> bool:
        with self._lock:
            now = time.monotonic()
            if self._held and now - self._looked >= _LOOK_EVERY_S:
                self._held = self._store.holds(self._consent.version)
                self._looked = now
            return self._held

    def _withdrawn(self) -> ConsentNeeded:
        return ConsentNeeded(
            f"Consent {self._consent.version} doesn't hold any more; what it allowed has ended.",
            hint=f"`claw consent grant {self._consent.task_name}` gives another one.",
        )

    @contextlib.asynccontextmanager
    async def unless(self, ended: Callable[[], ClawError]) -> AsyncIterator[None]:
        """Give up what is done inside when it is to end, wherever it waits.

        Args:
            ended: The error to raise where the process is to end.

        Raises:
            Paused, Locked, ConsentNeeded: as the reason is.
        """
        task = asyncio.current_task()
        assert task is not None
        over = False

        async def look() -> None:
            while not self.is_set():
                await asyncio.sleep(_LOOK_EVERY_S)
            if not over:
                task.cancel()

        watching = asyncio.create_task(look())
        try:
            yield
        except asyncio.CancelledError:
            if not self.is_set():
                raise
            task.uncancel()
            raise (self.reason() or ended()) from None
        except TrainingStopped:
            if reason := self.reason():  # what trained noticed it first
                raise reason from None
            raise
        finally:
            over = True
            watching.cancel()


def ended() -> ClawError:
    """The error of what the end of the process ends."""
    return TrainingStopped("It was ended.")
