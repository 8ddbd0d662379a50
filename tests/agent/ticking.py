"""A tool that needs no arguments, and models that call it whenever they may."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf

from agent.worker.protocol import ToolForm
from skills.tools.tool import Arguments, Effect, Plan, Running, Tool
from tests.hermes_model import hermes_gguf
from tests.tiny_model import tiny_gguf
from vault.classes import DataClass

__all__ = ["TICK", "eager_gguf", "tick_tool"]

TICK = "tool: tick {}"
"""Under which name its results are kept."""


class _Nothing(Arguments, frozen=True):
    """Nothing has to be said."""


def tick_tool(
    work: Callable[[Running], str] = lambda _running: "tock",
    *,
    effect: Effect = Effect.NONE,
    description: str = "Tick.",
) -> Tool[Any]:
    """The tool; `work` is done when it is called."""
    return Tool(
        "tick",
        "time",
        description,
        _Nothing,
        effect,
        DataClass.GENERAL,
        lambda _given: Plan("tick", work),
        foreign=True,
    )


def eager_gguf(path: Path, form: ToolForm, *, context: int = 2048) -> Path:
    """A model that calls `tick` whenever it may; whatever else it says is random bytes.

    Args:
        path: Where to write it.
        form: In which form it calls tools: its own, or, with `none`, ours.
        context: Its window, in tokens.
    """
    if form == "hermes":
        return hermes_gguf(path, eager=True, control=False, context=context)
    return tiny_gguf(path, context=context, more_tokens={'"tick"': gguf.TokenType.NORMAL}, eager='"tick"')
