"""The date and the time."""

import datetime

from skills.tools.tool import Arguments, Effect, Plan, Tool
from vault.classes import DataClass

__all__ = ["clock_tool"]


class Now(Arguments, frozen=True):
    """Nothing has to be said."""


def clock_tool() -> Tool[Now]:
    """The tool that tells the time."""
    return Tool(
        "now",
        "time",
        "Tell the date, the weekday and the time.",
        Now,
        Effect.NONE,
        DataClass.GENERAL,
        lambda _given, _about: Plan("tell the date and the time", lambda _running: _now()),
    )


def _now() -> str:
    return datetime.datetime.now().astimezone().strftime("%A, %d %B %Y, %H:%M (%Z)")
