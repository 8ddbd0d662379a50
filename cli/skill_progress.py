"""How far a run of a skill is: a bar with the time that is left in a terminal, a line now and then elsewhere."""

import sys
import time
from typing import TYPE_CHECKING

from cli.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["RunProgress"]

_SILENT_S = 1.0
_LINE_EVERY_S = 10.0


class RunProgress:
    """Shows what it is told, for the time of a `with` block; a `skills.bundled.task.Progress`.

    Args:
        console: The run of the command.

    Attributes:
        done: Steps that are done.
        total: Of how many.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._began = self._line_at = time.monotonic()
        self._slow_from: tuple[float, int] | None = None
        self.done, self.total = 0, 0

    def __call__(self, doing: str, done: int, total: int) -> None:
        """Take note that so many steps are done."""
        now = time.monotonic()
        self.done, self.total = done, total
        if self._slow_from is None or done == 0:
            self._slow_from = now, done
        if sys.stderr.isatty():
            self._draw(doing, done, total, now)
        elif done and now - self._line_at >= _LINE_EVERY_S:
            self._line_at = now
            self._console.say(f"{doing}: {done:,} of {total:,}{self._left(now)}")

    def knew(self) -> None:
        """Take note that the last step was known from before, and says nothing about the time that is left."""
        self._slow_from = time.monotonic(), self.done

    def _left(self, now: float) -> str:
        began, before = self._slow_from or (self._began, 0)
        if self.done - before < 2:
            return ""
        seconds = (now - began) / (self.done - before) * (self.total - self.done)
        return f", about {_duration(seconds)} left"

    def _draw(self, doing: str, done: int, total: int, now: float) -> None:
        if self._bars is None:
            if now - self._began < _SILENT_S and done:
                return
            from rich.console import Console as Terminal
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

            self._bars = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]}", markup=False),
                console=Terminal(stderr=True),
                transient=True,
            )
            self._bars.add_task(doing, total=total, left="")
            self._bars.start()
        task = self._bars.task_ids[0]
        self._bars.update(task, description=doing, completed=done, total=total, left=self._left(now).lstrip(", "))

    def __enter__(self) -> "RunProgress":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bars is not None:
            self._bars.stop()


def _duration(seconds: float) -> str:
    """A time for a person, no more exact than it is known."""
    if seconds < 90:
        return f"{max(1, round(seconds)):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
