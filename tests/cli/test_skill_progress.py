"""The progress of a run, as lines where there is no terminal."""

import time

import pytest

from cli import skill_progress
from cli.console import Console
from cli.skill_progress import RunProgress
from vault.home import Home


def test_lines_say_how_far_it_is_and_what_is_left(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with RunProgress(Console(home)) as progress:
        for done in range(41):
            now[0] = 5.0 * done
            progress("summarizing", done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "summarizing: 2 of 100, about 8 min left"
    assert lines[-1] == "summarizing: 40 of 100, about 5 min left"
    assert len(lines) == 20


def test_steps_whose_answers_were_known_say_nothing_about_the_time(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(skill_progress, "_LINE_EVERY_S", 0.0)
    with RunProgress(Console(home)) as progress:
        for done in range(50):
            progress("summarizing", done, 60)
            progress.knew()
        for done in range(50, 53):
            now[0] += 2.0
            progress("summarizing", done, 60)
    assert capsys.readouterr().err.splitlines()[-1] == "summarizing: 52 of 60, about 16 s left"
