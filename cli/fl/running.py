"""What every command that takes part has: signals that end it in order, the round left and all written down."""

import signal
import threading

__all__ = ["Ending"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Within, signals set an event in place of ending the program; the second Ctrl-C interrupts it.

    Args:
        ends: Is set.

    Attributes:
        status: The exit status that the signal asks for; 0 while none came.
    """

    def __init__(self, ends: threading.Event) -> None:
        self._ends = ends
        self.status = 0

    def __enter__(self) -> "Ending":
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:
                signal.signal(number, self._heard)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _heard(self, number: int, _frame: object) -> None:
        if self.status and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.status = 128 + number
        self._ends.set()
