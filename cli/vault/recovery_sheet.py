"""Showing recovery shares: once, one at a time, and proven to have been written down where somebody sits there."""

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.console import Console, columns
from cli.errors import UsageError
from vault.errors import RecoveryRefused

if TYPE_CHECKING:
    from vault.recovery import RecoveryKit

__all__ = ["hand_out"]

_ASKED_BACK = 3
_ROW = 4
_OTHER_SCREEN, _SCREEN_AS_IT_WAS = "\x1b[?1049h\x1b[H", "\x1b[?1049l"


def hand_out(kit: "RecoveryKit", console: Console) -> None:
    """Give the shares to the person; nothing of them stays on the screen or on the disk.

    At a terminal each has a screen of its own, and some of its words are asked back. Elsewhere they are printed, a
    paragraph each, for a program that passes them on.

    Raises:
        UsageError: they would go into a file.
        RecoveryRefused: the person leaves before all are written down.
    """
    count = len(kit.shares)
    if not console.can_ask:
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            raise UsageError(
                "Recovery shares aren't written to a file; nothing was changed.",
                hint="Run it in a terminal and write them on paper, or pipe them to a printer.",
            )
        print("\n\n".join(f"share {n} of {count}\n{share}" for n, share in enumerate(kit.shares, 1)), flush=True)
        return
    console.say(
        f"{count} shares, any {kit.threshold} of which open the vault; fewer say nothing of it. Write each on a\n"
        "paper of its own, and keep them apart. They are shown once, and some of their words are asked back."
        if count > 1
        else "One sheet of words, which opens the vault. Write it on paper, and keep it where the vault isn't.\n"
        "It is shown once, and some of its words are asked back."
    )
    for number, share in enumerate(kit.shares, 1):
        _answer("Press Enter when nobody looks over your shoulder. ")
        while not _written_down(share.split(), f"share {number} of {count}", console):
            console.say("That isn't what the share says. Here it is again.")


def _written_down(words: list[str], title: str, console: Console) -> bool:
    with _other_screen():
        numbered = [f"{place:2} {word}" for place, word in enumerate(words, 1)]
        rows = [numbered[start : start + _ROW] for start in range(0, len(numbered), _ROW)]
        rows[-1] += [""] * (_ROW - len(rows[-1]))
        console.say(f"\n{title}\n\n{columns(rows)}\n")
        _answer("Press Enter when you have written it down. ")
    asked = sorted(secrets.SystemRandom().sample(range(len(words)), _ASKED_BACK))
    return all(_answer(f"Word {place + 1} of {title}: ").lower() == words[place] for place in asked)


@contextlib.contextmanager
def _other_screen() -> Iterator[None]:
    """The terminal's second screen, which leaves nothing to scroll back to; where it has one."""
    if os.environ.get("TERM", "dumb") == "dumb":
        yield
        return
    print(_OTHER_SCREEN, end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(_SCREEN_AS_IT_WAS, end="", file=sys.stderr, flush=True)


def _answer(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise RecoveryRefused("The shares were not written down; nothing was changed.", hint="Start again.")
    return line.strip()
