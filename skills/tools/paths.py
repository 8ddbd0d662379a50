"""Files of the person's, reached without following a link: what was looked at is what is opened.

A path is resolved once, to where it really leads; that is what rules are about. It is then opened folder by folder,
each without following a link, so that nobody can put another file in its place in between.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from skills.errors import ToolFailed
from vault.sanitize import sanitize

__all__ = ["MOST_BYTES", "listed", "open_folder", "read_text", "resolve"]

MOST_BYTES = 4 << 20
"""Of one file."""
_LONGEST_PATH = 4096


def resolve(given: str, folders: list[Path]) -> Path:
    """Where a path leads, links resolved.

    Args:
        given: As the model, or the person, wrote it: whole, from `~`, or relative to one of the folders.
        folders: What was granted. A relative path is looked for in each.

    Raises:
        ToolFailed: it can't be a path.
    """
    if not given or "\0" in given or len(given) > _LONGEST_PATH or sanitize(given) != given or "\n" in given:
        raise ToolFailed("That can't be the path of a file.")
    path = Path(os.path.expanduser(given))
    candidates = [path] if path.is_absolute() else [folder / path for folder in folders]
    if not candidates:
        raise ToolFailed("No folder was granted, so a relative path leads nowhere.", hint=GRANT)
    for candidate in candidates:
        if candidate.exists():
            return Path(os.path.realpath(candidate))
    return Path(os.path.realpath(candidates[0]))


GRANT = "`claw permission set files.read FOLDER ask` lets the assistant read there, after asking."


@contextlib.contextmanager
def open_folder(folder: Path) -> Iterator[int]:
    """A folder, opened without following a link anywhere on the way.

    Raises:
        ToolFailed: it isn't there, isn't a folder, or a link is in the way.
    """
    descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folder.parts[1:]:
            try:
                inner = os.open(
                    part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor
                )
            except OSError as error:
                raise ToolFailed(f"{folder} can't be opened: {error.strerror}.") from None
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def read_text(path: Path) -> str:
    """The text of a plain file.

    Raises:
        ToolFailed: it is missing, a link, no plain file, too large, or no text.
    """
    with open_folder(path.parent) as folder:
        return read_text_at(folder, path.name, path)


def read_text_at(folder: int, name: str, path: Path) -> str:
    """The text of a plain file in an open folder; `path` is for what is said of it. Errors as in `read_text`."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise ToolFailed(f"{path} can't be read: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ToolFailed(f"{path} isn't a plain file.")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ToolFailed(f"{path} is larger than {MOST_BYTES >> 20} MiB.")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ToolFailed(f"{path} isn't UTF-8 text.") from None
    if "\0" in text:
        raise ToolFailed(f"{path} isn't text.")
    return text


def listed(folder: int) -> list[tuple[str, os.stat_result]]:
    """What lies in an open folder, by name, links as links; hidden files aren't listed."""
    found = []
    for name in sorted(os.listdir(folder)):
        if not name.startswith("."):
            with contextlib.suppress(OSError):
                found.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
    return found
