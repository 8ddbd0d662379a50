"""Landlock: a process gives up all files but those beneath some paths (Documentation/userspace-api/landlock.rst).

It guards opening, making, removing and renaming. It doesn't guard a file's mode, owner or times, nor looking at its
size, its attributes or where a link leads; and sockets only in part. The filter beside it
(`skills.sandbox.program_filter`) closes what it leaves open.
"""

import ctypes
import os
import struct

from skills.sandbox.syscalls import Unsupported

__all__ = ["abi", "restrict"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine
_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_FIRST = (1 << 13) - 1
_SINCE = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Moving between folders, truncating, and ioctl on devices came later."""
_NET_SINCE, _NET = 4, 0b11
_SCOPED_SINCE, _SCOPED = 6, 0b11
_O_PATH = 0o10000000


def abi() -> int:
    """The version of Landlock in this kernel; 0 without it."""
    version = int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION))
    return max(version, 0)


def restrict(readable: list[str], writable: list[str]) -> None:
    """Give up, for good, all files but those beneath these paths, the network, and signals to others.

    Args:
        readable: What may be read and run; what doesn't exist is passed over.
        writable: Single files that may be written too.

    Raises:
        Unsupported: the kernel has no Landlock, or refuses.
    """
    version = abi()
    if not version:
        raise Unsupported("this kernel has no Landlock")
    files = _FIRST | sum(right for since, right in _SINCE.items() if version >= since)
    fields = [files]
    if version >= _NET_SINCE:
        fields.append(_NET)
    if version >= _SCOPED_SINCE:
        fields.append(_SCOPED)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    libc = _libc()
    ruleset = _checked(libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0), "a ruleset")
    try:
        for path in readable:
            _allow(libc, ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
        for path in writable:
            _allow(libc, ruleset, path, _READ_FILE | _WRITE_FILE)
        _checked(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0), "a restriction")
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, _O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            rights &= ~_READ_DIR
        beneath = struct.pack("=Qi", rights, descriptor)
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, beneath, 0), f"a rule for {path}")
    finally:
        os.close(descriptor)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise Unsupported(f"the kernel refuses {what}: {os.strerror(ctypes.get_errno())}")
    return int(result)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
