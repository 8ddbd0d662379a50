"""How far a piece of work is that has no bytes to count: a bar in a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from typing import TYPE_CHECKING

from cli.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["Working"]

_SILENT_S = 1.0
_LINE_EVERY_S = 10.0


class Working:
    """Shows what it is told, for the time of a `with` block; nothing within a second.

    Args:
        console: The run of the command.
        doing: What is done, until it is told otherwise.
    """

    def __init__(self, console: Console, doing: str) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._now: tuple[str, int, int | None] = doing, 0, None
        self._line_at = time.monotonic() + _SILENT_S
        # In a thread, because much of the work is one call that says nothing in between.
        self._timer = threading.Timer(_SILENT_S, self._begin)
        self._timer.daemon = True

    def __call__(self, doing: str, done: int, total: int | None) -> None:
        """Take note that so much is done."""
        self._now = doing, done, total
        if self._bars is not None:
            self._draw(self._bars)
        elif not sys.stderr.isatty() and time.monotonic() > self._line_at:
            self._line_at = time.monotonic() + _LINE_EVERY_S
            self._console.say(f"{doing}: {done:,}{f' of {total:,}' if total else ''}")

    def __enter__(self) -> "Working":
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()
        if self._timer.is_alive():
            self._timer.join()
        if self._bars is not None:
            self._bars.stop()

    def _begin(self) -> None:
        from rich.console import Console as Terminal
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        text = TextColumn("{task.description}", markup=False)
        bars = Progress(SpinnerColumn(), text, BarColumn(), console=Terminal(stderr=True), transient=True)
        bars.add_task("", total=None)
        bars.start()
        self._draw(bars)
        self._bars = bars

    def _draw(self, bars: "Bars") -> None:
        doing, done, total = self._now
        bars.update(bars.task_ids[0], description=doing, completed=done, total=total)
