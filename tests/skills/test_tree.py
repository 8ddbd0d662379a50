"""A skill's files: read once, bounded, without links; and the digest that any change changes."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills import tree
from skills.errors import SkillRefused
from skills.sandbox.job import Job
from skills.tree import add, check_name, digest, read_folder

FILES = {"SKILL.md": b"# one", "scripts/run.py": b"print(1)", "assets/logo.bin": bytes(range(256))}


def laid_out(folder: Path) -> Path:
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_all_files_are_read_by_their_names(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "skill")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"not the skill's")
    assert read_folder(folder) == FILES


@pytest.mark.parametrize(
    "change",
    [
        {"SKILL.md": b"# two"},
        {"new": b""},
        {"scripts/run.py": None},
        {"scripts/run.py": None, "scripts/ran.py": b"print(1)"},
        {"SKILL.md": b"# onescripts"},
    ],
)
def test_any_change_changes_the_digest(change: dict[str, bytes | None]) -> None:
    changed = {name: data for name, data in {**FILES, **change}.items() if data is not None}
    assert digest(changed) != digest(FILES)
    assert digest(dict(reversed(FILES.items()))) == digest(FILES)


@pytest.mark.parametrize("what", ["link to a file", "link to a folder", "pipe", "socket-like"])
def test_what_is_no_file_of_its_own_is_refused(tmp_path: Path, what: str) -> None:
    folder = laid_out(tmp_path / "skill")
    (tmp_path / "outside").mkdir()
    match what:
        case "link to a file":
            (folder / "link").symlink_to("/etc/passwd")
        case "link to a folder":
            (folder / "link").symlink_to(tmp_path / "outside")
        case _:
            os.mkfifo(folder / "pipe")
    with pytest.raises(SkillRefused, match="link, or no file"):
        read_folder(folder)


def test_more_than_a_skill_may_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = laid_out(tmp_path / "skill")
    monkeypatch.setattr(tree, "MOST_FILES", 2)
    with pytest.raises(SkillRefused, match="2 files"):
        read_folder(folder)
    monkeypatch.undo()
    monkeypatch.setattr(tree, "MOST_BYTES", 200)
    with pytest.raises(SkillRefused, match="files, and this has more"):
        read_folder(folder)


def test_names_that_differ_in_capitals_alone_are_refused(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "skill")
    (folder / "skill.MD").write_bytes(b"")
    with pytest.raises(SkillRefused, match="capitals"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../x", "leads out"),
        ("/x", "leads out"),
        ("a/../../x", "leads out"),
        ("a\\x", "leads out"),
        ("scripts/./a.py", "plainest"),
        ("scripts//a.py", "plainest"),
        ("./a.py", "plainest"),
        ("scripts/", "plainest"),
        ("a\nb", "control"),
        ("a\0b", "control"),
        ("a\u202eb", "invisible"),
        ("caf\udce9.py", "UTF-8"),
        ("ä" * 128, "255 bytes"),
        ("x/" + "x" * 199, "too long"),
        ("a/" * 9 + "x", "too many folders"),
        ("", "empty"),
    ],
)
def test_names_that_lead_out_or_deceive_are_refused(name: str, why: str) -> None:
    with pytest.raises(SkillRefused, match=why):
        check_name(name)


def test_a_name_on_the_disk_that_is_no_text_is_called_that(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "skill")
    try:
        (folder / os.fsdecode(b"caf\xe9.py")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(SkillRefused, match="isn't UTF-8"):
        read_folder(folder)


@given(st.text(max_size=20))
def test_a_name_that_is_taken_stays_in_the_folder_and_is_its_only_spelling(name: str) -> None:
    try:
        check_name(name)
    except SkillRefused:
        return
    assert os.path.normpath(os.path.join("/skill", name)) == f"/skill/{name}"


_PARTS = ["a", "A", "é", "e\u0301", ".", "..", "", "_a", ".a", "-", "a b", "ß", "ss", "\udcff", "\t", "\\"]


@given(st.lists(st.lists(st.sampled_from(_PARTS) | st.text(max_size=3), max_size=4).map("/".join), max_size=6))
def test_what_is_taken_can_be_run(names: list[str]) -> None:
    files: dict[str, bytes] = {}
    for name in names:
        with contextlib.suppress(SkillRefused):
            check_name(name)
            add(files, name, b"")
    Job(("cat",), {f"skill/{name}": data for name, data in files.items()}).check()


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("a", "a/b", "a file and a folder"),
        ("A/b", "a", "a file and a folder"),
        ("é", "e\u0301", "Two files"),
    ],
)
def test_files_that_cant_lie_beside_each_other_everywhere_are_refused(first: str, second: str, why: str) -> None:
    files: dict[str, bytes] = {}
    add(files, first, b"")
    with pytest.raises(SkillRefused, match=why):
        add(files, second, b"")


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SkillRefused, match="can't be read"):
        read_folder(tmp_path / "missing")
