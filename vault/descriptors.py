"""Descriptors of a database's files that are kept until nobody in this process uses the database any more.

A process that closes any descriptor of a file loses all its POSIX locks on that file (fcntl(2)), SQLite's included:
another process would then take itself for the last one, and remove a write-ahead log that is still in use.
"""

import os
import threading
from pathlib import Path
from typing import NamedTuple

__all__ = ["Descriptors"]


class _Shared(NamedTuple):
    users: "set[Descriptors]"
    kept: dict[Path, list[int]]


_lock = threading.Lock()
_databases: dict[Path, _Shared] = {}


class Descriptors:
    """What one user of a database opens beside SQLite: made before its connection, closed after it.

    Args:
        database: The file; it need not be there yet.
    """

    def __init__(self, database: Path) -> None:
        self._database = database.resolve()
        with _lock:
            self._shared = _databases.setdefault(self._database, _Shared(set(), {}))
            self._shared.users.add(self)

    def open(self, path: Path) -> int:
        """A descriptor to read a file with, at offsets; shared with other users, and never to be closed by them.

        Raises:
            OSError: the file can't be opened.
        """
        with _lock:
            kept = self._shared.kept.setdefault(path, [])
            for descriptor in kept:
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            kept.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            return kept[-1]

    def close(self) -> None:
        """Use them no more; the last user closes them. Closing twice does nothing."""
        with _lock:
            if self not in self._shared.users:
                return
            self._shared.users.remove(self)
            if self._shared.users:
                return
            del _databases[self._database]
            for descriptors in self._shared.kept.values():
                while descriptors:
                    os.close(descriptors.pop())
