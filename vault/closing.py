"""What a vault lets end before it closes: what is under way at the door, of whose end its log is to be told."""

import contextlib
import threading
from collections.abc import Iterator

from vault.database import UNLOCK
from vault.errors import Locked

__all__ = ["Closing"]


class Closing:
    """The end of one open vault.

    Attributes:
        why: Why it closes, as a sentence; empty while it doesn't.
    """

    def __init__(self) -> None:
        self.why = ""
        self._waited_for: list[int] = []
        self._changed = threading.Condition()

    def refusal(self) -> Locked | None:
        """The error of whatever a closing stops; `None` while there is none."""
        return Locked(self.why, hint=UNLOCK) if self.why else None

    @contextlib.contextmanager
    def put_off(self) -> Iterator[None]:
        """Have the vault wait for what is done inside, which looks for a `why` and ends when there is one.

        Raises:
            Locked: the vault closes already.
        """
        thread = threading.get_ident()
        with self._changed:
            if refusal := self.refusal():
                raise refusal
            self._waited_for.append(thread)
        try:
            yield
        finally:
            with self._changed:
                self._waited_for.remove(thread)
                self._changed.notify_all()

    def begin(self, why: str, patience_s: float) -> None:
        """Let nothing more begin, and wait for what has begun; a second time does nothing.

        What the calling thread itself is in the middle of isn't waited for, since it can't end meanwhile.

        Args:
            why: Told, as `Locked`, to what is stopped by it.
            patience_s: How long it waits.
        """
        me = threading.get_ident()
        with self._changed:
            if not self.why:
                self.why = why
                self._changed.wait_for(lambda: all(thread == me for thread in self._waited_for), patience_s)
