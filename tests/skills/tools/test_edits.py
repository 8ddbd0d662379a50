"""Changing files: whole or not at all, and never another one than was agreed to."""

import os
import stat
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skills.errors import ToolFailed
from skills.tools.edits import edit_tools
from skills.tools.tool import Plan, Running

RUNNING = Running(threading.Event())


def planned(folder: Path, tool: str, **arguments: object) -> Plan:
    tools: dict[str, Any] = {made.name: made for made in edit_tools(lambda: [folder])}
    given = tools[tool].read(msgspec.json.encode(arguments))
    plan = tools[tool].plan(given, tools[tool].about(given))
    assert isinstance(plan, Plan)
    return plan


def test_a_new_file_is_private_and_says_so_beforehand(tmp_path: Path) -> None:
    plan = planned(tmp_path, "write_file", path="new.txt", text="hello\n")
    assert plan.action == f"write the new file {tmp_path / 'new.txt'} (6 bytes)"
    assert plan.details == "--- before\n+++ after\n@@ -0,0 +1 @@\n+hello"
    assert not (tmp_path / "new.txt").exists()
    plan.work(RUNNING)
    assert (tmp_path / "new.txt").read_text() == "hello\n"
    assert stat.S_IMODE((tmp_path / "new.txt").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["new.txt"]


def test_a_changed_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one two\n")
    path.chmod(0o640)
    planned(tmp_path, "edit_file", path="a.txt", old="two", new="three").work(RUNNING)
    assert path.read_text() == "one three\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_hard_link_elsewhere_keeps_what_it_had(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.txt").write_text("kept")
    os.link(tmp_path / "elsewhere.txt", tmp_path / "a.txt")
    planned(tmp_path, "write_file", path="a.txt", text="new").work(RUNNING)
    assert (tmp_path / "elsewhere.txt").read_text() == "kept"


@pytest.mark.parametrize(("text", "times"), [("one", 0), ("one one", 2)])
def test_a_text_that_isnt_there_once_isnt_replaced(tmp_path: Path, text: str, times: int) -> None:
    (tmp_path / "a.txt").write_text(text.replace("one", "one") if times else "none of it")
    old = "one" if times else "absent"
    with pytest.raises(ToolFailed, match=f"{times} times"):
        planned(tmp_path, "edit_file", path="a.txt", old=old, new="x")


def test_a_file_that_appeared_in_between_isnt_written_over(tmp_path: Path) -> None:
    plan = planned(tmp_path, "write_file", path="new.txt", text="mine")
    (tmp_path / "new.txt").write_text("theirs")
    with pytest.raises(ToolFailed, match="changed in between"):
        plan.work(RUNNING)
    assert (tmp_path / "new.txt").read_text() == "theirs"


def test_a_link_that_appeared_in_between_leads_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "granted"
    folder.mkdir()
    plan = planned(folder, "write_file", path="new.txt", text="mine")
    (folder / "new.txt").symlink_to(outside / "made")
    with pytest.raises(ToolFailed):
        plan.work(RUNNING)
    assert os.listdir(outside) == []


def test_what_nobody_could_see_in_the_difference_isnt_written(tmp_path: Path) -> None:
    for text in ("a\u202eb", "a\x1b[8mb", "a\u200bb", "run('\ufe00\ufe01')", "a\ufe0f\ufe0e", "\u2764\ufe0f\ufe0e"):
        with pytest.raises(ToolFailed, match="invisible"):
            planned(tmp_path, "write_file", path="a.txt", text=text)
    with pytest.raises(ToolFailed, match="look through"):
        planned(tmp_path, "write_file", path="a.txt", text="\n".join(map(str, range(1000))))


def test_what_nobody_would_see_move_is_shown(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("# a\u202eb\nrun(ab)\n")
    plan = planned(tmp_path, "write_file", path="a.py", text="# ab\nrun(a\u202eb)\n")
    assert "+run(a⟨U+202E⟩b)" in plan.details


def test_a_sign_that_an_emoji_is_chosen_by_may_be_written(tmp_path: Path) -> None:
    text = "\u2764\ufe0f and 1\ufe0f\u20e3"
    planned(tmp_path, "write_file", path="a.txt", text=text).work(RUNNING)
    assert (tmp_path / "a.txt").read_text() == text


def test_two_plans_stand_on_the_same_only_when_the_file_does(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    first = planned(tmp_path, "write_file", path="a.txt", text="x").basis
    assert planned(tmp_path, "write_file", path="a.txt", text="x").basis == first
    (tmp_path / "a.txt").write_text("two")
    assert planned(tmp_path, "write_file", path="a.txt", text="x").basis != first


def test_line_ends_that_change_can_be_seen(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    plan = planned(tmp_path, "write_file", path="a.txt", text="one\ntwo\n")
    assert "-one␍" in plan.details
    assert "+one" in plan.details
    (tmp_path / "b.txt").write_text("one")
    assert "-one⏹\n+one" in planned(tmp_path, "write_file", path="b.txt", text="one\n").details


def test_a_file_of_another_system_or_with_joined_signs_can_be_edited(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\r\nfamily \U0001f468\u200d\U0001f469\r\n".encode())
    planned(tmp_path, "edit_file", path="a.txt", old="one", new="two").work(RUNNING)
    assert (tmp_path / "a.txt").read_bytes() == "two\r\nfamily \U0001f468\u200d\U0001f469\r\n".encode()
