"""How the progress of long work is shown."""

import os
import sys

import pexpect
import pytest

from cli.console import Console
from cli.model_progress import Display


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("cli.model_progress.time.monotonic", clock)
    return clock


def test_quick_work_shows_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(Console())
    for done in range(10):
        display("Copying", done * 10**6, 10**7)
        clock.now += 0.1
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_is_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(Console())
    for done in range(200):
        display("Pulling", done * 1_200_000, 960_000_000)
        clock.now += 0.125  # of which sums are exact
    assert capsys.readouterr() == ("", "Pulling: 96 of 960 MB\nPulling: 192 of 960 MB\n")


def test_an_unknown_total_is_left_out(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(Console())
    display("Pulling", 0, None)
    clock.now += 11
    display("Pulling", 5 * 10**6, None)
    assert capsys.readouterr().err == "Pulling: 5 MB\n"


def test_in_a_terminal_there_is_a_bar_that_goes_away() -> None:
    code = (
        "import time, itertools\n"
        "time.monotonic = itertools.count(0, 5).__next__\n"
        "from cli.console import Console\n"
        "from cli.model_progress import showing_progress\n"
        "with showing_progress(Console()) as progress:\n"
        "    for done in range(5): progress('Pulling', done * 10**6, 4 * 10**6)\n"
        "print('done')\n"
    )
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    with pexpect.spawn(
        sys.executable,
        ["-c", code],
        env=environment,
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 100),
    ) as child:
        child.expect_exact("Pulling")
        child.expect_exact("4.0/4.0 MB")
        child.expect_exact("done")
        child.expect(pexpect.EOF)
