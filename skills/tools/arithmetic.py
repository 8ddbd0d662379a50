"""Exact arithmetic: what a language model gets wrong.

An expression is parsed by Python's own parser and evaluated over fractions by walking its tree; nothing of it is
ever executed as a program. Sizes are bounded before anything is computed.
"""

import ast
import re
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated

import msgspec

from skills.errors import ToolFailed
from skills.tools.tool import Arguments, Effect, Plan, Tool
from vault.classes import DataClass
from vault.sanitize import sanitize_line

__all__ = ["arithmetic_tool", "calculate"]

_LONGEST = 300
_MOST_BITS = 12_000
"""Of a number's numerator and denominator; Python writes no larger ones."""
_MOST_EXPONENT = 3_000
_NUMBER = re.compile(r"[0-9_]*\.?[0-9_]*(?:[eE]([+-]?[0-9_]+))?")
_DIGITS = 30
_BINARY: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: lambda a, b: a % b,
}


class Calculate(Arguments, frozen=True):
    """What to compute."""

    expression: Annotated[str, msgspec.Meta(description="such as (17.5 + 3) * 2 ** 10; % is the remainder")]


def arithmetic_tool() -> Tool[Calculate]:
    """The tool that computes."""

    def plan(given: Calculate, _about: object) -> Plan:
        return Plan(f"compute {sanitize_line(given.expression, 120)}", lambda _running: calculate(given.expression))

    return Tool("calculate", "arithmetic", "Compute exactly.", Calculate, Effect.NONE, DataClass.GENERAL, plan)


def calculate(expression: str) -> str:
    """The value of an expression of numbers, `+ - * / // % **` and parentheses: exact, and as a decimal too.

    Raises:
        ToolFailed: it is something else, too large, or divides by zero.
    """
    if len(expression) > _LONGEST:
        raise ToolFailed(f"An expression may have {_LONGEST} characters.")
    source = expression.strip().replace("^", "**")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, about what is no program of ours
            parsed = ast.parse(source, mode="eval").body
        value = _value(parsed, source)
    except ZeroDivisionError:
        raise ToolFailed("That divides by zero.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ToolFailed("That is no expression of numbers and + - * / // % **.") from None
    return _written(value)


def _value(node: ast.expr, source: str) -> Fraction:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError
        case ast.Constant(value=int() | float()):
            # As it is written: 0.1 is a tenth, not the nearest binary number.
            return _number(ast.get_source_segment(source, node) or "")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, source)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, source)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, source), _value(right, source))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return _bounded(_BINARY[type(operator)](_value(left, source), _value(right, source)))
    raise ValueError


def _number(text: str) -> Fraction:
    written = _NUMBER.fullmatch(text)
    if written is None:
        raise ValueError
    if abs(int(written[1] or 0)) > _MOST_EXPONENT:
        raise ToolFailed("That is too large a number.")
    return _bounded(Fraction(text.replace("_", "")))


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ToolFailed("Only whole powers can be computed exactly.")
    if abs(exponent) * max(_bits(base), 1) > _MOST_BITS:
        raise ToolFailed("That is too large a number.")
    return _bounded(base ** int(exponent))


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > _MOST_BITS:
        raise ToolFailed("That is too large a number.")
    return value


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _written(value: Fraction) -> str:
    if value.denominator == 1:
        return _decimal(value, 0)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    exact = _decimal(value, _DIGITS).rstrip("0")
    if rest == 1 and Fraction(exact) == value:
        return exact
    return f"{value.numerator}/{value.denominator}, which is about {_decimal(value, 12)}"


def _decimal(value: Fraction, digits: int) -> str:
    """Rounded to so many digits after the point, halves to even."""
    whole = round(abs(value) * 10**digits)
    sign = "-" if value < 0 and whole else ""
    text = str(whole)
    if not digits:
        return sign + text
    text = text.rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"
