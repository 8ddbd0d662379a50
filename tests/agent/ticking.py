"""A tool that needs no arguments, and models that call it whenever they may."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf

from agent.tool_use import ToolUse
from agent.worker.protocol import ToolForm
from skills.library import Skill
from skills.permissions.broker import Broker
from skills.tools.activation import Activation
from skills.tools.tool import Arguments, Effect, Plan, Running, Tool
from tests.hermes_model import hermes_gguf
from tests.tiny_model import tiny_gguf
from vault.classes import DataClass
from vault.errors import NotFound
from vault.messages import Attachment

__all__ = ["eager_gguf", "tick_tool", "ticked", "using"]


class _Nothing(Arguments, frozen=True):
    """Nothing has to be said."""


def tick_tool(
    work: Callable[[Running], str] = lambda _running: "tock",
    *,
    effect: Effect = Effect.NONE,
    description: str = "Tick.",
    foreign: bool = True,
) -> Tool[Any]:
    """The tool; `work` is done when it is called."""
    return Tool(
        "tick",
        "time",
        description,
        _Nothing,
        effect,
        DataClass.GENERAL,
        lambda _given, _about: Plan("tick", work),
        foreign=foreign,
    )


def ticked(text: str, step: int = 1) -> Attachment:
    """What is kept of a call of it, the reply's first or a later one, that gave this text."""
    return Attachment(f"tool: tick {step}", f"Called with {{}}\n{text}")


def using(
    broker: Broker,
    skill: Skill | None = None,
    *,
    suggest: Callable[[str], str | None] = lambda _request: None,
    clock: Callable[[], float] = time.monotonic,
) -> ToolUse:
    """The tools of a conversation in which no other skill can be taken up."""

    def use(name: str) -> Skill:
        if activation.skill is None or activation.name != name:
            raise NotFound(f"There is no skill {name!r}.")
        return activation.skill

    activation = Activation([], use, skill)
    return ToolUse(broker, activation, suggest=suggest, clock=clock)


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
