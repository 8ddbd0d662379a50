"""Asking whether a result was right, and keeping it as an example: where that was enabled and somebody is there."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.console import Console
from vault.errors import ClawError

if TYPE_CHECKING:
    from skills.examples import Examples

__all__ = ["offer_to_keep"]


def offer_to_keep(
    console: Console,
    examples: "Examples",
    skill: str,
    given: str,
    result: str,
    *,
    others: Sequence[str] = (),
    source: str = "",
) -> None:
    """Ask whether a result was right; keep it, or what would have been.

    Args:
        console: The run of the command.
        examples: Of the vault.
        skill: That made the result.
        given: What had gone in.
        result: What came out.
        others: What else could have come out; where there is nothing, a wrong result isn't asked about further.
        source: The name of the file that went in, if one did.
    """
    if not examples.collecting or not console.can_ask:
        return
    try:
        if console.confirm("Was that right, and may it be kept as an example, on this device?"):
            examples.collect(skill, given, result, source=source)
            console.say("It is kept. `claw skill examples` shows and deletes it.")
        elif others and (right := _typed(console, others)):
            examples.collect(skill, given, right, corrected=True, source=source)
            console.say("That is kept. `claw skill examples` shows and deletes it.")
    except ClawError as error:  # the result was given already, and stands
        console.say(f"It was not kept. {error.message}")


def _typed(console: Console, others: Sequence[str]) -> str:
    """What the person says would have been right; empty where they say nothing that there is."""
    print("What would have been right? Its name, or Enter for nothing: ", end="", file=sys.stderr, flush=True)
    right = sys.stdin.readline().strip()
    if right and right not in others:
        console.say(f"There is no such thing here; there are {', '.join(others)}.")
        return ""
    return right
