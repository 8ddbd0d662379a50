"""How work is shown that has no bytes to count."""

import os
import sys

import pexpect
import pytest

from cli.console import Console
from cli.working import Working


def test_without_a_terminal_there_is_a_line_after_a_second_and_then_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("cli.working.time.monotonic", lambda: now)
    with Working(Console(), "checking") as working:
        for done in range(0, 20_000, 1000):
            working("fields", done, 20_000)
            now += 0.625
        working("pages", 3, None)
    assert capsys.readouterr() == ("", "fields: 2,000 of 20,000\nfields: 19,000 of 20,000\n")


def test_in_a_terminal_there_is_a_bar_that_goes_away_also_while_one_call_takes_long() -> None:
    code = (
        "import cli.working; cli.working._SILENT_S = 0\n"
        "from cli.console import Console\n"
        "with cli.working.Working(Console(), 'erasing') as working:\n"
        "    input()\n"
        "    working('sealed fields', 1, 2)\n"
        "    input()\n"
        "print('done')\n"
    )
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    with pexpect.spawn(
        sys.executable, ["-c", code], env=environment, encoding="utf-8", timeout=60, dimensions=(24, 100)
    ) as child:
        for shown in ("erasing", "sealed fields"):
            child.expect_exact(shown)
            child.sendline()
        child.expect_exact("done")
        child.expect(pexpect.EOF)
