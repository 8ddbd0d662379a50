"""Skills that come as an archive: unpacked into memory alone, without trusting a word of what it says of itself.

Names that lead elsewhere, links, devices, encrypted members and whatever unpacks to more than a skill may have are
refused; what an archive claims of its sizes isn't relied on.
"""

import bz2
import io
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from skills.errors import SkillRefused
from skills.tree import MOST_BYTES, MOST_FILES, add, check_name

__all__ = ["read_archive"]

_MOST_PACKED = 20 << 20
_ENCRYPTED = 0x1
_KIND_SHIFT, _KIND_MASK = 16, 0o170000
_REGULAR = 0o100000
_XZ_MEMORY = 64 << 20
_UNPACKED = MOST_BYTES + (MOST_FILES << 10)  # with what tar puts around each file


def read_archive(path: Path) -> tuple[str, dict[str, bytes]]:
    """Read the files of the one skill in an archive: `.zip`, `.tar`, or `.tar` packed by gzip, bzip2 or xz.

    Returns:
        The name of the skill's folder, and its files by their names in it.

    Raises:
        SkillRefused: it can't be read, isn't an archive, or holds what a skill may not.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SkillRefused(f"{path} is neither a folder nor a file.")
            data = file.read(_MOST_PACKED + 1)
    except OSError as error:
        raise SkillRefused(f"{path} can't be read: {error.strerror}.") from error
    if len(data) > _MOST_PACKED:
        raise SkillRefused(f"{path} is larger than {_MOST_PACKED >> 20} MiB.")
    members = _from_zip if zipfile.is_zipfile(io.BytesIO(data)) else _from_tar
    files: dict[str, bytes] = {}
    try:
        for name, content in members(data):
            check_name(name)
            add(files, name, content)
    except _BROKEN as error:
        raise SkillRefused(f"{path} is damaged, or no archive of a kind that is known.") from error
    return _folder_of(files, path.name)


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting for somebody who writes into a pipe of that name."""
    return os.open(path, flags | os.O_NONBLOCK)


_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
)
"""What the standard library raises at archives that somebody made up."""


def _from_zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if len(archive.infolist()) > 2 * MOST_FILES:
            raise SkillRefused(f"The archive has more than {2 * MOST_FILES} members.")
        for member in archive.infolist():
            kind = member.external_attr >> _KIND_SHIFT & _KIND_MASK
            if member.filename.endswith("/"):  # `is_dir` raises where there is no name
                continue
            if kind not in (0, _REGULAR):
                raise SkillRefused("The archive holds a link, or what is no file.")
            if member.flag_bits & _ENCRYPTED:
                raise SkillRefused("The archive is encrypted.")
            with archive.open(member) as file:
                yield member.filename, file.read(MOST_BYTES + 1)


def _from_tar(data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(_unpacked(data)), mode="r:") as archive:
        for number, member in enumerate(archive):
            if number > 2 * MOST_FILES:
                raise SkillRefused(f"The archive has more than {2 * MOST_FILES} members.")
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise SkillRefused("The archive holds a link, or what is no file.")
            file = archive.extractfile(member)
            # `tar -cf x.tar ./skill` names them so.
            yield member.name.removeprefix("./"), file.read(MOST_BYTES + 1) if file else b""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, most: int, /) -> bytes: ...


_PACKED: dict[bytes, Callable[[], _Decompressor]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}


def _unpacked(data: bytes) -> bytes:
    """The tar file itself; by hand, since `tarfile` would unpack whatever a header says at once."""
    for magic, decompressor in _PACKED.items():
        if data.startswith(magic):
            unpacking = decompressor()
            plain = unpacking.decompress(data, _UNPACKED + 1)
            if len(plain) > _UNPACKED:
                raise SkillRefused(f"A skill may have {MOST_BYTES >> 20} MiB of files, and this has more.")
            if not unpacking.eof:
                raise EOFError
            return plain
    return data


def _folder_of(files: dict[str, bytes], archive: str) -> tuple[str, dict[str, bytes]]:
    """Take the one folder off that everything lies in."""
    folders = {name.split("/", 1)[0] for name in files}
    if len(folders) != 1 or any("/" not in name for name in files):
        raise SkillRefused(f"{archive} has to hold one folder, the skill's, and nothing beside it.")
    (folder,) = folders
    return folder, {name.removeprefix(f"{folder}/"): data for name, data in files.items()}
