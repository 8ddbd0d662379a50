"""Confinement of a process of ours by itself (Linux seccomp): no files, no network, no other process, from here on.

The filter is a list of what is allowed: computing, memory, threads, and reading and writing descriptors that are
open already. It needs no privilege and no helper program, can't be lifted, and covers every thread.
"""

import os
import socket

from skills.sandbox import bpf
from skills.sandbox.syscalls import Unsupported, this_machine

__all__ = ["confine_to_descriptors"]

_CLONE_THREAD = 0x00010000
_AT_EMPTY_PATH = 0x1000
_PR_SET_NAME, _PR_SET_VMA = 15, 0x53564D41
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030

_ALLOWED = """
    read write close fstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn pread64
    readv writev select sched_yield mremap madvise dup nanosleep getpid exit uname gettimeofday getrlimit getrusage
    sysinfo getuid getgid geteuid getegid sigaltstack mlock munlock gettid futex sched_getaffinity restart_syscall
    fadvise64 clock_gettime clock_getres clock_nanosleep exit_group pselect6 ppoll set_robust_list getcpu getrandom
    membarrier rseq
"""


def confine_to_descriptors(*, devices: bool = False) -> None:
    """Confine this process, all its threads included, to computing and the descriptors it holds.

    It can't be undone. Import, open and look up beforehand whatever is needed afterwards.

    Args:
        devices: Whether open devices may be driven too (ioctl), as a GPU's driver does.

    Raises:
        Unsupported: not Linux, an unknown machine, or a kernel without seccomp filters; or the filter was
            accepted and yet a file or a socket could still be opened. The process isn't confined then.
    """
    machine = this_machine()
    calls = dict.fromkeys(_ALLOWED.split(), bpf.ALLOW)
    calls |= {
        # Threads, not processes. clone3's flags lie in memory, which a filter can't read; after ENOSYS glibc
        # uses clone.
        "clone": bpf.if_bits(0, _CLONE_THREAD, _CLONE_THREAD),
        "clone3": bpf.NOT_THERE,
        "tgkill": bpf.if_one_of(0, (os.getpid(),)),  # abort() signals the process itself
        "newfstatat": bpf.if_one_of(3, (_AT_EMPTY_PATH,)),  # fstat of an open descriptor, as glibc spells it
        "prctl": bpf.if_one_of(0, (_PR_SET_NAME, _PR_SET_VMA)),
        # Not F_SETOWN and F_SETSIG: a pipe could be made to send the parent any signal.
        "fcntl": bpf.if_one_of(1, (_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC)),
    }
    if devices:
        calls["ioctl"] = bpf.ALLOW
    bpf.install(machine, bpf.assemble(machine, calls))
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
