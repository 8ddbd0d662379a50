"""Run inside the sandbox: tries to get out in every way that we know, and says which of them worked.

It reads where the outside is from `in/outside.json`, and writes what came of each probe to `out/found.json`. A
probe returns `None` or raises when it was refused, and says what it got otherwise. Nothing is skipped: a probe that
means nothing here is refused as well.
"""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import platform
import signal
import socket
import struct
import sys
from collections.abc import Callable


def held() -> list[int]:
    """The descriptors beyond the first three that are open."""
    found = []
    for descriptor in range(3, 256):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            found.append(descriptor)
    return found


HELD = held()
with open("in/outside.json") as told:
    OUTSIDE = json.load(told)
MACHINE = 0 if platform.machine() == "x86_64" else 1
CANARY = OUTSIDE["canary"]
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
PROBES: dict[str, Callable[[], object]] = {}

NUMBERS = {
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "unshare": (272, 97),
    "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "mount_setattr": (442, 442),
    "kexec_load": (246, 104), "finit_module": (313, 273), "syslog": (103, 116), "reboot": (169, 142),
    "swapon": (167, 224), "sethostname": (170, 161), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "personality": (135, 92), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "kcmp": (312, 272),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "inotify_init1": (294, 26), "quotactl": (179, 60), "acct": (163, 89), "seccomp": (317, 277),
    "landlock_create_ruleset": (444, 444), "setuid": (105, 146), "setgroups": (116, 159), "capset": (126, 91),
    "mknodat": (259, 33), "clone": (56, 220), "clone3": (435, 435), "execveat": (322, 281), "vmsplice": (278, 75),
    "splice": (275, 76), "tee": (276, 77), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "process_madvise": (440, 440), "prlimit64": (302, 261), "sched_setscheduler": (144, 119),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    "setxattr": (188, 5), "fsconfig": (431, 431), "cachestat": (451, 451), "lsm_set_self_attr": (460, 460),
    "chown": (92, 55), "io_setup": (206, 0), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "fchownat": (260, 54), "mlockall": (151, 230), "mbind": (237, 235), "utimensat": (280, 88),
    "getxattrat": (464, 464), "listxattrat": (465, 465),
    "ioperm": (173, -1), "iopl": (172, -1), "modify_ldt": (154, -1), "uselib": (134, -1), "ustat": (136, -1),
}  # fmt: skip


def probe(function: Callable[[], object]) -> Callable[[], object]:
    PROBES[function.__name__] = function
    return function


def call(name: str, *arguments: object) -> object:
    """Make a system call; `None` when it was refused."""
    number = NUMBERS[name][MACHINE]
    if number < 0:
        return None
    ourselves = os.getpid()
    result = LIBC.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    if os.getpid() != ourselves:
        os._exit(0)  # a child that was not to be
    if result >= 0:
        return f"{name} gave {result}"
    return None if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS, errno.EACCES) else f"{name} reached the kernel"


# Sockets

FAMILIES = {
    "unix": 1, "inet": 2, "ax25": 3, "ipx": 4, "inet6": 10, "netlink": 16, "packet": 17, "rds": 21, "llc": 26,
    "can": 29, "tipc": 30, "bluetooth": 31, "alg": 38, "vsock": 40, "qipcrtr": 42, "smc": 43, "xdp": 44,
}  # fmt: skip


def socket_probe(family: str, number: int, kind: str, type_: int) -> None:
    def attempt() -> object:
        socket.socket(number, type_).close()
        return f"a {kind} socket of the family {family}"

    PROBES[f"socket_{family}_{kind}"] = attempt


for name, number in FAMILIES.items():
    socket_probe(name, number, "stream", socket.SOCK_STREAM)
    socket_probe(name, number, "datagram", socket.SOCK_DGRAM)
for name in ("inet", "inet6", "packet", "netlink"):
    socket_probe(name, FAMILIES[name], "raw", socket.SOCK_RAW)


@probe
def a_pair_of_datagram_sockets() -> object:
    one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.sendto(b"out", OUTSIDE["datagrams"])
    return "a datagram was sent to a socket outside"


@probe
def a_connected_pair_sends_elsewhere() -> object:
    one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    one.sendto(b"out", OUTSIDE["datagrams"])
    return "it did"


@probe
def a_connected_pair_connects_elsewhere() -> object:
    one, _other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    one.connect(OUTSIDE["listener"])
    return "it did"


@probe
def a_name_is_resolved() -> object:
    return socket.getaddrinfo("localhost.localdomain", 80)


@probe
def a_listener_outside_is_reached() -> object:
    with socket.create_connection(("127.0.0.1", OUTSIDE["port"]), timeout=1):
        return "it was"


# Calls of the kernel


def call_probe(title: str, name: str, *arguments: object) -> None:
    PROBES[title] = lambda: call(name, *arguments)


_ZERO = ctypes.create_string_buffer(256)
for title, arguments in {
    "keys_of_the_session": ("keyctl", 0, -3, 0),
    "keys_are_read": ("keyctl", 11, -3, _ZERO, 256),
    "a_key_is_added": ("add_key", b"user", b"claw", b"x", 1, -3),
    "a_key_is_asked_for": ("request_key", b"user", b"claw", None, -3),
    "the_parent_is_traced": ("ptrace", 16, os.getppid(), 0, 0),
    "tracing_is_asked_for": ("ptrace", 0, 0, 0, 0),
    "memory_of_another_is_read": ("process_vm_readv", os.getppid(), _ZERO, 0, _ZERO, 0, 0),
    "memory_of_another_is_written": ("process_vm_writev", os.getppid(), _ZERO, 0, _ZERO, 0, 0),
    "bpf": ("bpf", 0, _ZERO, 64),
    "perf_events": ("perf_event_open", _ZERO, 0, -1, -1, 0),
    "userfaultfd": ("userfaultfd", 1),
    "io_uring": ("io_uring_setup", 1, _ZERO),
    "a_user_namespace": ("unshare", 0x10000000),
    "a_mount_namespace": ("unshare", 0x00020000),
    "a_network_namespace": ("unshare", 0x40000000),
    "a_process_namespace": ("unshare", 0x20000000),
    "a_user_namespace_by_clone": ("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0),
    "a_user_namespace_by_clone3": ("clone3", struct.pack("=11Q", 0x10000000, *[0] * 10), 88),
    "a_namespace_is_entered": ("setns", 0, 0),
    "a_mount": ("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "an_unmount": ("umount2", b"/proc", 2),
    "another_root": ("pivot_root", b"/tmp", b"/tmp"),
    "chroot": ("chroot", b"/tmp"),
    "open_tree": ("open_tree", -100, b"/", 1),
    "move_mount": ("move_mount", -100, b"/", -100, b"/tmp", 0),
    "fsopen": ("fsopen", b"tmpfs", 0),
    "fsconfig": ("fsconfig", 0, 0, None, None, 0),
    "mount_setattr": ("mount_setattr", -100, b"/", 0, _ZERO, 32),
    "another_kernel": ("kexec_load", 0, 0, None, 0),
    "a_kernel_module": ("finit_module", 0, b"", 0),
    "the_kernels_log": ("syslog", 10, None, 0),
    "reboot": ("reboot", 0, 0, 0, None),
    "swap": ("swapon", b"/tmp/swap", 0),
    "the_host_name": ("sethostname", b"x", 1),
    "the_clock_is_set": ("settimeofday", None, _ZERO),
    "a_clock_is_set": ("clock_settime", 0, _ZERO),
    "the_clock_is_slewed": ("adjtimex", None),
    "personality": ("personality", 0xFFFFFFFF),
    "memory_without_a_limit_by_memfd": ("memfd_create", b"x", 0),
    "memfd_secret": ("memfd_secret", 0),
    "shared_memory": ("shmget", 0, 4096, 0o1600),
    "a_message_queue": ("msgget", 0, 0o1600),
    "a_semaphore": ("semget", 0, 1, 0o1600),
    "a_posix_queue": ("mq_open", b"claw", 0o102, 0o600, None),
    "pidfd_open": ("pidfd_open", os.getppid() or 1, 0),
    "pidfd_getfd": ("pidfd_getfd", 0, 0, 0),
    "pidfd_send_signal": ("pidfd_send_signal", 0, 0, None, 0),
    "kcmp": ("kcmp", os.getpid(), os.getppid(), 0, 0, 0),
    "a_file_handle": ("name_to_handle_at", -100, b"/", _ZERO, _ZERO, 0),
    "a_file_by_handle": ("open_by_handle_at", -100, _ZERO, 0),
    "fanotify": ("fanotify_init", 0, 0),
    "inotify": ("inotify_init1", 0),
    "quotactl": ("quotactl", 0, None, 0, None),
    "acct": ("acct", None),
    "another_filter": ("seccomp", 1, 0, _ZERO),
    "landlock": ("landlock_create_ruleset", None, 0, 1),
    "root": ("setuid", 0),
    "groups": ("setgroups", 0, None),
    "capabilities": ("capset", _ZERO, _ZERO),
    "a_device": ("mknodat", -100, b"/tmp/device", 0o020666, 0x0101),
    "a_program_by_descriptor": ("execveat", 0, b"", None, None, 0x1000),
    "vmsplice": ("vmsplice", 1, None, 0, 0),
    "splice": ("splice", 0, None, 1, None, 0, 0),
    "tee": ("tee", 0, 1, 0, 0),
    "migrate_pages": ("migrate_pages", 0, 0, None, None),
    "move_pages": ("move_pages", 0, 0, None, None, None, 0),
    "process_madvise": ("process_madvise", 0, None, 0, 0, 0),
    "limits_of_another": ("prlimit64", os.getppid() or 1, 7, None, _ZERO),
    "realtime": ("sched_setscheduler", 0, 1, _ZERO),
    "priority_of_another": ("setpriority", 0, os.getppid(), 19),
    "ioprio": ("ioprio_set", 1, 0, 0),
    "cookies": ("lookup_dcookie", 0, _ZERO, 1),
    "nfsservctl": ("nfsservctl", 0, None, None),
    "an_attribute_of_a_file": ("setxattr", b"/tmp", b"user.x", b"x", 1, 0),
    "an_attribute_the_new_way": ("getxattrat", -100, CANARY.encode(), 0, b"user.canary", _ZERO, 16),
    "attributes_the_new_way": ("listxattrat", -100, CANARY.encode(), 0, _ZERO, 256),
    "cachestat": ("cachestat", 0, _ZERO, _ZERO, 0),
    "lsm": ("lsm_set_self_attr", 100, _ZERO, 0, 0),
    "an_owner": ("chown", b"/tmp", 1, 1),
    "an_owner_by_folder": ("fchownat", -100, b"/tmp", 1, 1, 0),
    "aio": ("io_setup", 1, _ZERO),
    "a_signal_with_a_value": ("rt_sigqueueinfo", os.getppid() or 1, 0, _ZERO),
    "a_signal_to_a_thread_with_a_value": ("rt_tgsigqueueinfo", 1, 1, 0, _ZERO),
    "all_memory_is_locked": ("mlockall", 1),
    "memory_policy": ("mbind", 0, 0, 0, None, 0, 0),
    "ports": ("ioperm", 0, 1, 1),
    "iopl": ("iopl", 3),
    "segments": ("modify_ldt", 0, None, 0),
    "uselib": ("uselib", b"x"),
}.items():
    call_probe(title, str(arguments[0]), *arguments[1:])


@probe
def a_call_of_the_x32_kind() -> object:
    if MACHINE:
        return None
    result = LIBC.syscall(0x40000000 | 41, 2, 1, 0)
    return result if result >= 0 else None


@probe
def keystrokes_for_the_terminal() -> object:
    import fcntl

    fcntl.ioctl(0, 0x5412, b"x")
    return "TIOCSTI was let through"


@probe
def a_pseudo_terminal() -> object:
    master, _ = os.openpty()
    return f"a terminal at {os.ttyname(master)}" if os.isatty(master) else None


@probe
def what_makes_pseudo_terminals() -> object:
    return f"at {os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)}"


@probe
def what_makes_pseudo_terminals_by_its_other_name() -> object:
    return f"at {os.open('/dev/pts/ptmx', os.O_RDWR | os.O_NOCTTY)}"


@probe
def signals_by_a_pipes_owner() -> object:
    import fcntl

    ours, _theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETOWN, os.getppid())
    return "F_SETOWN was let through"


@probe
def a_lease_on_a_file() -> object:
    import fcntl

    fcntl.fcntl(os.open("in/outside.json", os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)
    return "F_SETLEASE was let through"


@probe
def dumps_of_our_core() -> object:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))
    return "the limit was raised"


@probe
def a_limit_is_raised() -> object:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard + 4096, hard + 4096))
    return "the limit was raised"


# Files


def reads(path: str) -> object:
    with open(path, "rb") as file:
        data = file.read(4096)
    return f"{path} was read" if data else None


def read_probe(title: str, path: str) -> None:
    PROBES[title] = lambda: reads(path)


for title, path in {
    "a_file_outside_is_read": CANARY,
    "a_file_outside_by_our_root": f"/proc/self/root{CANARY}",
    "a_file_outside_by_the_first_process": f"/proc/1/root{CANARY}",
    "a_file_outside_by_the_parent": f"/proc/{os.getppid()}/root{CANARY}",
    "a_file_outside_by_a_process_outside": f"/proc/{OUTSIDE['pid']}/root{CANARY}",
    "a_file_outside_by_dots": "in/../" + "../" * 20 + CANARY.lstrip("/"),
    "the_environment_outside": f"/proc/{OUTSIDE['pid']}/environ",
    "the_command_line_outside": f"/proc/{OUTSIDE['pid']}/cmdline",
    "the_memory_map_outside": f"/proc/{OUTSIDE['pid']}/maps",
    "accounts": "/etc/passwd",
    "passwords": "/etc/shadow",
    "the_machines_id": "/etc/machine-id",
    "memory_of_the_machine": "/dev/mem",
    "the_kernels_messages": "/dev/kmsg",
    "symbols_of_the_kernel": "/proc/kcore",
    "disks": "/dev/vda",
    "key_holders": "/proc/keys",
    "what_the_kernel_allocates": "/proc/slabinfo",
    "where_the_kernel_allocates": "/proc/vmallocinfo",
    "how_memory_is_broken_up": "/proc/pagetypeinfo",
    "how_pages_of_memory_are_used": "/proc/kpageflags",
    "how_often_pages_of_memory_are_used": "/proc/kpagecount",
    "who_pays_for_pages_of_memory": "/proc/kpagecgroup",
    "system_settings": "/sys/kernel/uevent_seqnum",
}.items():
    read_probe(title, path)


@probe
def a_link_to_a_file_outside() -> object:
    os.symlink(CANARY, "/tmp/link")
    return reads("/tmp/link")


@probe
def a_hard_link_to_a_file_outside() -> object:
    os.link(CANARY, "/tmp/hard")
    return reads("/tmp/hard")


@probe
def an_output_that_becomes_a_link() -> object:
    os.unlink("out/spare")
    os.symlink(CANARY, "out/spare")
    return reads("out/spare")


@probe
def a_folder_is_swapped_for_a_link_while_it_is_used() -> object:
    os.mkdir("/tmp/swap")
    inside = os.open("/tmp/swap", os.O_RDONLY | os.O_DIRECTORY)
    os.rename("/tmp/swap", "/tmp/gone")
    os.symlink(os.path.dirname(CANARY), "/tmp/swap")
    os.close(inside)
    return reads(f"/tmp/swap/{os.path.basename(CANARY)}")


@probe
def a_folder_that_was_left_open() -> object:
    for descriptor in range(3, 256):
        try:
            found = os.open(os.path.basename(CANARY), os.O_RDONLY, dir_fd=descriptor)
        except OSError:
            continue
        return f"by descriptor {found}"
    return None


@probe
def a_file_that_was_left_open() -> object:
    for descriptor in range(3, 256):
        try:
            if os.pread(descriptor, 4096, 0) == b"canary outside":
                return f"at {descriptor}"
        except OSError:
            continue
    return None


def writes(path: str) -> object:
    with open(path, "ab") as file:
        file.write(b"x")
    return f"{path} was written"


def write_probe(title: str, path: str) -> None:
    PROBES[title] = lambda: writes(path)


for title, path in {
    "a_file_outside_is_written": CANARY,
    "a_new_file_outside": OUTSIDE["folder"] + "/new",
    "a_program_of_the_system": "/usr/bin/claw-was-here",
    "an_input": "in/outside.json",
    "a_new_input": "in/new",
    "a_new_output": "out/new",
    "the_root": "/new",
    "a_device_file": "/dev/new",
    "shared_memory_as_a_file": "/dev/shm/new",
    "a_setting_of_the_kernel": "/proc/sys/kernel/core_pattern",
    "who_is_killed_first": f"/proc/{OUTSIDE['pid']}/oom_score_adj",
    "what_we_may_be": "/proc/self/uid_map",
    "our_own_groups": "/sys/fs/cgroup/cgroup.procs",
    "memory_of_a_process_outside": f"/proc/{OUTSIDE['pid']}/mem",
}.items():
    write_probe(title, path)


@probe
def a_file_outside_is_truncated() -> object:
    os.truncate(CANARY, 0)
    return "it was"


@probe
def a_file_outside_is_removed() -> object:
    os.unlink(CANARY)
    return "it was"


@probe
def a_file_outside_is_renamed() -> object:
    os.rename(CANARY, CANARY + ".new")
    return "it was"


@probe
def a_file_outside_gets_another_mode() -> object:
    os.chmod(CANARY, 0o777)
    return "it did"


@probe
def a_file_outside_gets_another_time() -> object:
    os.utime(CANARY, (1, 1))
    return "it did"


@probe
def a_folder_outside_is_listed() -> object:
    return os.listdir(OUTSIDE["folder"])


@probe
def a_home_is_listed() -> object:
    return os.listdir(OUTSIDE["home"])


@probe
def an_attribute_of_a_file_outside() -> object:
    return os.getxattr(CANARY, "user.canary")


@probe
def attributes_of_a_file_outside_are_listed() -> object:
    return f"these: {os.listxattr(CANARY)}"


@probe
def attributes_of_a_file_outside_by_its_descriptor() -> object:
    descriptor = os.open(CANARY, os.O_PATH)
    return f"these: {os.listxattr(f'/proc/self/fd/{descriptor}')}"


@probe
def where_a_link_outside_leads() -> object:
    return os.readlink(OUTSIDE["folder"] + "/link")


@probe
def a_folder_outside_is_made() -> object:
    os.mkdir(OUTSIDE["folder"] + "/new-folder")
    return "it was"


@probe
def a_program_of_the_system_gets_another_mode() -> object:
    descriptor = os.open("/usr/bin/env", os.O_RDONLY)
    os.fchmod(descriptor, 0o755)
    return "it did"


# Processes


@probe
def a_signal_to_a_process_outside() -> object:
    os.kill(OUTSIDE["pid"], 0)
    return "it was sent"


@probe
def a_signal_to_the_group_outside() -> object:
    os.kill(-OUTSIDE["group"], 0)
    return "it was sent"


@probe
def processes_outside_are_listed() -> object:
    found = [name for name in os.listdir("/proc") if name == str(OUTSIDE["pid"])]
    return found or None


@probe
def another_interpreter_is_given_rights() -> object:
    with open("/proc/self/status") as file:
        status = file.read()
    granted = [line for line in status.splitlines() if line.startswith(("CapEff", "CapBnd", "CapPrm"))]
    return None if all(int(line.split()[1], 16) == 0 for line in granted) else granted


@probe
def roots_rights_could_be_had_again() -> object:
    # PR_CAPBSET_READ. Whoever isn't root can't drop these, and gains nothing by them.
    kept = [right for right in range(41) if LIBC.prctl(23, right, 0, 0, 0) == 1]
    return kept if kept and OUTSIDE["root"] else None


@probe
def the_environment_tells() -> object:
    return [name for name in os.environ if "CANARY" in name] or None


@probe
def descriptors_are_left() -> object:
    return None if len(HELD) == OUTSIDE["passed_on"] else HELD


@probe
def executable_memory_of_another() -> object:
    with open(f"/proc/{os.getppid()}/mem", "r+b") as file:
        mmap.mmap(file.fileno(), 4096)
    return "it was mapped"


def main() -> None:
    """Try everything."""
    found = {}
    for title in OUTSIDE["only"] or PROBES:
        try:
            got = PROBES[title]()
        except (OSError, ValueError, OverflowError, ImportError) as error:
            found[title] = {"allowed": False, "why": f"{type(error).__name__}: {error}"}
        else:
            found[title] = {"allowed": got is not None, "why": str(got)}
    with open("out/found.json", "w") as file:
        json.dump(found, file)
    sys.exit(0)


main()
