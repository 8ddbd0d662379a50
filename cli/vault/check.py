"""`claw vault check`: verify the whole vault, and name everything that is wrong with it."""

import argparse
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console
from vault.errors import DatabaseDamaged
from vault.sanitize import sanitize

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from vault.check import Checked

__all__ = ["configure", "run"]

_SILENT_S = 1.0
_LINE_EVERY_S = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Check everything.

    Raises:
        DatabaseDamaged: something isn't whole.
    """
    from vault.check import check_vault

    with console.open_vault() as vault, _Display(console) as progress:
        checked = check_vault(vault, progress)
    if arguments.json:
        print(msgspec.json.encode([_as_json(part) for part in checked]).decode())
    else:
        for part in checked:
            _print(part)
    if wrong := [finding for part in checked for finding in part.wrong]:
        raise DatabaseDamaged(
            f"The vault is damaged: {wrong[0]}{f' ({len(wrong)} findings)' if len(wrong) > 1 else ''}.",
            hint="Nothing was changed. Restore it from a backup (`claw vault restore`), and check the disk.",
        )
    if not arguments.json:
        console.say("Everything in the vault is whole.")
    return 0


def _print(part: "Checked") -> None:
    if not part.wrong:
        print(f"ok     {part.part}{f': {part.seen}' if part.seen else ''}")
    for finding in part.wrong:
        print(f"WRONG  {part.part}: {sanitize(finding)}")


def _as_json(part: "Checked") -> dict[str, object]:
    return {"part": part.part, "ok": not part.wrong, "wrong": part.wrong, "seen": part.seen}


class _Display:
    """A bar in a terminal, a line now and then elsewhere, nothing within a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._now = ("", 0, 1)
        self._line_at = time.monotonic() + _SILENT_S
        # A thread's, because the pages are checked in one call.
        self._timer = threading.Timer(_SILENT_S, self._begin)
        self._timer.daemon = True

    def __call__(self, part: str, done: int, total: int) -> None:
        self._now = part, done, total
        if self._bars is not None:
            self._draw(self._bars)
        elif not sys.stderr.isatty() and time.monotonic() > self._line_at:
            self._line_at = time.monotonic() + _LINE_EVERY_S
            self._console.say(f"checking {part}: {done:,} of {total:,}")

    def __enter__(self) -> "_Display":
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

        text = TextColumn("checking {task.description}", markup=False)
        bars = Progress(SpinnerColumn(), text, BarColumn(), console=Terminal(stderr=True), transient=True)
        bars.add_task("")
        bars.start()
        self._draw(bars)
        self._bars = bars

    def _draw(self, bars: "Bars") -> None:
        part, done, total = self._now
        bars.update(bars.task_ids[0], description=part, completed=done, total=total)
