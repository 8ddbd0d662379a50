"""Jinja as chat templates expect it, in its sandbox: their source is by whoever made the model's file."""

import functools
import json
import time
from collections.abc import Sized
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
from jinja2.runtime import Context

__all__ = ["environment"]

_LARGEST_STEP = 1_000_000
_LARGEST_POWER = 64


def environment() -> jinja2.sandbox.SandboxedEnvironment:
    """A sandbox with what Hugging Face's templates expect to find (transformers, chat_template_utils)."""
    sandbox = _Sandbox(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[jinja2.ext.loopcontrols, _Generation],
        autoescape=False,
    )
    sandbox.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
    sandbox.globals["raise_exception"] = _raise_exception
    sandbox.globals["strftime_now"] = time.strftime
    return sandbox


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, and no single step that takes all the memory or time there is."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        for sequence, times in ((left, right), (right, left)):
            repeated = operator == "*" and isinstance(sequence, Sized) and isinstance(times, int)
            if repeated and len(sequence) * times > _LARGEST_STEP:
                raise jinja2.exceptions.SecurityError("it builds a giant text")
        if operator == "**" and not (abs(left) <= _LARGEST_STEP and abs(right) <= _LARGEST_POWER):
            raise jinja2.exceptions.SecurityError("it computes a giant number")
        return super().call_binop(context, operator, left, right)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`: marks, for training, what the model itself says; here it is only its contents."""

    tags = {"generation"}  # noqa: RUF012  as Jinja declares it

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
