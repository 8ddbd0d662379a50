"""What a person names is read within bounds; what merely lies in a folder is left out where it can't be."""

import os
from pathlib import Path

import pytest

from skills.bundled import reading
from skills.bundled.reading import read_sources
from skills.errors import InputRefused


def test_a_file_and_the_texts_of_a_folder_are_read_once_each(tmp_path: Path) -> None:
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / "notes" / "a.txt").write_text("one")
    (tmp_path / "notes" / "deep" / "b.md").write_bytes("zwei".encode("utf-16"))
    (tmp_path / "notes" / "picture.png").write_bytes(b"\x89PNG\x00\xff")
    (tmp_path / "notes" / ".hidden").write_text("no")
    (tmp_path / "secret.txt").write_text("no")
    (tmp_path / "notes" / "link.txt").symlink_to(tmp_path / "secret.txt")
    read = read_sources([tmp_path / "notes" / "a.txt", tmp_path / "notes"])
    assert [source.text for source in read.sources] == ["one", "zwei"]
    assert read.notices == ("2 files left out, being no readable text: link.txt, picture.png.",)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"text\x00more", b"caf\xe9", b"\x89PNG\r\n\x1a\n\x00"])
def test_a_file_that_is_named_has_to_be_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputRefused, match="not"):
        read_sources([tmp_path / "file"])


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(InputRefused):
            read_sources([path])


def test_controls_of_a_terminal_do_not_come_in(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J.txt"
    path.write_text("\x1b]52;c;eA==\x07hello\u202e")
    (source,) = read_sources([path]).sources
    assert "\x1b" not in source.name + source.text
    assert source.text == "]52;c;eA==hello"


def test_there_are_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    monkeypatch.setattr(reading, "MOST_FILES", 2)
    (tmp_path / "long").write_text("x" * 11)
    with pytest.raises(InputRefused, match="too large"):
        read_sources([tmp_path / "long"])
    folder = tmp_path / "many"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_text("x")
    with pytest.raises(InputRefused, match="more than 2 files"):
        read_sources([folder])


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing"
    path.write_text("before")
    look = os.fstat
    looks = 0

    def write_after_the_first_look(descriptor: int) -> os.stat_result:
        nonlocal looks
        looks += 1
        seen = look(descriptor)
        if looks == 1:
            path.write_text("and after")
        return seen

    monkeypatch.setattr(os, "fstat", write_after_the_first_look)
    with pytest.raises(InputRefused, match="changed while it was read"):
        read_sources([path])
