"""Plays one turn of a conversation on a terminal or into a pipe, and lets Ctrl-C stop it."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from types import FrameType, TracebackType

from agent.assistant import Event, Notice, Progress, Saved, Text, TurnEnd
from agent.errors import WorkerDied
from cli.console import Console

__all__ = ["play", "stoppable"]

_INSIST_EVERY_S = 0.5


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


@contextlib.contextmanager
def stoppable(cancel: Callable[[], None]) -> Iterator[None]:
    """Within, the first Ctrl-C stops the reply gently; a second one interrupts the program.

    Raises:
        KeyboardInterrupt: it was pressed a second time, or the worker could only be stopped by ending it.
    """
    pressed = False
    over = threading.Event()

    def insist() -> None:
        # More than once: just before the question is put, or the model loaded, there is nothing yet to be stopped.
        while not over.is_set():
            cancel()
            over.wait(_INSIST_EVERY_S)

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        # Not in the handler itself: it may run in the middle of a write to the same pipe.
        threading.Thread(target=insist, daemon=True).start()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except WorkerDied:
        if pressed:  # it was loading the model, or didn't listen
            raise KeyboardInterrupt from None
        raise
    finally:
        over.set()
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
        self._open = False
        sys.stdout.write("\n")
        sys.stdout.flush()

    def __enter__(self) -> "_Line":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open and not isinstance(error, OSError):
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
