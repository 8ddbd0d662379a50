"""Where conversations are imported from: a file, a ChatGPT archive, or what was unpacked from one."""

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from vault.errors import ImportRefused
from vault.portability.files import open_plain
from vault.portability.json_array import elements
from vault.portability.progress import Steps

__all__ = ["MAX_RATIO", "MAX_UNPACKED", "conversation_elements"]

MAX_UNPACKED = 8 * 2**30
"""Most bytes that are unpacked from an archive."""

MAX_RATIO = 200
"""Text packs ten times smaller, or twenty; what unpacks to more than this is a bomb."""

_WANTED = re.compile(r"conversations(-\d+)?\.json")
_ZIP_MAGIC = b"PK"
_PIECE = 1 << 16
_HEADROOM = 1 << 20
_DOING = "Importing"
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def conversation_elements(path: Path, steps: Steps) -> Iterator[tuple[str, bytes]]:
    """Each conversation's JSON, with where it stands.

    Args:
        path: A `conversations.json`, a ChatGPT archive that holds some, or a folder that does.
        steps: Told how far it is.

    Raises:
        ImportRefused: it is none of these, or an archive that no honest program packs.
    """
    try:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if _WANTED.fullmatch(file.name))
            if not files:
                raise ImportRefused(
                    f"{path} holds neither an export of ours nor one of ChatGPT's.",
                    hint="There would be a manifest.json, or a conversations.json.",
                )
            for file in files:
                yield from _numbered(file.name, _file_pieces(file, steps))
            return
        with open_plain(path) as opened:
            packed = opened.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
        yield from _archive(path, steps) if packed else _numbered(path.name, _file_pieces(path, steps))
    except OSError as error:
        raise ImportRefused(f"{path} can't be read: {error.strerror or error}.") from error


def _numbered(name: str, pieces: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    try:
        for number, element in enumerate(elements(pieces), 1):
            yield f"{name}, conversation {number}", element
    except ImportRefused as error:
        raise ImportRefused(f"{name}: {error.message}", hint=error.hint) from None


def _file_pieces(path: Path, steps: Steps) -> Iterator[bytes]:
    with open_plain(path) as file:
        size, done = path.stat().st_size, 0
        while piece := file.read(_PIECE):
            done += len(piece)
            steps.tell(_DOING, done, size)
            yield piece


def _archive(path: Path, steps: Steps) -> Iterator[tuple[str, bytes]]:
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            members = [info for info in archive.infolist() if _WANTED.fullmatch(info.filename.rpartition("/")[2])]
        except _UNREADABLE as error:
            raise ImportRefused(f"{path.name} is no archive that can be read.") from error
        if not members:
            raise ImportRefused(f"{path.name} holds no conversations.json.", hint="Name ChatGPT's export archive.")
        unpacked = 0
        for info in sorted(members, key=lambda info: info.filename):
            unpacked += info.file_size
            if unpacked > MAX_UNPACKED or info.flag_bits & 1:
                why = "is encrypted" if info.flag_bits & 1 else f"unpacks to more than {MAX_UNPACKED >> 30} GiB"
                raise ImportRefused(f"{path.name} {why}.", hint="Unpack it yourself and import conversations.json.")
            yield from _numbered(info.filename.rpartition("/")[2], _member_pieces(archive, info, steps))


def _member_pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo, steps: Steps) -> Iterator[bytes]:
    done = 0
    try:
        with archive.open(info) as member:
            while piece := member.read(_PIECE):
                done += len(piece)
                if done > _HEADROOM + MAX_RATIO * info.compress_size:
                    raise ImportRefused(f"it unpacks to more than {MAX_RATIO} times its size; that is no text.")
                steps.tell(_DOING, done, info.file_size)
                yield piece
    except _UNREADABLE as error:
        raise ImportRefused("the archive is damaged, or packed in a way that isn't known here.") from error
