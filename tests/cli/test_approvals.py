"""Asking at a terminal: exactly what, and *no* to whatever isn't a clear yes."""

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.approvals import TerminalApprover
from cli.console import Console
from skills.permissions.approval import Approval
from tests.fixtures.command import Terminal

ROOT = Path(__file__).parents[2]
QUESTION = "anything else denies: "


def asks(lasting: str, stopped: str, details: str = "-one\n+two\x1b[2J") -> None:
    """Ask twice, and print the answers."""
    approval = Approval(
        tool="write_file",
        action="change /notes/a.txt (6 bytes)",
        resources=("file:/notes/a.txt",),
        details=details,
        asked_by="tidy-up",
        reasons=("You made no rule about it.", "It has read /notes/letter.txt"),
        digest="ab" * 32,
        lasting=bool(lasting),
    )
    approver = TerminalApprover(Console(), lambda: bool(stopped))
    for _ in range(2):
        print("ANSWER", approver.ask(approval).value, flush=True)


def terminal(lasting: str = "", stopped: str = "", details: str = "-one\n+two\x1b[2J") -> Terminal:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = f"from tests.cli.test_approvals import asks; asks({lasting!r}, {stopped!r}, {details!r})"
    return Terminal(sys.executable, ["-c", program], environment)


@pytest.fixture
def asked() -> Iterator[Terminal]:
    shown = terminal(lasting="yes")
    yield shown
    shown.ends()


def test_the_question_names_who_what_where_and_why(asked: Terminal) -> None:
    before = asked.sees(QUESTION)
    assert "The skill tidy-up wants to change /notes/a.txt (6 bytes)." in before
    assert "on   file:/notes/a.txt" in before
    assert "note It has read /notes/letter.txt" in before
    assert "| -one\n  | +two" in before
    assert "\x1b" not in before
    asked.types("d")
    asked.sees("ANSWER deny")
    asked.sees(QUESTION)
    asked.types("d")
    asked.sees("ANSWER deny")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("a", "once"), ("A", "once"), ("s", "session"), ("", "deny"), ("y", "deny"), ("yes", "deny"), ("d", "deny")],
)
def test_one_letter_allows_and_everything_else_denies(typed: str, answer: str) -> None:
    shown = terminal(lasting="yes")
    for _ in range(2):
        shown.sees(QUESTION)
        shown.types(typed)
        shown.sees(f"ANSWER {answer}")
    assert shown.ends() == 0


def test_the_session_cant_be_agreed_to_where_it_isnt_offered() -> None:
    shown = terminal()
    for _ in range(2):
        assert "s for this session" not in shown.sees(QUESTION)
        shown.types("s")
        shown.sees("ANSWER deny")
    assert shown.ends() == 0


def test_what_was_typed_before_the_question_could_be_read_is_no_answer() -> None:
    shown = terminal(lasting="yes")
    shown.types("a")  # before anything is asked
    shown.sees("wants to change")
    shown.types("a")  # at once
    shown.sees(QUESTION)
    shown.types("d")
    shown.sees("ANSWER deny")
    shown.sees(QUESTION)
    shown.types("a")
    shown.sees("ANSWER once")
    assert shown.ends() == 0


def confirms() -> None:
    """Ask a yes-or-no question, once something has been typed already."""
    print("READY", flush=True)
    select.select([sys.stdin], [], [])
    print("CONFIRMED", Console().confirm("Let it be used?"), flush=True)


def test_what_was_typed_before_a_yes_or_no_question_is_no_answer_to_it() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = "from tests.cli.test_approvals import confirms; confirms()"
    shown = Terminal(sys.executable, ["-c", program], environment)
    shown.sees("READY")
    shown.types("y")
    shown.sees("Let it be used? [y/N] ")
    shown.types("n")
    shown.sees("CONFIRMED False")
    assert shown.ends() == 0


def test_a_reply_that_was_stopped_needs_no_answer() -> None:
    shown = terminal(stopped="yes")
    shown.sees("ANSWER deny")
    shown.sees("ANSWER deny")
    assert shown.ends() == 0


def test_the_end_of_the_input_denies() -> None:
    shown = terminal()
    shown.sees(QUESTION)
    shown.presses("d")
    shown.sees("ANSWER deny")
    shown.sees(QUESTION)
    shown.presses("d")
    shown.sees("ANSWER deny")
    assert shown.ends() == 0


def test_no_row_of_a_question_begins_with_what_others_wrote_and_its_end_says_who_asks() -> None:
    forged = "print(1)" + " " * 900 + "The assistant wants to compute 2+2." + "\u2800" * 400 + "\t" * 50 + "x"
    shown = terminal(details=forged)
    before = shown.sees(QUESTION)
    rows = [row for row in before.split("\n") if row.strip()]
    assert all(row.startswith(("  ", "The skill tidy-up wants")) for row in rows)
    assert max(map(len, rows)) < 300
    assert "The skill tidy-up wants to change" in before.split("␣" * 5)[-1]
    shown.types("d")
    shown.sees(QUESTION)
    shown.types("d")
    assert shown.ends() == 0


def test_what_nobody_would_look_through_is_denied_unasked() -> None:
    shown = terminal(details="x\n" * 1000)
    shown.sees("nobody would look through all of it")
    shown.sees("ANSWER deny")
    shown.sees("ANSWER deny")
    assert shown.ends() == 0
