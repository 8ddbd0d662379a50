"""What stops everything at the door: a pause, and the end of the vault that keeps its journal."""

from vault.closing import Closing
from vault.errors import Locked, Paused
from vault.pause import PauseLatch

__all__ = ["Stop"]


class Stop:
    """Looked at before each step, and now and then while something waits.

    Args:
        latch: Of the pause.
        closing: Of the vault.
    """

    def __init__(self, latch: PauseLatch, closing: Closing) -> None:
        self._latch = latch
        self._closing = closing

    def reason(self) -> Paused | Locked | None:
        """Why nothing may pass, as the error to raise; `None` while it may."""
        if self._latch.engaged:
            return self._latch.refusal()
        return self._closing.refusal()

    def check(self) -> None:
        """Let nothing pass while there is a reason.

        Raises:
            Paused: everything is paused.
            Locked: the vault was locked, or is being closed.
        """
        if reason := self.reason():
            raise reason
