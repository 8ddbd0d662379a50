"""Asking at the terminal whether a tool may do something, and saying what tools do."""

import contextlib
import os
import select
import sys
import termios
import time
from collections.abc import Callable

from cli.console import Console
from skills.permissions.approval import Answer, Approval
from skills.permissions.events import CallEvent, Finished, Progressed, Refused, Started
from vault.sanitize import sanitize

__all__ = ["TerminalApprover", "tell_of_calls"]

_GUARD_S = 0.5
"""What is typed before the question has been there for so long was an answer to something else."""
_LOOK_EVERY_S = 0.1
_LONGEST_ANSWER = 1000
_MOST_DETAILS = 200
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
        for line in _question(approval):
            self._console.say(line)
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


def _question(approval: Approval) -> list[str]:
    who = f"The skill {approval.asked_by}" if approval.asked_by else "The assistant"
    lines = ["", f"{who} wants to {approval.action}."]
    lines += [f"  on   {resource}" for resource in approval.resources]
    lines += [f"  note {reason}" for reason in approval.reasons]
    details = sanitize(approval.details).splitlines()
    lines += [f"  | {line}" for line in details[:_MOST_DETAILS]]
    if len(details) > _MOST_DETAILS:
        lines.append(
            f"  | … and {len(details) - _MOST_DETAILS:,} more lines, unseen: deny what you can't look through"
        )
    return lines


def tell_of_calls(console: Console, event: CallEvent) -> None:
    """Say what a tool does, in a line."""
    match event:
        case Started():
            console.say(f"[{event.action}]")
        case Progressed() if sys.stderr.isatty():
            console.say(f"[… {event.note}]")
        case Finished() if event.failed:
            console.say(f"[{event.tool} could not do that]")
        case Refused():
            console.say(f"[{event.tool} was refused: {event.why}]")
