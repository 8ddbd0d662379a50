"""Exact arithmetic, and nothing but arithmetic."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.errors import ToolFailed
from skills.tools.arithmetic import calculate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("17 * 23", "391"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "1/3, which is about 0.333333333333"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("2 ** -2", "0.25"),
        ("2^10", "1024"),
        ("(1 + 2) * -3", "-9"),
        ("1_000 * 1e-3", "1"),
        ("19.99 * 3", "59.97"),
        ("2**100", "1267650600228229401496703205376"),
        ("-1/8", "-0.125"),
    ],
)
def test_the_value_is_exact(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9**9",
        "10**100000",
        "1e999999999",
        "1e-999999999",
        "(1e3000)**9",
        "1/0",
        "5 % 0",
        "0 ** -1",
        "2 ** 0.5",
        "__import__('os')",
        "().__class__",
        "x",
        "1 if 1 else 2",
        "[1][0]",
        "'a' * 3",
        "True + 1",
        "1j",
        "0x10",
        "lambda: 1",
        "1; 2",
        "",
        "(" * 200 + ")" * 200,
        "1" * 400,
        "f'{1}'",
        "1 < 2",
        "\0",
    ],
)
def test_anything_else_is_refused_at_once(expression: str) -> None:
    with pytest.raises(ToolFailed):
        calculate(expression)


@given(st.text(max_size=120))
def test_no_text_breaks_it(text: str) -> None:
    with contextlib.suppress(ToolFailed):
        calculate(text)


@given(st.text(alphabet="0123456789.+-*/%() eE_", max_size=60))
def test_no_expression_breaks_it(text: str) -> None:
    with contextlib.suppress(ToolFailed):
        calculate(text)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6), st.integers(-(10**9), 10**9))
def test_a_written_fraction_is_the_value(a: int, b: int, c: int) -> None:
    written = calculate(f"({a}) / {b} + {c}").split(",")[0]
    assert Fraction(written) == Fraction(a, b) + c
