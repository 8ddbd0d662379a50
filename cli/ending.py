"""SIGTERM and SIGHUP as an orderly end: what is staged goes, and what was said is kept, as after Ctrl-C."""

import signal
import sys
from types import FrameType

__all__ = ["Ended", "end_in_order", "ended_by", "is_ending"]

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Ended(SystemExit):
    """A signal asks the command to end. Not a `KeyboardInterrupt`, which stops a reply and goes on.

    Args:
        number: Of the signal.

    Attributes:
        status: The command's exit status.
    """

    def __init__(self, number: int) -> None:
        self.status = 128 + number
        super().__init__(self.status)


def end_in_order() -> None:
    """From now on, have these signals raise `Ended`; one that is ignored, as under `nohup`, stays ignored."""
    for number in _SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def is_ending() -> None:
    """Hear no more of them: everything is tidied up, and the interpreter's own end is near."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def ended_by(error: BaseException | None) -> Ended | None:
    """The end that an error came up in: tidying up after a terminal has closed can fail to write to it."""
    while error is not None and not isinstance(error, Ended):
        error = error.__context__
    return error


def _end(number: int, _frame: FrameType | None) -> None:
    # A closed terminal may send several: the next ones must not interrupt the tidying that the first one began.
    if ended_by(sys.exc_info()[1]) is None:
        raise Ended(number)
