"""What a model that may call tools says first: which tool it wants, or that it will answer.

Where its chat template has a form for that which is known here, it says so in that form; else in one of ours. A
grammar made of the tools' schemas keeps a model to it, however small it is. What comes is checked all the same.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from agent.worker.grammar import bare
from skills.tools.tool import Tool

__all__ = ["ANSWER", "WantedCall", "choice_schema", "read_call", "read_choice"]

ANSWER = "answer"
"""Stands for answering in place of a tool's name."""


class WantedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that the model wants.

    Attributes:
        tool: Its name; `ANSWER` for none.
        arguments: JSON.
    """

    tool: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


def choice_schema(tools: Sequence[Tool[Any]], *, may_answer: bool = True) -> str:
    """The JSON schema of a choice.

    Args:
        tools: That may be called.
        may_answer: Whether it may call none of them.
    """
    answer: dict[str, Any] = {
        "type": "object",
        "properties": {"tool": {"const": ANSWER}},
        "required": ["tool"],
        "additionalProperties": False,
    }
    calls = [
        {
            "type": "object",
            "properties": {"tool": {"const": tool.name}, "arguments": bare(tool.schema)},
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return json.dumps({"anyOf": [answer, *calls] if may_answer else calls})


def read_choice(text: str) -> WantedCall | None:
    """Read a choice; `None` where it is none, or was cut off."""
    try:
        return msgspec.json.decode(_data(text), type=WantedCall)
    except (msgspec.MsgspecError, RecursionError):
        return None


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    """A call in the Hermes form."""

    name: str
    arguments: msgspec.Raw


def read_call(text: str) -> WantedCall | None:
    """Read a call in the Hermes form, without the marks around it; `None` where it is none, or was cut off."""
    try:
        call = msgspec.json.decode(_data(text), type=_Call)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return WantedCall(call.name, call.arguments)


def _data(text: str) -> bytes:
    # Within a string of JSON, a line end can only be what sanitizing made of a rarer one.
    return text.replace("\n", " ").encode("utf-8", "replace")
