"""Asking at the terminal whether a tool may do something, and saying what tools do."""

import contextlib
import os
import select
import shutil
import sys
import termios
import time
import unicodedata
from collections.abc import Callable, Iterator

from cli.console import Console
from skills.permissions.approval import Answer, Approval
from skills.permissions.events import CallEvent, Finished, Progressed, Refused, Started
from vault.sanitize import sanitize

__all__ = ["Narrator", "TerminalApprover"]

_GUARD_S = 0.5
"""What is typed before the question has been there for so long was an answer to something else."""
_LOOK_EVERY_S = 0.1
_LONGEST_ANSWER = 1000
_MOST_ROWS = 400
"""Rows of a question; what takes more isn't looked through by anybody."""
_NARROWEST = 20
_PROGRESS_EVERY_S = 1.0
_ANSWERS = {"a": Answer.ONCE, "allow": Answer.ONCE, "s": Answer.SESSION, "session": Answer.SESSION}


class TerminalApprover:
    """Asks whoever sits at the terminal; where nobody does, the answer is no.

    Args:
        console: The run of the command.
        stopped: Whether the reply that wants the call was stopped: nobody has to answer any more.
    """

    def __init__(self, console: Console, stopped: Callable[[], bool]) -> None:
        self._console = console
        self._stopped = stopped

    def ask(self, approval: Approval) -> Answer:
        """Show exactly what would be done, and wait for a letter and Enter; anything else denies."""
        if not self._console.can_ask:
            self._console.say(f"[denied, for there is nobody to ask: {approval.action}]")
            return Answer.DENY
        rows = _question(approval)
        if len(rows) > _MOST_ROWS:
            self._console.say(f"[denied, for nobody would look through all of it: {approval.action}]")
            return Answer.DENY
        for row in rows:
            self._console.say(row)
        choices = "a allows it once" + (", s for this session (the same, on the same)" if approval.lasting else "")
        answer = _ANSWERS.get(self._typed(f"  {choices}; anything else denies: "), Answer.DENY)
        if answer is Answer.SESSION and not approval.lasting:
            answer = Answer.DENY
        self._console.say("  allowed" if answer is not Answer.DENY else "  denied")
        return answer

    def _typed(self, prompt: str) -> str:
        """The line that is typed at the prompt; empty where the reply was stopped, or nobody is there any more."""
        descriptor = sys.stdin.fileno()
        time.sleep(_GUARD_S)
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(descriptor, termios.TCIFLUSH)
            print(prompt, end="", file=sys.stderr, flush=True)
            while not self._stopped():
                if select.select([descriptor], [], [], _LOOK_EVERY_S)[0]:
                    return os.read(descriptor, _LONGEST_ANSWER).decode("utf-8", "replace").strip().lower()
        self._console.say()
        return ""


class Narrator:
    """Says what tools do, in a line each; progress once a second at most.

    Args:
        console: The run of the command.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_at = 0.0

    def hear(self, event: CallEvent) -> None:
        """Say what there is to say of an event."""
        match event:
            case Started():
                self._told_at = time.monotonic()
                self._console.say(f"[{event.action}]")
            case Progressed() if sys.stderr.isatty():
                if time.monotonic() - self._told_at >= _PROGRESS_EVERY_S:
                    self._told_at = time.monotonic()
                    self._console.say(f"[… {event.note}]")
            case Finished() if event.failed:
                self._console.say(f"[{event.tool} could not do that]")
            case Refused():
                self._console.say(f"[{event.tool} was refused: {event.why}]")


def _question(approval: Approval) -> list[str]:
    """The rows of a question. None is wider than the terminal, and what others wrote never begins one.

    Who wants what is said before the details and after them, so that nothing can push it off the screen.
    """
    who = f"The skill {approval.asked_by}" if approval.asked_by else "The assistant"
    asked = f"{who} wants to {approval.action}."
    rows = ["", *_folded("", "  ", asked)]
    for label, texts in (("on  ", approval.resources), ("note", approval.reasons)):
        for text in texts:
            rows += _folded(f"  {label} ", "       ", text)
    details = [row for line in sanitize(approval.details).split("\n") for row in _folded("  | ", "  |>", line)]
    if approval.details:
        rows += [*details, *_folded("", "  ", asked)]
    return rows


def _folded(first: str, next_rows: str, text: str) -> Iterator[str]:
    """Rows of a text that fit the terminal, each behind a beginning of ours. Odd blanks are shown."""
    room = max(_NARROWEST, shutil.get_terminal_size().columns - 1) - len(first)
    before, row, width = first, "", 0
    for character in text.expandtabs(4):
        if character != " " and (unicodedata.category(character) == "Zs" or character == "\u2800"):
            character = "␣"
        takes = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width + takes > room:
            yield before + row
            before, row, width = next_rows, "", 0
        row, width = row + character, width + takes
    yield before + row
