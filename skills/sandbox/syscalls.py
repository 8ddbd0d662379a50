"""The numbers of Linux's system calls, of those that some filter of ours lets through.

From the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.

This and what confines a process (`bpf`, `landlock`, `program_filter`) import next to nothing: they are loaded at
each start of a sandboxed program, where `typing` or `pathlib` would take longer than all the rest.
"""

import os
import sys

__all__ = ["Machine", "Unsupported", "this_machine"]

_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None), "fstat": (5, 80),
    "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226),
    "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "ioctl": (16, 29), "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65),
    "writev": (20, 66), "access": (21, None), "pipe": (22, None), "select": (23, None),
    "sched_yield": (24, 124), "mremap": (25, 216), "msync": (26, 227), "mincore": (27, 232),
    "madvise": (28, 233), "dup": (32, 23), "dup2": (33, None), "pause": (34, None), "nanosleep": (35, 101),
    "getitimer": (36, 102), "alarm": (37, None), "setitimer": (38, 103), "getpid": (39, 172),
    "sendfile": (40, 71), "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211),
    "recvmsg": (47, 212), "shutdown": (48, 210), "getsockname": (51, 204), "getpeername": (52, 205),
    "socketpair": (53, 199), "setsockopt": (54, 208), "getsockopt": (55, 209), "clone": (56, 220),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "exit": (60, 93), "wait4": (61, 260),
    "kill": (62, 129), "uname": (63, 160), "fcntl": (72, 25), "flock": (73, 32), "fsync": (74, 82),
    "fdatasync": (75, 83), "truncate": (76, 45), "ftruncate": (77, 46), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "rename": (82, None), "mkdir": (83, None), "rmdir": (84, None), "link": (86, None),
    "unlink": (87, None), "symlink": (88, None), "readlink": (89, None), "chmod": (90, None),
    "fchmod": (91, 52), "umask": (95, 166), "gettimeofday": (96, 169), "getrlimit": (97, 163),
    "getrusage": (98, 165), "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174),
    "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177), "setpgid": (109, 154),
    "getppid": (110, 173), "getpgrp": (111, None), "setsid": (112, 157), "getgroups": (115, 158),
    "getresuid": (118, 148), "getresgid": (120, 150), "getpgid": (121, 155), "getsid": (124, 156),
    "rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132), "utime": (132, None), "statfs": (137, 43), "fstatfs": (138, 44),
    "getpriority": (140, 141), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126), "mlock": (149, 228),
    "munlock": (150, 229), "prctl": (157, 167), "arch_prctl": (158, None), "setrlimit": (160, 164),
    "gettid": (186, 178), "readahead": (187, 213), "getxattr": (191, 8), "lgetxattr": (192, 9),
    "fgetxattr": (193, 10), "listxattr": (194, 11), "llistxattr": (195, 12), "flistxattr": (196, 13),
    "tkill": (200, 130), "time": (201, None), "futex": (202, 98), "sched_setaffinity": (203, 122),
    "sched_getaffinity": (204, 123), "epoll_create": (213, None), "getdents64": (217, 61),
    "set_tid_address": (218, 96), "restart_syscall": (219, 128), "fadvise64": (221, 223),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "exit_group": (231, 94), "epoll_wait": (232, None), "epoll_ctl": (233, 21), "tgkill": (234, 131),
    "utimes": (235, None), "waitid": (247, 95), "openat": (257, 56), "mkdirat": (258, 34),
    "futimesat": (261, None), "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38),
    "linkat": (265, 37), "symlinkat": (266, 36), "readlinkat": (267, 78), "fchmodat": (268, 53),
    "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73), "set_robust_list": (273, 99),
    "get_robust_list": (274, 100), "utimensat": (280, 88), "epoll_pwait": (281, 22),
    "timerfd_create": (283, 85), "eventfd": (284, None), "fallocate": (285, 47), "timerfd_settime": (286, 86),
    "timerfd_gettime": (287, 87), "signalfd4": (289, 74), "eventfd2": (290, 19), "epoll_create1": (291, 20),
    "dup3": (292, 24), "pipe2": (293, 59), "preadv": (295, 69), "pwritev": (296, 70), "prlimit64": (302, 261),
    "getcpu": (309, 168), "renameat2": (316, 276), "getrandom": (318, 278), "membarrier": (324, 283),
    "copy_file_range": (326, 285), "preadv2": (327, 286), "pwritev2": (328, 287), "statx": (332, 291),
    "rseq": (334, 293), "clone3": (435, 435), "close_range": (436, 436), "faccessat2": (439, 439),
    "epoll_pwait2": (441, 441),
}  # fmt: skip
"""On x86_64, and on aarch64; `None`: there is no such call there."""


class Unsupported(OSError):
    """This system can't confine a process in this way; the text says why."""


class Machine:
    """What a filter has to know of the processor it is for.

    Args:
        architecture: The audit architecture of its 64-bit calls.
        seccomp: The number of seccomp(2).
        column: Where its numbers stand in the table.
    """

    def __init__(self, architecture: int, seccomp: int, column: int) -> None:
        self.architecture = architecture
        self.seccomp = seccomp
        self._column = column

    def number(self, name: str) -> int | None:
        """The number of a call; `None` where this machine has no such call."""
        return _NUMBERS[name][self._column]


_MACHINES = {"x86_64": Machine(0xC000003E, 317, 0), "aarch64": Machine(0xC00000B7, 277, 1)}


def this_machine() -> Machine:
    """The machine this runs on.

    Raises:
        Unsupported: no filter is built for it.
    """
    if sys.platform != "linux":
        raise Unsupported(f"no confinement is built for {sys.platform} yet")
    machine = os.uname().machine
    if machine not in _MACHINES or sys.maxsize <= 1 << 32:
        raise Unsupported(f"no confinement is built for {machine} processors")
    return _MACHINES[machine]
