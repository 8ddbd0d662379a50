"""Files and folders that a person names for a skill: read within bounds, checked and made harmless."""

import codecs
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from skills.bundled.task import Source
from skills.errors import InputRefused
from vault.sanitize import sanitize, sanitize_line

__all__ = ["MOST_BYTES", "MOST_FILES", "Read", "read_sources", "read_stream"]

MOST_BYTES = 16 << 20
"""Of all texts together: some thousand hours of talk."""
MOST_FILES = 2000
"""Of all folders together."""
_MOST_LOOKED_AT = 50_000
_SHOWN_NAMES = 3


class Read(NamedTuple):
    """What was read.

    Attributes:
        sources: The texts.
        size: Bytes of the files.
        notices: What the person should know: what was left out of folders.
    """

    sources: tuple[Source, ...]
    size: int
    notices: tuple[str, ...]


class _Unreadable(Exception):
    """Why a file can't be taken, as the end of a sentence."""


def read_stream(stream: BinaryIO, name: str) -> Read:
    """Read a text from a pipe.

    Raises:
        InputRefused: it is too large, or not text.
    """
    try:
        data = stream.read(MOST_BYTES + 1)
        text = _decoded(data)
    except OSError as error:
        raise InputRefused(f"{name} can't be read: {error.strerror}.") from error
    except _Unreadable as why:
        raise InputRefused(f"{name} {why}.") from None
    return Read((Source(name, text),), len(data), ())


def read_sources(paths: Sequence[Path]) -> Read:
    """Read files, and every text file in folders.

    What is named itself has to be readable text. What merely lies in a folder is left out where it isn't, and so is
    what is hidden or a link.

    Raises:
        InputRefused: something named can't be read, or it is too much altogether.
    """
    sources: list[Source] = []
    size = 0
    left_out: list[str] = []
    seen: set[tuple[int, int]] = set()
    for path in paths:
        folder = path.is_dir()
        for file in _files_in(path) if folder else (path,):
            if len(sources) >= MOST_FILES:
                raise InputRefused(f"These are more than {MOST_FILES:,} files.", hint="Name a smaller folder.")
            try:
                data, identity = _data(file, follow=not folder, most=MOST_BYTES - size)
                text = _decoded(data)
            except _Unreadable as why:
                if not folder:
                    raise InputRefused(f"{path} {why}.") from None
                left_out.append(sanitize_line(file.name, 60))
                continue
            if identity in seen:  # named twice, or in two folders
                continue
            seen.add(identity)
            sources.append(Source(sanitize_line(str(file), 400), text))
            size += len(data)
    return Read(tuple(sources), size, _notices(left_out))


def _files_in(folder: Path) -> Iterator[Path]:
    looked_at = 0
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            looked_at += 1
            if looked_at > _MOST_LOOKED_AT:
                raise InputRefused(
                    f"{folder} holds more than {_MOST_LOOKED_AT:,} files.", hint="Name a smaller one."
                )
            if not name.startswith("."):
                yield Path(parent, name)


def _refuse(error: OSError) -> None:
    raise InputRefused(f"{error.filename} can't be read: {error.strerror}.") from error


def _data(path: Path, *, follow: bool, most: int) -> tuple[bytes, tuple[int, int]]:
    """A file's bytes as they were at one moment, and which file it is."""
    # Not blocking: a FIFO without a writer would hold us for ever before it could be refused.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _Unreadable(f"can't be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise _Unreadable("is not a plain file")
        if before.st_size > most:
            raise _Unreadable(f"is too large: no more than {MOST_BYTES >> 20} MiB are read altogether")
        try:
            data = file.read(most + 1)
        except OSError as error:
            raise _Unreadable(f"can't be read: {error.strerror}") from None
        after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (len(data), after.st_mtime_ns):
        raise _Unreadable("changed while it was read; try again")
    return data, (before.st_dev, before.st_ino)


def _decoded(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise _Unreadable(f"is too large: more than {MOST_BYTES >> 20} MiB")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _Unreadable(f"is not UTF-8 text (byte {error.start} doesn't belong)") from None
    if "\0" in text:
        raise _Unreadable("is not text: it holds zero bytes")
    return sanitize(text)


def _notices(left_out: Sequence[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    names = ", ".join(left_out[:_SHOWN_NAMES]) + (", …" if len(left_out) > _SHOWN_NAMES else "")
    return (f"{len(left_out):,} file{'s' * (len(left_out) != 1)} left out, being no readable text: {names}.",)
