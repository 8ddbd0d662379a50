"""Tools that look at files in the folders that the person granted: list, read, search."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from skills.errors import ToolFailed
from skills.tools.paths import GRANT, listed, open_folder, read_text, read_text_at, resolve
from skills.tools.tool import Arguments, Effect, Plan, Resource, Running, Tool
from vault.classes import DataClass
from vault.sanitize import sanitize, sanitize_line

__all__ = ["READ", "Folders", "Sight", "file_tools"]

READ = "files.read"
"""What rules call it."""

Folders = Callable[[], list[Path]]
"""Gives the folders that were granted."""

Sight = Callable[[], Callable[[Path], int]]
"""Gives what tells how strict the rules, as they are now, are about a file: the more, the stricter."""

_MOST_LISTED = 200
_MOST_LINES = 400
_MOST_SEARCHED = 2_000
_MOST_FOUND = 50
_DEPTH = 12
_SHOWN_OF_LINE = 200


class ListFiles(Arguments, frozen=True):
    """Which folder."""

    folder: Annotated[str, msgspec.Meta(description="the folder's path")]


class ReadFile(Arguments, frozen=True):
    """Which file, and from where."""

    path: Annotated[str, msgspec.Meta(description="the file's path")]
    first_line: Annotated[int, msgspec.Meta(ge=1, description="the line to begin with")] = 1


class SearchFiles(Arguments, frozen=True):
    """What for, and where."""

    text: Annotated[str, msgspec.Meta(min_length=1, description="text to look for, in whatever case")]
    folder: Annotated[str, msgspec.Meta(description="the folder's path")]


def file_tools(
    folders: Folders, sight: Sight = lambda: lambda _path: 0
) -> list[Tool[ListFiles] | Tool[ReadFile] | Tool[SearchFiles]]:
    """The tools that look at files.

    Args:
        folders: What was granted: paths without a beginning are looked for there.
        sight: Tells how strict the rules are; in a folder, what they are stricter about is left out.
    """

    def at(given: str) -> Path:
        if not (granted := folders()):
            raise ToolFailed("No folder was granted.", hint=GRANT)
        return resolve(given, granted)

    def within(folder: Path) -> Callable[[Path], bool]:
        strictness = sight()
        permitted = strictness(folder)
        return lambda path: strictness(path) <= permitted

    def plan_list(_given: ListFiles, resources: tuple[Resource, ...]) -> Plan:
        folder = Path(resources[0].name)
        return Plan(f"list the files in {folder}", lambda _running: _list(folder, within(folder)))

    def plan_read(given: ReadFile, resources: tuple[Resource, ...]) -> Plan:
        path = Path(resources[0].name)
        return Plan(f"read {path}", lambda _running: _excerpt(read_text(path), given.first_line))

    def plan_search(given: SearchFiles, resources: tuple[Resource, ...]) -> Plan:
        folder = Path(resources[0].name)
        return Plan(
            f"search the files in {folder} for {sanitize_line(given.text, 80)!r}",
            lambda running: _search(folder, given.text, within(folder), running),
        )

    def about_folder(given: ListFiles | SearchFiles) -> tuple[Resource, ...]:
        return (Resource("file", str(at(given.folder))),)

    def about_file(given: ReadFile) -> tuple[Resource, ...]:
        return (Resource("file", str(at(given.path))),)

    sensitive = DataClass.HIGHLY_SENSITIVE
    return [
        Tool(
            "list_files",
            READ,
            "List the files in a folder.",
            ListFiles,
            Effect.READ,
            sensitive,
            plan_list,
            about_folder,
            foreign=True,
        ),
        Tool(
            "read_file",
            READ,
            "Read a text file.",
            ReadFile,
            Effect.READ,
            sensitive,
            plan_read,
            about_file,
            foreign=True,
        ),
        Tool(
            "search_files",
            READ,
            "Find the lines of the text files in a folder that hold a text.",
            SearchFiles,
            Effect.READ,
            sensitive,
            plan_search,
            about_folder,
            foreign=True,
        ),
    ]


def _list(folder: Path, visible: Callable[[Path], bool]) -> str:
    with open_folder(folder) as descriptor:
        entries = [entry for entry in listed(descriptor) if visible(folder / entry[0])]
    lines = [
        f"{'folder' if stat.S_ISDIR(status.st_mode) else f'{status.st_size:,} bytes':>16}  {_name(name)}"
        for name, status in entries[:_MOST_LISTED]
    ]
    if len(entries) > _MOST_LISTED:
        lines.append(f"… and {len(entries) - _MOST_LISTED:,} more")
    return "\n".join(lines) or "The folder is empty."


def _excerpt(text: str, first: int) -> str:
    lines = sanitize(text).splitlines()
    if first > max(1, len(lines)):
        raise ToolFailed(f"The file has {len(lines):,} lines.")
    shown = lines[first - 1 : first - 1 + _MOST_LINES]
    rest = len(lines) - (first - 1 + len(shown))
    more = f"\n… {rest:,} more lines, from line {first + len(shown):,}" if rest > 0 else ""
    return "\n".join(shown) + more or "The file is empty."


def _search(folder: Path, wanted: str, visible: Callable[[Path], bool], running: Running) -> str:
    found: list[str] = []
    searched = 0
    wanted = wanted.casefold()
    with open_folder(folder) as descriptor:
        for path, text in _texts(descriptor, folder, visible, _DEPTH):
            searched += 1
            if running.stop.is_set() or searched > _MOST_SEARCHED:
                found.append(f"… the search ended after {searched - 1:,} files")
                break
            running.progress(f"{searched:,} files")
            name = _name(str(path.relative_to(folder)))
            for number, line in enumerate(text.splitlines(), 1):
                if wanted in line.casefold():
                    found.append(f"{name}:{number}: {sanitize_line(line, _SHOWN_OF_LINE)}")
                    if len(found) >= _MOST_FOUND:
                        return "\n".join([*found, "… and perhaps more"])
    return "\n".join(found) or "Nothing was found."


def _texts(folder: int, path: Path, visible: Callable[[Path], bool], depth: int) -> Iterator[tuple[Path, str]]:
    """Every text file below an open folder; links, hidden or closed files and what isn't text are passed over."""
    for name, status in listed(folder):
        if not visible(path / name):
            continue
        if stat.S_ISREG(status.st_mode):
            with contextlib.suppress(ToolFailed):
                yield path / name, read_text_at(folder, name, path / name)
        elif stat.S_ISDIR(status.st_mode) and depth:
            try:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except OSError:
                continue
            try:
                yield from _texts(inner, path / name, visible, depth - 1)
            finally:
                os.close(inner)


def _name(name: str) -> str:
    """A file's name, which anybody may have chosen, as something to read and nothing else."""
    return sanitize_line(name.encode("utf-8", "replace").decode(), 200)
