"""Caps on what all processes of a job take together, where the system lets us make a control group (cgroups(7)).

Version 1 and 2 are both met. Most desktops let nobody but root do this for a process that runs already; a job then
has the limits of setrlimit(2) alone.
"""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from skills.sandbox.leftovers import claim, sweep

__all__ = ["Cgroup"]

_MOUNT = Path("/sys/fs/cgroup")
_MEMORY_FILES = ("memory.max", "memory.limit_in_bytes")
_SWAP_FILES = ("memory.swap.max", "memory.memsw.limit_in_bytes")
_TASKS_FILES = ("pids.max",)
_NEEDED = {"memory", "pids"}
_REMOVE_WITHIN_S = 1.0


class Cgroup:
    """One group, of one job; it may lie in several hierarchies, or in none.

    Attributes:
        caps_memory: Whether it limits memory.
        caps_tasks: Whether it limits processes and threads.
    """

    def __init__(
        self, folders: list[Path], locks: Sequence[int] = (), *, caps_memory: bool, caps_tasks: bool
    ) -> None:
        self._folders = folders
        self._locks = locks
        self.caps_memory = caps_memory
        self.caps_tasks = caps_tasks

    @classmethod
    def create(cls, memory: int, tasks: int) -> "Cgroup":
        """Make a group as far as the system permits that.

        Args:
            memory: Bytes that it may take.
            tasks: Processes and threads that it may have.
        """
        folders, locks, caps = [], [], {"memory": False, "tasks": False}
        for parent in _parents():
            sweep(parent, os.rmdir)
            try:
                folder, lock = claim(parent)
            except OSError:
                continue
            folders.append(folder)
            locks.append(lock)
            caps["memory"] |= _write(folder, _MEMORY_FILES, memory)
            for swap in _SWAP_FILES:
                _write(folder, (swap,), 0 if swap.endswith("max") else memory)
            caps["tasks"] |= _write(folder, _TASKS_FILES, tasks)
        return cls(folders, locks, caps_memory=caps["memory"], caps_tasks=caps["tasks"])

    def add(self, pid: int) -> None:
        """Put a process into it, and all that it starts from now on; where the system refuses, it caps nothing."""
        try:
            for folder in self._folders:
                (folder / "cgroup.procs").write_text(str(pid))
        except OSError:
            self.caps_memory = self.caps_tasks = False

    def remove(self) -> None:
        """Remove it, once its processes are gone."""
        give_up = time.monotonic() + _REMOVE_WITHIN_S
        for folder in self._folders:
            while folder.exists() and time.monotonic() < give_up:
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    break
                time.sleep(0.001)
        for lock in self._locks:
            os.close(lock)


def _parents() -> list[Path]:
    """The folders of our own groups, in every hierarchy that can give ours what they need."""
    found = []
    for line in _own():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2: a group can only hand on what its own lets it
            folders = [root / path.lstrip("/") for root in (_MOUNT, _MOUNT / "unified")]
            found += [folder for folder in folders if _NEEDED & _words(folder / "cgroup.subtree_control")]
        elif _NEEDED & set(controllers.split(",")):
            found.append(_MOUNT / controllers / path.lstrip("/"))
    return [folder for folder in found if (folder / "cgroup.procs").exists() and os.access(folder, os.W_OK)]


def _words(file: Path) -> set[str]:
    try:
        return set(file.read_text().split())
    except OSError:
        return set()


def _own() -> list[str]:
    try:
        return Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []


def _write(folder: Path, names: tuple[str, ...], value: int) -> bool:
    for name in names:
        with contextlib.suppress(OSError):
            if (folder / name).exists():
                (folder / name).write_text(str(value))
                return True
    return False
