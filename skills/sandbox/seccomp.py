"""Confinement of a process of ours by itself (Linux seccomp): no files, no network, no other process, from here on.

The filter is a list of what is allowed: computing, memory, threads, and reading and writing descriptors that are
open already. All else answers EPERM, so that a library's optional probe fails softly and an attack fails too. It
needs no privilege and no helper program, can't be lifted, and covers every thread.

Sources: seccomp(2), Documentation/userspace-api/seccomp_filter.rst, and the kernel's syscall tables.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys

__all__ = ["Unsupported", "confine_to_descriptors"]

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_TSYNC = 1
_RET_ALLOW, _RET_ERRNO, _RET_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000

# Classic BPF: load a word of `struct seccomp_data`, compare, mask, return.
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16

_CLONE_THREAD = 0x00010000
_AT_EMPTY_PATH = 0x1000
_PR_SET_NAME, _PR_SET_VMA = 15, 0x53564D41
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030

# Audit architecture, the number of seccomp(2), and the numbers of what is allowed.
_X86_64 = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10,
    "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17,
    "readv": 19, "writev": 20, "select": 23, "sched_yield": 24, "mremap": 25, "madvise": 28, "dup": 32,
    "nanosleep": 35, "getpid": 39, "clone": 56, "exit": 60, "uname": 63,
    "fcntl": 72, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "getuid": 102,
    "getgid": 104, "geteuid": 107, "getegid": 108, "sigaltstack": 131, "mlock": 149, "munlock": 150,
    "prctl": 157, "gettid": 186, "futex": 202, "sched_getaffinity": 204,
    "restart_syscall": 219, "fadvise64": 221, "clock_gettime": 228, "clock_getres": 229,
    "clock_nanosleep": 230, "exit_group": 231, "tgkill": 234, "newfstatat": 262, "pselect6": 270,
    "ppoll": 271, "set_robust_list": 273, "getcpu": 309, "getrandom": 318, "membarrier": 324, "rseq": 334,
    "clone3": 435,
}  # fmt: skip
_AARCH64 = {
    "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222, "mprotect": 226,
    "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "pread64": 67,
    "readv": 65, "writev": 66, "sched_yield": 124, "mremap": 216, "madvise": 233, "dup": 23, "nanosleep": 101,
    "getpid": 172, "clone": 220, "exit": 93, "uname": 160, "fcntl": 25,
    "gettimeofday": 169, "getrlimit": 163, "getrusage": 165, "sysinfo": 179, "getuid": 174, "getgid": 176,
    "geteuid": 175, "getegid": 177, "sigaltstack": 132, "mlock": 228, "munlock": 229, "prctl": 167,
    "gettid": 178, "futex": 98, "sched_getaffinity": 123, "restart_syscall": 128,
    "fadvise64": 223, "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "exit_group": 94,
    "tgkill": 131, "newfstatat": 79, "pselect6": 72, "ppoll": 73, "set_robust_list": 99, "getcpu": 168,
    "getrandom": 278, "membarrier": 283, "rseq": 293, "clone3": 435,
}  # fmt: skip
_MACHINES = {"x86_64": (0xC000003E, 317, _X86_64), "aarch64": (0xC00000B7, 277, _AARCH64)}
_IOCTL = {"x86_64": 16, "aarch64": 29}


class Unsupported(OSError):
    """This system can't confine a process in this way; the text says why."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def confine_to_descriptors(*, devices: bool = False) -> None:
    """Confine this process, all its threads included, to computing and the descriptors it holds.

    It can't be undone. Import, open and look up beforehand whatever is needed afterwards.

    Args:
        devices: Whether open devices may be driven too (ioctl), as a GPU's driver does.

    Raises:
        Unsupported: not Linux, an unknown machine, or a kernel without seccomp filters; or the filter was
            accepted and yet a file or a socket could still be opened. The process isn't confined then.
    """
    if sys.platform != "linux":
        raise Unsupported(f"no confinement is built for {sys.platform} yet")
    machine = platform.machine()
    if machine not in _MACHINES or struct.calcsize("P") != 8:
        raise Unsupported(f"no confinement is built for {machine} processors")
    architecture, seccomp_number, numbers = _MACHINES[machine]
    code = _program(architecture, {**numbers, **({"ioctl": _IOCTL[machine]} if devices else {})})
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(instructions))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Unsupported("the kernel refuses no_new_privs")
    result = libc.syscall(
        seccomp_number, _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(program)
    )
    if result != 0:
        raise Unsupported(f"the kernel refuses a seccomp filter: {os.strerror(ctypes.get_errno())}")
    _prove()


def _prove() -> None:
    """See with our own eyes that the walls stand."""
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        pass
    else:
        raise Unsupported("a file could be opened though the filter forbids it")
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except PermissionError:
        pass
    else:
        raise Unsupported("a socket could be made though the filter forbids it")


def _program(architecture: int, numbers: dict[str, int]) -> bytes:
    deny = _RET_ERRNO | errno.EPERM
    code = [
        (_LOAD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _RET_KILL_PROCESS),  # a 32-bit call would have other numbers
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_GREATER_EQUAL, 0, 1, 0x40000000),  # the x32 variants of the same calls
        (_RETURN, 0, 0, deny),
    ]
    conditional = {
        # Threads, not processes. clone3's flags lie in memory, which a filter can't read; after ENOSYS glibc
        # uses clone.
        "clone": _if_masked(0, _CLONE_THREAD, _CLONE_THREAD),
        "clone3": [(_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS)],
        "tgkill": _if_one_of(0, os.getpid()),  # abort() signals the process itself
        "newfstatat": _if_one_of(3, _AT_EMPTY_PATH),  # fstat of an open descriptor, as glibc spells it
        "prctl": _if_one_of(0, _PR_SET_NAME, _PR_SET_VMA),
        # Not F_SETOWN and F_SETSIG: a pipe could be made to send the parent any signal.
        "fcntl": _if_one_of(1, _F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC),
    }
    for name, number in numbers.items():
        body = conditional.get(name, [(_RETURN, 0, 0, _RET_ALLOW)])
        code.append((_JUMP_EQUAL, 0, len(body), number))
        code += body
    code.append((_RETURN, 0, 0, deny))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _if_one_of(argument: int, *values: int) -> list[tuple[int, int, int, int]]:
    """Allow when the low word of an argument has one of these values, else deny."""
    body = [(_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * argument)]
    for value in values:
        body += [(_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _RET_ALLOW)]
    return [*body, (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM)]


def _if_masked(argument: int, mask: int, value: int) -> list[tuple[int, int, int, int]]:
    """Allow when some bits of the low word of an argument have this value, else deny."""
    return [
        (_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8 * argument),
        (_AND, 0, 0, mask),
        (_JUMP_EQUAL, 0, 1, value),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM),
    ]
