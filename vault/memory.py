"""Memory that secrets lie in: kept out of swap files and core dumps, and wiped when they are done with.

What Python or a library copies on the way is beyond reach; what we hold for long lies here. A process that holds
keys is hardened as a whole: nobody but root reads its memory, and it leaves no core.
"""

import contextlib
import ctypes
import functools
import mmap
import os
import resource
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

from vault.errors import Locked, SecretKept

__all__ = ["SecretBuffer", "harden_process", "is_hardened", "pin_process"]

# <sys/prctl.h>, <sys/mman.h>
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def harden_process() -> None:
    """Let this process leave no core dump, and let no other process of the same user read its memory.

    Programs that it starts are dumpable again, but leave no core file either.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # The limit alone doesn't bind a handler such as systemd-coredump, which reads the memory from a pipe.
        _libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_hardened() -> bool:
    """Whether this process leaves no core dump."""
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0:
        return False
    return sys.platform != "linux" or bool(_libc().prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)


def pin_process() -> bool:
    """Keep all memory of this process, present and future, out of swap; whether the system lets us."""
    if sys.platform != "linux":
        return False
    if os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        return False  # it may succeed now, and then refuse memory at any later moment
    return bool(_libc().mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)


class SecretBuffer:
    """A few secret bytes in a page of their own. They can't be stored, pickled or copied.

    Args:
        length: In bytes; all zero at first.

    Attributes:
        length: In bytes.
        pinned: Whether the system keeps the page out of swap; it may allow too little (`ulimit -l`).
    """

    __slots__ = ("_lock", "_memory", "_wiped", "length", "pinned")

    def __init__(self, length: int) -> None:
        self.length = length
        self._lock = threading.Lock()
        self._wiped = False
        self._memory = mmap.mmap(-1, max(length, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_DONTDUMP"):
            self._memory.madvise(mmap.MADV_DONTDUMP)
        first = ctypes.c_char.from_buffer(self._memory)
        self.pinned = _libc().mlock(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(length)) == 0

    @classmethod
    def of(cls, secret: bytes | bytearray | memoryview) -> "SecretBuffer":
        """A buffer with a copy of `secret`."""
        buffer = cls(len(secret))
        with buffer.opened() as view:
            view[:] = secret
        return buffer

    @contextlib.contextmanager
    def opened(self) -> Iterator[memoryview]:
        """The bytes themselves, to be read or written; they aren't wiped as long as they are in use.

        Raises:
            Locked: they were wiped.
        """
        with self._lock, memoryview(self._memory)[: self.length] as view:
            if self._wiped:
                raise Locked("The key was wiped: the vault is locked.")
            yield view

    def wipe(self) -> None:
        """Overwrite the bytes, for good. May be called from any thread, and again."""
        with self._lock:
            self._wiped = True
            self._memory[: self.length] = bytes(self.length)

    @property
    def wiped(self) -> bool:
        """Whether the bytes are gone."""
        return self._wiped

    def __repr__(self) -> str:
        return "<SecretBuffer>"

    def __del__(self) -> None:
        if hasattr(self, "_memory"):
            self.wipe()

    def _refuse(self) -> NoReturn:
        raise SecretKept("A key lives in memory alone; nothing was stored.")

    def __conform__(self, protocol: object) -> NoReturn:
        """SQLite's adaptation of a bound parameter (PEP 246)."""
        self._refuse()

    def __reduce__(self) -> NoReturn:
        self._refuse()
