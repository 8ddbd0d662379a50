"""What a power cut can leave: the disk's state after a recorded run was cut at any point.

The model is weaker than ext4 promises, on purpose. What was synced is there. Of the rest:

- each write of a file is kept, dropped, or torn at sectors (512 bytes), independently of every other; each change
  of a file's size is kept or dropped;
- each name that was made, moved or removed may not have been, in the order it was done within one folder (which a
  journal keeps); folders don't wait for one another, and syncing a *file* makes nothing of its name durable;
- what a failed fsync should have written may be lost for good, whatever is synced later, as Linux does it.

Everything follows from (trace, cut, seed).
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.torture.recorder import Event, Operation

__all__ = ["Disk", "Point", "Snapshot", "replayed", "snapshot", "spread"]

_SECTOR = 512


class Snapshot(NamedTuple):
    """A folder before the run.

    Attributes:
        files: By inode: content, and the names it has.
        folders: By name, parents first.
    """

    files: dict[int, tuple[bytes, list[str]]]
    folders: list[str]


class Point(NamedTuple):
    """One power cut: after how many events, and the dice that say what the disk had written by then."""

    cut: int
    seed: int


def snapshot(root: Path) -> Snapshot:
    """What lies in a folder now; SQLite's shared memory, which nobody trusts, left out."""
    files: dict[int, tuple[bytes, list[str]]] = {}
    folders = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir():
            folders.append(name)
        elif not name.endswith("-shm"):
            files.setdefault(path.stat().st_ino, (path.read_bytes(), []))[1].append(name)
    return Snapshot(files, folders)


def spread(length: int, number: int, seed: int) -> list[Point]:
    """Power cuts spread evenly over a trace of `length` events, in order, each with dice of its own."""
    dice = random.Random(seed)
    return [Point(round(index * length / max(number - 1, 1)), dice.getrandbits(64)) for index in range(number)]


def replayed(before: Snapshot, root: Path, trace: Sequence[Event], wanted: Iterable[Point]) -> Iterator["Disk"]:
    """The disk at each point, which must be in the order of their cuts; the same object each time."""
    disk = Disk(before, root)
    done = 0
    for point in wanted:
        for event in trace[done : point.cut]:
            disk.apply(event)
        done = point.cut
        yield disk


class _Change(NamedTuple):
    """A write, or a new size where there is no data; certain once it was synced, never once a sync failed."""

    offset: int
    data: bytes | None
    certain: bool = False
    forsaken: bool = False


class _File:
    """Content as it surely is on the disk, and what may have reached it since."""

    def __init__(self, content: bytes = b"") -> None:
        self._durable = bytearray(content)
        self._pending: list[_Change] = []

    def change(self, offset: int, data: bytes | None) -> None:
        self._pending.append(_Change(offset, data))

    def sync(self) -> None:
        self._pending = [change._replace(certain=not change.forsaken) for change in self._pending]
        settled = 0
        while settled < len(self._pending) and self._pending[settled].certain:
            _apply(self._durable, self._pending[settled])
            settled += 1
        del self._pending[:settled]

    def sync_failed(self) -> None:
        self._pending = [change._replace(forsaken=not change.certain) for change in self._pending]

    def content(self, survivors: Callable[[_Change], Iterable[_Change]]) -> bytes:
        content = bytearray(self._durable)
        for change in self._pending:
            for part in [change] if change.certain else survivors(change):
                _apply(content, part)
        return bytes(content)


def _apply(content: bytearray, change: _Change) -> None:
    end = change.offset + len(change.data or b"")
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if change.data is None:
        del content[end:]
    else:
        content[change.offset : end] = change.data


def _torn(change: _Change, dice: random.Random) -> Iterator[_Change]:
    """A part of a write: some sectors from its start or, now and then, any of them."""
    if change.data is None:
        return
    end = change.offset + len(change.data)
    edges = [change.offset, *range(change.offset // _SECTOR * _SECTOR + _SECTOR, end, _SECTOR), end]
    sectors = list(itertools.pairwise(edges))
    chosen = sectors[: dice.randrange(len(sectors))]
    if dice.random() < 0.25:
        chosen = [sector for sector in sectors if dice.random() < 0.5]
    for start, stop in chosen:
        yield _Change(start, change.data[start - change.offset : stop - change.offset])


class _Folder:
    """Names as they are now, and as they surely are on the disk."""

    def __init__(self) -> None:
        self.names: dict[str, _Node] = {}
        self.durable: dict[str, _Node] = {}


_Node = _File | _Folder


class _Naming(NamedTuple):
    """Names that change together: in which folder, which name, and what it then means."""

    edits: list[tuple[_Folder, str, _Node | None]]


class Disk:
    """A folder's disk while a trace is replayed.

    Args:
        before: What lay in the folder before.
        root: The folder, as the trace names it.
    """

    def __init__(self, before: Snapshot, root: Path) -> None:
        self._root = str(root)
        self._tree = _Folder()
        self._files: dict[int, _File] = {}
        self._pending: list[_Naming] = []
        for name in before.folders:
            self._edit([(name, _Folder())])
        for inode, (content, names) in before.files.items():
            self._files[inode] = _File(content)
            self._edit([(name, self._files[inode]) for name in names])
        self._settle(self._pending)

    def apply(self, event: Event) -> None:
        """Go on by one event.

        Raises:
            LookupError: the trace speaks of a file or folder that it never saw made: it isn't complete.
        """
        path, other = (name.removeprefix(self._root).lstrip("/") for name in (event.path, event.other))
        match event.operation:
            case Operation.CREATE:
                self._files[event.inode] = _File()
                self._edit([(path, self._files[event.inode])])
            case Operation.WRITE:
                self._files[event.inode].change(event.offset, event.data)
            case Operation.RESIZE:
                self._files[event.inode].change(event.offset, None)
            case Operation.SYNC:
                self._files[event.inode].sync()
            case Operation.SYNC_FAILED if event.inode in self._files:
                self._files[event.inode].sync_failed()
            case Operation.SYNC_FOLDER:
                self._sync_folder(path)
            case Operation.RENAME:
                self._edit([(path, None), (other, self._node(path))])
            case Operation.EXCHANGE:
                self._edit([(path, self._node(other)), (other, self._node(path))])
            case Operation.LINK:
                self._edit([(other, self._node(path))])
            case Operation.MKDIR:
                self._edit([(path, _Folder())])
            case Operation.UNLINK | Operation.RMDIR:
                self._edit([(path, None)])

    def after_cut(self, seed: int) -> dict[str, bytes | None]:
        """What is there when the power comes back: files with their content, folders with `None`."""
        dice = random.Random(seed)
        keep = dice.choice((0.0, 0.25, 0.5, 0.75, 1.0))
        names: dict[_Folder, dict[str, _Node]] = {}
        late: set[_Folder] = set()  # folders one of whose changes was lost: so were the later ones
        for naming in self._pending:
            folders = {folder for folder, _, _ in naming.edits}
            if late & folders or dice.random() >= keep:
                late |= folders
                continue
            for folder, name, node in naming.edits:
                _set(names.setdefault(folder, dict(folder.durable)), name, node)

        def survivors(change: _Change) -> Iterable[_Change]:
            if dice.random() < keep:
                return [change]
            return _torn(change, dice) if dice.random() < 1 / 3 else []

        return _listed(self._tree, lambda folder: names.get(folder, folder.durable), survivors)

    def now(self) -> dict[str, bytes | None]:
        """What a process sees that looks while the power is on."""
        return _listed(self._tree, lambda folder: folder.names, lambda change: [change])

    def _node(self, path: str) -> _Node:
        node: _Node = self._tree
        for name in path.split("/") if path else []:
            if not isinstance(node, _Folder):
                raise LookupError(f"{path} goes through a file")
            node = node.names[name]
        return node

    def _edit(self, edits: list[tuple[str, _Node | None]]) -> None:
        naming = _Naming([])
        for path, node in edits:
            parent, _, name = path.rpartition("/")
            folder = self._node(parent)
            if not isinstance(folder, _Folder):
                raise LookupError(f"{parent} is a file")
            _set(folder.names, name, node)
            naming.edits.append((folder, name, node))
        self._pending.append(naming)

    def _sync_folder(self, path: str) -> None:
        """Make the folder's names durable, with all that was done before in folders they have to do with."""
        wanted = {self._node(path)}
        settled: list[_Naming] = []
        for naming in reversed(self._pending):
            folders = {folder for folder, _, _ in naming.edits}
            if wanted & folders:
                wanted |= folders
                settled.insert(0, naming)
        self._settle(settled)

    def _settle(self, namings: list[_Naming]) -> None:
        for naming in namings:
            for folder, name, node in naming.edits:
                _set(folder.durable, name, node)
        done = {id(naming) for naming in namings}
        self._pending = [naming for naming in self._pending if id(naming) not in done]


def _set(names: dict[str, _Node], name: str, node: _Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _listed(
    tree: _Folder,
    names: Callable[[_Folder], dict[str, _Node]],
    survivors: Callable[[_Change], Iterable[_Change]],
    prefix: str = "",
) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name, node in names(tree).items():
        if isinstance(node, _File):
            found[prefix + name] = node.content(survivors)
        else:
            found[prefix + name] = None
            found.update(_listed(node, names, survivors, f"{prefix}{name}/"))
    return found
