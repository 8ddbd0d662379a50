"""How far a long piece of work is: a bar in a terminal, a line now and then elsewhere, nothing within a second."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.console import Console
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

__all__ = ["Display", "showing_progress"]

_SILENT_S = 1.0
_LINE_EVERY_S = 10.0


class Display:
    """Shows what it is told; an `agent.models.Progress`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._doing = ""
        self._since = 0.0
        self._last_line = 0.0
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def __call__(self, doing: str, done: int, total: int | None) -> None:
        """Take note that so many bytes are done."""
        now = time.monotonic()
        if doing != self._doing:
            self._doing, self._since, self._last_line, self._task = doing, now, now, None
        if now - self._since < _SILENT_S:
            return
        if sys.stderr.isatty():
            self._draw(doing, done, total)
        elif now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            part = f" of {total / 1e6:,.0f}" if total else ""
            self._console.say(f"{sanitize_line(doing)}: {done / 1e6:,.0f}{part} MB")

    def _draw(self, doing: str, done: int, total: int | None) -> None:
        if self._bars is None:
            from rich.console import Console as Terminal
            from rich.progress import (
                BarColumn,
                DownloadColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
                TransferSpeedColumn,
            )

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=Terminal(stderr=True),
                transient=True,
            )
            self._bars.start()
        if self._task is None:
            self._task = self._bars.add_task(sanitize_line(doing), total=total)
        self._bars.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Give the terminal back."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


@contextlib.contextmanager
def showing_progress(console: Console) -> Iterator[Display]:
    """A display for the time of the block."""
    display = Display(console)
    try:
        yield display
    finally:
        display.close()
