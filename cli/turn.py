"""Plays one turn of a conversation on a terminal or into a pipe, and lets Ctrl-C stop it."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from types import FrameType, TracebackType

from agent.assistant import Event, Notice, Progress, Saved, Text, TurnEnd
from cli.console import Console

__all__ = ["play", "stoppable", "stopped"]


def play(events: Generator[Event], console: Console, *, show: bool) -> tuple[TurnEnd, list[str]]:
    """Run a turn to its end.

    Args:
        events: The turn.
        console: Where notices go.
        show: Whether to print the reply as it comes.

    Returns:
        The end of the turn, and the notices there were.
    """
    notices: list[str] = []
    progress = _ProgressLine()
    with contextlib.closing(events), _Line() as line:
        for event in events:
            match event:
                case Text(text):
                    progress.clear()
                    if show:
                        line.write(text)
                case Progress(done, total):
                    progress.show(f"reading {done:,} of {total:,} tokens")
                case Notice(text):
                    progress.clear()
                    notices.append(text)
                    if show:
                        console.say(f"[{text}]")
                case TurnEnd():
                    progress.clear()
                    if show:
                        line.end()
                    return event, notices
                case Saved():
                    pass
    raise AssertionError("a turn ends with TurnEnd or an error")


def stopped(end: TurnEnd, *, kept: bool) -> str:
    """What to tell of a reply that was stopped."""
    return "[stopped; the text so far is kept]" if kept and end.message.text else "[stopped]"


@contextlib.contextmanager
def stoppable(cancel: Callable[[], None]) -> Iterator[None]:
    """Within, the first Ctrl-C stops the reply gently; a second one interrupts the program."""
    pressed = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        # Not in the handler itself: it may run in the middle of a write to the same pipe.
        threading.Thread(target=cancel, daemon=True).start()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Line:
    """The reply on stdout. Its last line is ended whatever happens: no error is told in the middle of it."""

    def __init__(self) -> None:
        self._open = False

    def write(self, text: str) -> None:
        self._open = True
        sys.stdout.write(text)
        sys.stdout.flush()

    def end(self) -> None:
        """End the line, if anything was written."""
        if self._open:
            self._open = False
            sys.stdout.write("\n")
            sys.stdout.flush()

    def __enter__(self) -> "_Line":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):  # or the output itself is what failed
            self.end()


class _ProgressLine:
    """One line on a terminal's stderr that is overwritten, and wiped before anything else is written."""

    def __init__(self) -> None:
        self._length = 0
        self._visible = sys.stderr.isatty()

    def show(self, text: str) -> None:
        if self._visible:
            sys.stderr.write("\r" + text.ljust(self._length))
            sys.stderr.flush()
            self._length = len(text)

    def clear(self) -> None:
        if self._length:
            sys.stderr.write("\r" + " " * self._length + "\r")
            sys.stderr.flush()
            self._length = 0
