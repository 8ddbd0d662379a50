"""What a model that may call tools says first: which tool it wants, or that it will answer.

A grammar made of the tools' schemas keeps a model to JSON of that form, however small it is. What comes is checked
all the same.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from skills.tools.tool import Tool

__all__ = ["ANSWER", "WantedCall", "choice_schema", "read_choice"]

ANSWER = "answer"
"""Stands for answering in place of a tool's name."""

_LEFT_OUT = {"description", "title", "minLength", "maxLength", "maxItems", "default"}
"""Of a schema: what a grammar can't hold to, or would become slow by. The tool itself checks it."""


class WantedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that the model wants.

    Attributes:
        tool: Its name; `ANSWER` for none.
        arguments: JSON.
    """

    tool: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


def choice_schema(tools: Sequence[Tool[Any]]) -> str:
    """The JSON schema of a choice.

    Args:
        tools: That may be called.
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
            "properties": {"tool": {"const": tool.name}, "arguments": _bare(tool.schema)},
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return json.dumps({"anyOf": [answer, *calls]})


def read_choice(text: str) -> WantedCall | None:
    """Read a choice; `None` where it is none, or was cut off."""
    try:
        return msgspec.json.decode(text.encode("utf-8", "replace"), type=WantedCall)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _bare(schema: Any) -> Any:  # noqa: ANN401  any JSON
    if isinstance(schema, dict):
        kept = {
            key: {name: _bare(each) for name, each in value.items()} if key == "properties" else _bare(value)
            for key, value in schema.items()
            if key not in _LEFT_OUT
        }
        return {**kept, "additionalProperties": False} if kept.get("type") == "object" else kept
    return [_bare(each) for each in schema] if isinstance(schema, list) else schema
