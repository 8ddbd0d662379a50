"""The seccomp filter of a sandboxed program: what an interpreter, a shell or a trainer needs to compute, no more.

A list of what is allowed, so that calls of kernels to come are refused too. No sockets of any family but a
connected pair, no namespaces, keys, tracing, mounts, BPF or io_uring, no memory that limits don't count (System V,
memfd), and no ioctl but those that programs ask of a pipe.
"""

from skills.sandbox import bpf
from skills.sandbox.syscalls import Machine

__all__ = ["program_filter"]

_COMPUTING = """
    read write close fstat poll ppoll lseek mmap mprotect munmap brk mremap msync mincore madvise
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack restart_syscall
    pread64 pwrite64 readv writev preadv pwritev preadv2 pwritev2 pipe pipe2 select pselect6 dup dup2 dup3
    sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
    pause nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getitimer setitimer alarm
    timerfd_create timerfd_settime timerfd_gettime eventfd eventfd2 signalfd4
    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    recvfrom sendto recvmsg sendmsg shutdown getsockopt setsockopt getsockname getpeername
    getpid getppid gettid getpgrp getpgid getsid setpgid setsid getuid geteuid getgid getegid getresuid getresgid
    getgroups getpriority uname sysinfo getrlimit setrlimit getrusage umask
    arch_prctl futex set_robust_list get_robust_list set_tid_address membarrier rseq getcpu getrandom mlock munlock
    close_range execve exit exit_group wait4 waitid
"""
_FILES = """
    open openat stat lstat newfstatat statx access faccessat faccessat2 getcwd chdir fchdir getdents64
    statfs fstatfs flock fsync fdatasync ftruncate sendfile copy_file_range fallocate fadvise64 readahead
    rename renameat renameat2 mkdir mkdirat rmdir unlink unlinkat link linkat symlink symlinkat
"""
_LINKS = "readlink readlinkat"
_ATTRIBUTES = "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr"
_UNGUARDED = "truncate chmod fchmod fchmodat utimensat utime utimes futimesat sched_setaffinity"
"""What Landlock doesn't guard, or not on every kernel: for programs whose files and processes are their own."""

_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020000
_F_LOCKS = (5, 6, 7, 36, 37, 38)
_F_ALLOWED = (0, 1, 2, 3, 4, 1030, 1032, *_F_LOCKS)  # not F_SETOWN, F_SETSIG, F_NOTIFY, leases or seals
_IOCTLS = (0x5401, 0x540F, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGPGRP, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX."""
_PRCTLS = (3, 15, 16, 21, 23, 38, 39, 0x53564D41)
"""GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, CAPBSET_READ, SET_NO_NEW_PRIVS, GET_NO_NEW_PRIVS, SET_VMA."""
_AF_UNIX, _SOCK_STREAM, _SOCKET_TYPE = 1, 1, 0xF


def program_filter(machine: Machine, *, forks: bool, alone_as: int | None = None) -> bytes:
    """The filter for one program.

    Args:
        machine: The processor it is for.
        forks: Whether it may start other processes; threads it always may.
        alone_as: Its process id, where it shares processes and files with everybody: it may then signal itself
            alone, change no file's mode, times or length by name, and read no attributes and no links, which
            tell of files that it can't open. `None`: it has namespaces of its own.
    """
    calls = dict.fromkeys((_COMPUTING + _FILES).split(), bpf.ALLOW)
    signals = bpf.ALLOW
    if alone_as is None:
        calls |= dict.fromkeys(f"{_UNGUARDED} {_LINKS} {_ATTRIBUTES}".split(), bpf.ALLOW)
    else:
        calls |= dict.fromkeys(_LINKS.split(), bpf.NO_LINK)
        calls |= dict.fromkeys(_ATTRIBUTES.split(), bpf.NO_ATTRIBUTES)
        signals = bpf.if_one_of(0, (alone_as,))
    if forks:
        calls |= {"fork": bpf.ALLOW, "vfork": bpf.ALLOW, "clone": bpf.if_bits(0, _CLONE_NAMESPACES, 0)}
    else:
        calls["clone"] = bpf.if_bits(0, _CLONE_NAMESPACES | _CLONE_THREAD, _CLONE_THREAD)
    calls |= {
        "clone3": bpf.NOT_THERE,  # its flags lie in memory, which a filter can't read; glibc then uses clone
        "kill": signals,
        "tkill": signals,
        "tgkill": signals,
        "fcntl": bpf.if_one_of(1, _F_ALLOWED),
        "ioctl": bpf.if_one_of(1, _IOCTLS),
        "prctl": bpf.if_one_of(0, _PRCTLS),
        "prlimit64": bpf.if_exactly(0, 0, bpf.ALLOW),  # of itself
        # A datagram socket could be sent from to any other; one of a connected pair can't.
        "socketpair": bpf.if_exactly(0, _AF_UNIX, bpf.if_bits(1, _SOCKET_TYPE, _SOCK_STREAM)),
    }
    return bpf.assemble(machine, calls)
