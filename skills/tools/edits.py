"""Tools that change files in the folders that the person granted: write one, or replace a text in one.

The person sees the difference first. What they agree to is bound to the contents of before: a file that was changed
in between isn't written over. It is replaced as a whole, so that a crash leaves the old one or the new one.
"""

import contextlib
import difflib
import os
import secrets
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from skills.errors import ToolFailed
from skills.tools.files import Folders
from skills.tools.paths import MOST_BYTES, open_folder, read_text_at, resolve
from skills.tools.tool import Arguments, Effect, Plan, Resource, Tool, digest_of
from vault.classes import DataClass
from vault.sanitize import without_unseen

__all__ = ["WRITE", "edit_tools"]

WRITE = "files.write"
"""What rules call it."""
_GRANT = f"`claw permission set {WRITE} FOLDER ask` lets the assistant write there, after asking."
_NEW_MODE = 0o600
_MOST_DIFFERENCE = 200
_INVISIBLE = "It would add control or invisible characters; it isn't written."


class WriteFile(Arguments, frozen=True):
    """Which file, and what is to be in it."""

    path: Annotated[str, msgspec.Meta(description="the file's path")]
    text: Annotated[str, msgspec.Meta(description="everything that is to be in it")]


class EditFile(Arguments, frozen=True):
    """Which file, and what is to be replaced in it."""

    path: Annotated[str, msgspec.Meta(description="the file's path")]
    old: Annotated[str, msgspec.Meta(min_length=1, description="a text that is in it once")]
    new: Annotated[str, msgspec.Meta(description="what is to be there instead")]


def edit_tools(
    folders: Folders, may_read: Callable[[Path], bool] = lambda _path: True
) -> list[Tool[WriteFile] | Tool[EditFile]]:
    """The tools that change files.

    Args:
        folders: As for `file_tools`.
        may_read: Whether a file may be read unasked. If not, whether the person is asked doesn't depend on what is
            in it: else a model could find that out by wanting one change after the other.
    """

    def at(given: WriteFile | EditFile) -> Path:
        if not (granted := folders()):
            raise ToolFailed("No folder was granted for writing.", hint=_GRANT)
        return resolve(given.path, granted)

    def about(given: WriteFile | EditFile) -> tuple[Resource, ...]:
        return (Resource("file", str(at(given))),)

    def plan_write(given: WriteFile, resources: tuple[Resource, ...]) -> Plan:
        path = _file(resources)
        return _plan(path, _before(path), given.text, open_=may_read(path))

    def plan_edit(given: EditFile, resources: tuple[Resource, ...]) -> Plan:
        path = _file(resources)
        if not may_read(path):
            return _unread_edit(path, given)
        before = _before(path)
        return _plan(path, before, _edited(path, before, given), open_=True)

    sensitive = DataClass.HIGHLY_SENSITIVE
    return [
        Tool("write_file", WRITE, "Write a text file.", WriteFile, Effect.WRITE, sensitive, plan_write, about),
        Tool("edit_file", WRITE, "Replace a text in a file.", EditFile, Effect.WRITE, sensitive, plan_edit, about),
    ]


def _file(resources: tuple[Resource, ...]) -> Path:
    path = Path(resources[0].name)
    if path.is_dir():
        raise ToolFailed(f"{path} is a folder.")
    return path


def _before(path: Path) -> str | None:
    with open_folder(path.parent) as folder:
        return _text(folder, path)


def _text(folder: int, path: Path) -> str | None:
    """What is in the file now; `None` where there is none."""
    try:
        os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return read_text_at(folder, path.name, path)


def _edited(path: Path, before: str | None, given: EditFile) -> str:
    if before is None:
        raise ToolFailed(f"There is no {path} to edit.")
    if (times := before.count(given.old)) != 1:
        raise ToolFailed(f"The text to replace is in the file {times} times, and has to be there once.")
    return before.replace(given.old, given.new)


def _unread_edit(path: Path, given: EditFile) -> Plan:
    """Of a file that nobody looks into before the person has agreed."""
    if _unseen(given.new) - _unseen(given.old):
        raise ToolFailed(_INVISIBLE)

    def work(_running: object) -> str:
        before = _before(path)
        return _write(path, before, _edited(path, before, given).encode("utf-8", "surrogatepass"))

    return Plan(
        f"change {path}, where it holds the text below",
        work,
        details=_difference(given.old, given.new, most=_MOST_DIFFERENCE),
        basis=digest_of(given.old, given.new),
    )


def _plan(path: Path, before: str | None, after: str, *, open_: bool) -> Plan:
    data = after.encode("utf-8", "surrogatepass")
    if len(data) > MOST_BYTES:
        raise ToolFailed(f"That is more than {MOST_BYTES >> 20} MiB.")
    if _unseen(after) - (_unseen(before or "") if open_ else Counter()):
        # Somebody who reads the difference must see all of it.
        raise ToolFailed(_INVISIBLE)
    if before == after and open_:
        raise ToolFailed("That is in the file already.")
    verb = "write the new file" if before is None else "change"
    return Plan(
        f"{verb} {path} ({len(data):,} bytes)",
        lambda _running: _write(path, before, data),
        # More than anybody looks through isn't asked about anyway.
        details=_difference(before or "", after, most=_MOST_DIFFERENCE if open_ else None),
        basis=digest_of("absent") if before is None else digest_of("before", before),
    )


def _unseen(text: str) -> Counter[str]:
    """The characters of a text that nobody would see."""
    return Counter(text) - Counter(without_unseen(text))


def _difference(before: str, after: str, *, most: int | None) -> str:
    lines = list(difflib.unified_diff(_shown(before), _shown(after), "before", "after", lineterm=""))
    if most is not None and len(lines) > most:
        raise ToolFailed(f"That changes more than {most} lines, more than anybody would look through.")
    return "\n".join(lines) or "Nothing would change."


def _shown(text: str) -> list[str]:
    """The lines of a text, in which odd or missing ends of lines and invisible characters can be seen."""
    *lines, last = (_visible(line) for line in text.split("\n"))
    return [*lines, f"{last}⏹"] if last else lines


def _visible(line: str) -> str:
    line = line.replace("\r", "␍")
    if without_unseen(line) == line:
        return line
    return "".join(
        character if without_unseen(character) == character else f"⟨U+{ord(character):04X}⟩" for character in line
    )


def _write(path: Path, before: str | None, data: bytes) -> str:
    with open_folder(path.parent) as folder:
        if _text(folder, path) != before:
            raise ToolFailed(f"{path} was changed in between; it was left as it is.")
        mode = _NEW_MODE
        if before is not None:
            mode = stat.S_IMODE(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode)
        staged = f".claw-{secrets.token_hex(6)}.new"
        try:
            descriptor = os.open(
                staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder
            )
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if before is None:
                os.link(staged, path.name, src_dir_fd=folder, dst_dir_fd=folder)  # fails where one appeared
                os.unlink(staged, dir_fd=folder)
            else:
                os.replace(staged, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except OSError as error:
            raise ToolFailed(f"{path} can't be written: {error.strerror}.") from None
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged, dir_fd=folder)
    return f"{len(data):,} bytes were written to {path}."
