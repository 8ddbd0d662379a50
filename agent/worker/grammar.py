"""Grammars (GBNF) that a reply is held to: of a JSON schema, and of calls of tools in a model's own form."""

import json
from collections.abc import Sequence
from typing import Any

from agent.worker.protocol import OfferedTool

__all__ = ["CALL_BEGINS", "CALL_ENDS", "SPACE_BEFORE", "SchemaFailed", "bare", "grammar_of", "grammar_of_calls"]

CALL_BEGINS, CALL_ENDS = "<tool_call>", "</tool_call>"
"""Around a call, in the form that the Hermes models brought in (NousResearch/Hermes-Function-Calling)."""

SPACE_BEFORE = " \n"
"""What may stand before a reply, call or text, without being part of it."""

_STRING_CHARACTER = r"""[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})"""
_POSITIVE = "[1-9] [0-9]{0,15}"
_LEFT_OUT = {"description", "title", "maxLength", "maxItems", "default"}
"""Of a schema: what a grammar can't hold to, or would become slow by. The tool itself checks it."""


class SchemaFailed(Exception):
    """A JSON schema can't be turned into a grammar; the text says why."""


def grammar_of(schema: str) -> str:
    """The GBNF grammar of a JSON schema.

    Raises:
        SchemaFailed: it is no schema that can be turned into one.
    """
    try:
        return _rules(json.loads(schema), "")
    except Exception as error:
        raise SchemaFailed(f"the JSON schema can't be used: {type(error).__name__}") from error


def grammar_of_calls(tools: Sequence[OfferedTool]) -> str:
    """The GBNF grammar of a reply by a model that may call tools in the Hermes form.

    It is one call, with arguments that fit the tool's schema, and nothing else; or a text that doesn't begin as a
    call does. What a text says further on is up to the model.

    Args:
        tools: At least one.

    Raises:
        SchemaFailed: their schemas can't be turned into a grammar.
    """
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": bare(tool.parameters)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    try:
        rules = _rules({"anyOf": calls}, "wanted")
    except Exception as error:
        raise SchemaFailed(f"the schemas of the tools can't be used: {type(error).__name__}") from error
    space = SPACE_BEFORE.replace("\n", "\\n")
    return "\n".join(
        [
            rules,
            f"root ::= [{space}]{{0,2}} (call | text)",
            f'call ::= "{CALL_BEGINS}" [{space}]{{0,2}} wanted [{space}]{{0,2}} "{CALL_ENDS}"',
            f"text ::= {_unlike(CALL_BEGINS, space)}",
            r"rest ::= [^\x00]*",
        ]
    )


def bare(schema: Any) -> Any:  # noqa: ANN401  any JSON
    """A schema without what a grammar can't hold to, whose objects have no other fields than theirs."""
    if isinstance(schema, dict):
        kept = {
            key: {name: bare(each) for name, each in value.items()} if key == "properties" else bare(value)
            for key, value in schema.items()
            if key not in _LEFT_OUT
        }
        return {**kept, "additionalProperties": False} if kept.get("type") == "object" else kept
    return [bare(each) for each in schema] if isinstance(schema, list) else schema


def _unlike(beginning: str, never_first: str) -> str:
    """Any text that begins with neither `beginning` nor one of some characters."""
    rule = ""
    for character in reversed(beginning):
        further = f' | "{character}" {rule}' if rule else ""
        rule = f"([^{character}] rest{further})?"
    return rule.replace(f"([^{beginning[0]}]", f"([^{beginning[0]}{never_first}]", 1)


def _rules(schema: Any, name: str) -> str:  # noqa: ANN401  any JSON
    from llama_cpp.llama_grammar import BuiltinRule, SchemaConverter

    class Converter(SchemaConverter):  # type: ignore[misc]
        """llama-cpp-python's, whose replies aren't always JSON of that schema, set right.

        Escapes in constants and names stay escapes, strings hold no raw control characters, and whole numbers that
        begin at 0 or 1 do.
        """

        def visit(self, schema: Any, name: str) -> str:  # noqa: ANN401  any JSON
            least = schema.get("minimum") if schema.get("type") == "integer" else None
            if least in (0, 1) and not schema.keys() & {"enum", "const"}:
                numbers = _POSITIVE if least else f'("0" | {_POSITIVE})'
                return str(self._add_rule(name or "root", f"{numbers} space"))
            return str(super().visit(schema, name))

        def _add_primitive(self, name: str, rule: object) -> str:
            own = BuiltinRule(_STRING_CHARACTER, []) if name == "char" else rule
            return str(super()._add_primitive(name, own))

        def _format_literal(self, literal: str) -> str:
            return str(super()._format_literal(literal.replace("\\", "\\\\")))

        def _generate_constant_rule(self, value: object) -> str:
            return self._format_literal(json.dumps(value, ensure_ascii=False))

    converter = Converter(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    converter.visit(converter.resolve_refs(schema, "stdin"), name)
    return str(converter.format_grammar())
