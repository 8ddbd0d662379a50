"""The files of one skill, read at once into memory and bounded, and the digest that names all of them together.

What is approved is what runs: a skill's files are read once, checked against the digest that a person agreed to,
and handed on from memory. Nothing reads the folder again after the check.
"""

import hashlib
import os
import stat
import unicodedata
from pathlib import Path

from skills.errors import SkillRefused
from skills.file_names import why_not
from vault.sanitize import sanitize

__all__ = ["MOST_BYTES", "MOST_FILES", "check_name", "digest", "read_folder"]

MOST_FILES = 500
MOST_BYTES = 20 << 20
"""Of all files together."""
_DEPTH = 8
_NAME_LENGTH = 200
_LEFT_OUT = {".git", ".hg", ".svn", "__pycache__", ".DS_Store"}
_DIGEST = b"openclaw-core/v1/skill\n"


def read_folder(folder: Path) -> dict[str, bytes]:
    """Read all files of a skill's folder, by their names in it, with `/` between folders.

    Raises:
        SkillRefused: it isn't a folder, holds links or what are no files, or more than a skill may.
    """
    files: dict[str, bytes] = {}
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SkillRefused(f"{folder} can't be read: {error.strerror}.") from error
    try:
        _read_into(files, root, "")
    except OSError as error:
        raise SkillRefused(f"{folder} can't be read: {error.strerror}.") from error
    finally:
        os.close(root)
    return files


def digest(files: dict[str, bytes]) -> str:
    """The digest of a skill: SHA-256 over the names, sizes and digests of its files, in hexadecimal."""
    total = hashlib.sha256(_DIGEST)
    for name in sorted(files):
        data = files[name]
        total.update(f"{len(name.encode())}:{name}:{len(data)}:".encode() + hashlib.sha256(data).digest())
    return total.hexdigest()


def check_name(name: str) -> None:
    """See that a file may have this name inside a skill.

    Raises:
        SkillRefused: it leads out of the folder, is another spelling of a name, can't be shown as it is, or is too
            long or deep.
    """
    if why := why_not(name):
        raise SkillRefused(f"The name {sanitize(name)!r} {why}.")
    if len(name) > _NAME_LENGTH or name.count("/") >= _DEPTH:
        raise SkillRefused(f"The name {name[:40]!r}… is too long, or in too many folders.")


def add(files: dict[str, bytes], name: str, data: bytes) -> None:
    """Take one more file, within the bounds.

    Raises:
        SkillRefused: there are too many, or too large ones; or one has a name that a file system may take for that
            of another, or of a folder that another lies in.
    """
    if len(files) >= MOST_FILES:
        raise SkillRefused(f"A skill may have {MOST_FILES} files, and this has more.")
    if sum(map(len, files.values())) + len(data) > MOST_BYTES:
        raise SkillRefused(f"A skill may have {MOST_BYTES >> 20} MiB of files, and this has more.")
    spelled = _spelled(name)
    for other in files:
        taken = _spelled(other)
        if spelled == taken:
            raise SkillRefused(f"Two files are called {name!r}, or differ in capitals alone.")
        if spelled.startswith(f"{taken}/") or taken.startswith(f"{spelled}/"):
            raise SkillRefused(f"{min(name, other, key=len)!r} can't be a file and a folder.")
    files[name] = data


def _spelled(name: str) -> str:
    """The same for all names that some file system (APFS, NTFS) takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _read_into(files: dict[str, bytes], folder: int, prefix: str) -> None:
    for name in sorted(os.listdir(folder)):
        if name in _LEFT_OUT:
            continue
        check_name(prefix + name)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                _read_into(files, inner, f"{prefix}{name}/")
            finally:
                os.close(inner)
        elif stat.S_ISREG(status.st_mode):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                add(files, prefix + name, file.read(MOST_BYTES + 1))
        else:
            raise SkillRefused(f"{prefix + name!r} is a link, or no file: a skill has files and folders alone.")
