"""A skill's files: read once, bounded, without links; and the digest that any change changes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills import tree
from skills.errors import SkillRefused
from skills.tree import check_name, digest, read_folder

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
    "name", ["../x", "/x", "a/../../x", "a\\x", "a\nb", "a\u202eb", "x" * 201, "a/" * 9 + "x", ""]
)
def test_names_that_lead_out_or_deceive_are_refused(name: str) -> None:
    with pytest.raises(SkillRefused):
        check_name(name)


@given(st.text(max_size=20))
def test_a_name_that_is_taken_stays_in_the_folder(name: str) -> None:
    try:
        check_name(name)
    except SkillRefused:
        return
    assert os.path.normpath(os.path.join("/skill", name)).startswith("/skill/")


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SkillRefused, match="can't be read"):
        read_folder(tmp_path / "missing")
