"""Skills from archives: what is taken, and every trick that isn't."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skills.archive import read_archive
from skills.errors import SkillRefused
from skills.tree import MOST_BYTES

FILES = {"SKILL.md": b"# one", "scripts/run.py": b"print(1)"}


def zipped(members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda _: None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            archive.writestr(info, data)
    return out.getvalue()


def tarred(members: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            change(info)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(tmp_path: Path, data: bytes) -> tuple[str, dict[str, bytes]]:
    path = tmp_path / "skill.archive"
    path.write_bytes(data)
    return read_archive(path)


def inside(folder: str = "skill") -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in FILES.items()}


@pytest.mark.parametrize(
    "pack",
    [
        zipped,
        tarred,
        lambda members: gzip.compress(tarred(members)),
        lambda members: bz2.compress(tarred(members)),
        lambda members: lzma.compress(tarred(members)),
        lambda members: tarred({f"./{name}": data for name, data in members.items()}),
    ],
)
def test_the_one_folder_in_it_is_the_skill(tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]) -> None:
    assert read(tmp_path, pack(inside())) == ("skill", FILES)


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    "members",
    [
        {"skill/../../outside": b""},
        {"/etc/passwd": b""},
        {"skill/a\\..\\b": b""},
        {"skill/SKILL.md": b"", "other/SKILL.md": b""},
        {"SKILL.md": b""},
        {"skill/a": b"", "skill/A": b""},
        {"skill/a": b"", "skill/a/b": b""},
        {"skill/a": b"", "skill/./a": b"", "skill//a": b""},
        {"": b"", **{f"skill/{name}": data for name, data in FILES.items()}},
        {"skill/a\u202eb": b""},
        {},
        {f"skill/{number}": b"" for number in range(501)},
        {"skill/a": bytes(MOST_BYTES // 2), "skill/b": bytes(MOST_BYTES // 2 + 1)},
        {"skill/bomb": bytes(MOST_BYTES + 1)},
    ],
)
def test_what_leads_out_or_is_more_than_a_skill_is_refused(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes], members: dict[str, bytes]
) -> None:
    with pytest.raises(SkillRefused):
        read(tmp_path, pack(members))
    assert [file.name for file in tmp_path.iterdir()] == ["skill.archive"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE]
)
def test_a_member_of_a_tar_that_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type = kind
        info.linkname = "/etc/passwd"

    with pytest.raises(SkillRefused):
        read(tmp_path, tarred({"skill/link": b""}, change))


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16

    with pytest.raises(SkillRefused, match="link"):
        read(tmp_path, zipped({"skill/link": b"/etc/passwd"}, change))


def test_a_pipe_is_refused_without_waiting_for_what_comes_through_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SkillRefused, match="neither a folder nor a file"):
        read_archive(tmp_path / "pipe")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_is_refused_before_it_unfolds(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    # A header that says: the next 100 MiB are about the next file.
    header = tarfile.TarInfo("skill/pax")
    header.type, header.size = tarfile.XHDTYPE, 100 << 20
    bomb = pack(header.tobuf(tarfile.USTAR_FORMAT) + bytes(100 << 20))
    with pytest.raises(SkillRefused, match="MiB"):
        read(tmp_path, bomb)


def test_a_size_that_a_zip_lies_about_gains_nothing(tmp_path: Path) -> None:
    data = zipped({"skill/a": bytes(MOST_BYTES + 1)})
    claimed = (MOST_BYTES + 1).to_bytes(4, "little")
    with pytest.raises(SkillRefused):
        read(tmp_path, data.replace(claimed, (10).to_bytes(4, "little")))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.sampled_from([zipped(inside()), tarred(inside()), gzip.compress(tarred(inside()))]), st.data())
def test_an_altered_archive_is_read_or_refused(tmp_path: Path, archive: bytes, data: st.DataObject) -> None:
    altered = bytearray(archive)
    for _ in range(data.draw(st.integers(1, 8))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(altered)))
    for candidate in (bytes(altered), bytes(altered[:cut])):
        try:
            _, files = read(tmp_path, candidate)
        except SkillRefused:
            continue
        assert sum(map(len, files.values())) <= MOST_BYTES
