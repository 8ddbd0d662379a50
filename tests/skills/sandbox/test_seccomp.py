"""The walls around our own child processes, tried from inside, in processes of their own."""

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from skills.sandbox import Unsupported, confine_to_descriptors
from tests.fixtures.processes import command, run_function

CALLS_X86_64 = {
    "open": 2, "stat": 4, "pipe": 22, "shmget": 29, "socket": 41, "connect": 42, "accept": 43, "sendto": 44,
    "bind": 49, "listen": 50, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59, "kill": 62, "semget": 64,
    "msgget": 68, "truncate": 76, "ftruncate": 77, "getcwd": 79, "chdir": 80, "rename": 82, "mkdir": 83,
    "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "readlink": 89, "chmod": 90, "fchmod": 91,
    "chown": 92, "ptrace": 101, "syslog": 103, "setuid": 105, "getppid": 110, "personality": 135, "pivot_root": 155,
    "setrlimit": 160, "chroot": 161, "mount": 165, "umount2": 166, "reboot": 169, "init_module": 175, "tkill": 200,
    "add_key": 248, "request_key": 249, "keyctl": 250, "inotify_init": 253, "openat": 257, "mkdirat": 258,
    "unlinkat": 263, "renameat": 264, "linkat": 265, "fchmodat": 268, "unshare": 272, "splice": 275,
    "timerfd_create": 283, "eventfd2": 290, "epoll_create1": 291, "pipe2": 293, "perf_event_open": 298,
    "fanotify_init": 300, "prlimit64": 302, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "seccomp": 317,
    "memfd_create": 319, "kexec_file_load": 320, "bpf": 321, "execveat": 322, "userfaultfd": 323, "statx": 332,
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "pidfd_open": 434, "close_range": 436, "openat2": 437,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "landlock_create_ruleset": 444,
    "memfd_secret": 447, "futex_wait": 455, "a call of the future": 900,
}  # fmt: skip
CALLS_AARCH64 = {
    "io_setup": 0, "setxattr": 5, "getcwd": 17, "eventfd2": 19, "epoll_create1": 20, "inotify_init1": 26,
    "ioctl": 29, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "umount2": 39, "mount": 40,
    "pivot_root": 41, "truncate": 45, "ftruncate": 46, "chdir": 49, "chroot": 51, "fchmod": 52, "openat": 56,
    "pipe2": 59, "readlinkat": 78, "personality": 92, "unshare": 97, "ptrace": 117, "kill": 129, "tkill": 130,
    "setuid": 146, "getppid": 173, "shmget": 194, "socket": 198, "socketpair": 199, "bind": 200, "connect": 203,
    "sendto": 206, "add_key": 217, "request_key": 218, "keyctl": 219, "execve": 221, "perf_event_open": 241,
    "prlimit64": 261, "fanotify_init": 262, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270,
    "process_vm_writev": 271, "finit_module": 273, "renameat2": 276, "seccomp": 277, "memfd_create": 279,
    "bpf": 280, "execveat": 281, "userfaultfd": 282, "statx": 291, "pidfd_send_signal": 424,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "pidfd_open": 434,
    "close_range": 436, "openat2": 437, "pidfd_getfd": 438, "a call of the future": 900,
}  # fmt: skip
CALLS = {"x86_64": CALLS_X86_64, "aarch64": CALLS_AARCH64}.get(platform.machine(), {})
CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine(), -1)
CLONE3 = 435
TGKILL = {"x86_64": 234, "aarch64": 131}.get(platform.machine(), -1)
X32_BIT = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


def why_not() -> str:
    """Why confinement can't be tried here; empty where it can."""
    if not CALLS or sys.platform != "linux":
        return f"no confinement is built for {sys.platform} on {platform.machine()}"
    ended = subprocess.run(command(give_up), cwd=Path(__file__).parents[3], capture_output=True, text=True)
    return "" if ended.returncode == 0 else f"this kernel confines nobody: {ended.stderr.strip().splitlines()[-1]}"


def give_up() -> None:
    confine_to_descriptors()


@pytest.fixture(scope="module", autouse=True)
def _seccomp_works() -> None:
    if reason := why_not():
        pytest.skip(reason)


def call(number: int, *arguments: object) -> int:
    """Make a system call; returns its error number, or 0."""
    ctypes.set_errno(0)
    words = [
        a if isinstance(a, ctypes._SimpleCData | ctypes._Pointer) else ctypes.c_long(int(str(a))) for a in arguments
    ]
    return ctypes.get_errno() if LIBC.syscall(ctypes.c_long(number), *words) == -1 else 0


def refuses(attempt: Callable[[], object]) -> bool:
    """Whether an attempt ends in EPERM."""
    try:
        attempt()
    except PermissionError as error:
        return error.errno == errno.EPERM
    return False


# What is gone


def test_no_file_can_be_opened_made_changed_or_removed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "folder").mkdir()
    run_function(touch_files, tmp_path)
    assert (tmp_path / "file").read_text() == "content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def touch_files(folder: str) -> None:
    file, new = f"{folder}/file", f"{folder}/new"
    descriptor = os.open(file, os.O_RDWR)
    confine_to_descriptors()
    attempts: list[Callable[[], object]] = [
        lambda: os.open(file, os.O_RDONLY),
        lambda: os.open("/proc/self/mem", os.O_RDWR),
        lambda: os.open(new, os.O_CREAT | os.O_WRONLY),
        lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR),
        lambda: os.unlink(file),
        lambda: os.rename(file, new),
        lambda: os.link(file, new),
        lambda: os.symlink(file, new),
        lambda: os.mkdir(new),
        lambda: os.rmdir(f"{folder}/folder"),
        lambda: os.chmod(file, 0o777),
        lambda: os.fchmod(descriptor, 0o777),
        lambda: os.truncate(file, 0),
        lambda: os.ftruncate(descriptor, 0),
        lambda: os.utime(file),
        lambda: os.stat(file),
        lambda: os.listdir(folder),
        lambda: os.chdir("/"),
        lambda: os.getcwd(),
        lambda: os.readlink("/proc/self/exe"),
        lambda: os.memfd_create("x"),
        lambda: os.pipe(),
        lambda: os.setxattr(file, "user.x", b"y"),
    ]
    assert [n for n, attempt in enumerate(attempts) if not refuses(attempt)] == []


def test_no_socket_of_any_family_can_be_made() -> None:
    run_function(make_sockets)


def make_sockets() -> None:
    confine_to_descriptors()
    for family in range(64):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            assert refuses(lambda family=family, kind=kind: socket.socket(family, kind)), (family, kind)  # type: ignore[misc]
    assert refuses(lambda: socket.socketpair())


def test_a_socket_held_before_cannot_be_connected_bound_or_listened_on() -> None:
    run_function(use_old_sockets)


def use_old_sockets() -> None:
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        stream.bind(("127.0.0.1", 0))
        address = stream.getsockname()
        confine_to_descriptors()
        assert refuses(lambda: datagram.connect(address))
        assert refuses(lambda: datagram.sendto(b"x", address))
        assert refuses(lambda: datagram.bind(("127.0.0.1", 0)))
        assert refuses(lambda: stream.listen())
        assert refuses(lambda: stream.accept())
        assert refuses(lambda: stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1))


def test_no_process_or_program_can_be_started() -> None:
    run_function(start_processes)


def start_processes() -> None:
    confine_to_descriptors()
    assert refuses(os.fork)
    assert refuses(lambda: os.execv(sys.executable, ["python", "-c", ""]))
    assert refuses(lambda: os.posix_spawn("/bin/true", ["true"], {}))
    assert refuses(lambda: subprocess.Popen(["/bin/true"]))
    assert call(CLONE, signal.SIGCHLD, 0, 0, 0, 0) == errno.EPERM
    assert call(CLONE3, 0, 0) == errno.ENOSYS  # so that the C library starts threads by clone


def test_no_other_process_can_be_signalled_traced_or_read() -> None:
    run_function(reach_for_the_parent)


def reach_for_the_parent() -> None:
    parent = os.getppid()
    confine_to_descriptors()
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        assert refuses(lambda number=number: os.kill(parent, number))  # type: ignore[misc]
    assert refuses(lambda: os.killpg(0, 0))
    assert refuses(lambda: os.kill(-1, 0))
    assert call(TGKILL, parent, parent, 0) == errno.EPERM
    for attempt in ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "prlimit64"):
        assert call(CALLS[attempt], parent, parent, 0, 0, 0) == errno.EPERM


def test_no_signal_can_be_sent_by_way_of_a_descriptors_owner() -> None:
    run_function(own_a_descriptor)


def own_a_descriptor() -> None:
    import fcntl

    reading, _writing = os.pipe()
    parent = os.getppid()
    confine_to_descriptors()
    assert refuses(lambda: fcntl.fcntl(reading, fcntl.F_SETOWN, parent))
    assert refuses(lambda: fcntl.fcntl(reading, 10, signal.SIGKILL))  # F_SETSIG
    assert refuses(lambda: fcntl.fcntl(reading, 15, struct.pack("ii", 1, parent)))  # F_SETOWN_EX
    assert refuses(lambda: fcntl.fcntl(reading, fcntl.F_NOTIFY, 0))
    assert refuses(lambda: fcntl.fcntl(reading, fcntl.F_SETLEASE, fcntl.F_WRLCK))


@pytest.mark.parametrize("name", CALLS)
def test_a_system_call_outside_the_list_is_refused(name: str, refused: dict[str, int]) -> None:
    assert refused[name] == errno.EPERM


@pytest.fixture(scope="module")
def refused() -> dict[str, int]:
    """What each forbidden call answered in a confined process, as an error number."""
    ended = run_function(make_every_call)
    return {name: int(number) for name, _, number in (line.rpartition(" ") for line in ended.stdout.splitlines())
            for name in [name.strip()]}  # fmt: skip


def make_every_call() -> None:
    confine_to_descriptors()
    for name, number in CALLS.items():
        # Arguments that would do no harm, should a call get through.
        print(name, " ", call(number, -1, 0, 0, 0, 0))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 is a way into x86-64 kernels")
def test_the_x32_spelling_of_a_call_is_refused() -> None:
    run_function(call_by_x32)


def call_by_x32() -> None:
    confine_to_descriptors()
    for number in (0, 2, 39, 41, 59, 520):  # read, open, getpid, socket, execve, x32's own execve
        assert call(X32_BIT + number, -1, 0, 0) == errno.EPERM


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is x86's")
def test_a_32_bit_call_ends_the_process() -> None:
    ended = subprocess.run(
        command(call_by_interrupt), cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert ended.stdout == "before\n", ended.stderr
    # SIGSEGV where the kernel has no 32-bit calls at all.
    assert ended.returncode in (-signal.SIGSYS, -signal.SIGSEGV)


def call_by_interrupt() -> NoReturn:
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20 (getpid of 32-bit Linux); int 0x80; ret
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as memory:
        memory.write(code)
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
        confine_to_descriptors()
        print("before", flush=True)
        function()
        print("after", flush=True)
    os._exit(0)


def test_it_cannot_be_lifted_and_a_second_confinement_fails_loudly() -> None:
    run_function(confine_twice)


def confine_twice() -> None:
    confine_to_descriptors()
    with pytest.raises(Unsupported):
        confine_to_descriptors()
    assert refuses(lambda: os.open("/", os.O_RDONLY))


def test_a_thread_that_ran_before_is_confined_too() -> None:
    run_function(confine_running_threads)


def confine_running_threads() -> None:
    confined, results = threading.Event(), []
    ready = threading.Barrier(4)

    def wait_and_try() -> None:
        ready.wait()
        confined.wait()
        results.append(refuses(lambda: os.open("/", os.O_RDONLY)) and refuses(lambda: socket.socket()))

    threads = [threading.Thread(target=wait_and_try) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    confine_to_descriptors()
    confined.set()
    for thread in threads:
        thread.join()
    assert results == [True, True, True]


def test_a_child_thread_started_afterwards_is_confined_too() -> None:
    run_function(try_in_a_new_thread)


def try_in_a_new_thread() -> None:
    confine_to_descriptors()
    results = []
    thread = threading.Thread(target=lambda: results.append(refuses(lambda: os.open("/", os.O_RDONLY))))
    thread.start()
    thread.join()
    assert results == [True]


# What stays


def test_open_descriptors_can_be_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from before")
    run_function(use_descriptors, tmp_path)
    assert (tmp_path / "file").read_bytes() == b"from within"


def use_descriptors(folder: str) -> None:
    file = os.open(f"{folder}/file", os.O_RDWR)
    reading, writing = os.pipe()
    one, other = socket.socketpair()
    confine_to_descriptors()
    assert os.read(file, 5) == b"from "
    assert os.pread(file, 6, 5) == b"before"
    assert os.fstat(file).st_size == 11
    assert os.lseek(file, 0, os.SEEK_SET) == 0
    assert os.write(file, b"from within") == 11
    with mmap.mmap(file, 11, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == b"from within"
    os.write(writing, b"through the pipe")
    assert os.read(reading, 100) == b"through the pipe"
    os.write(one.fileno(), b"through the socket")
    assert os.read(other.fileno(), 100) == b"through the socket"
    for descriptor in (file, os.dup(reading), reading, writing):
        os.close(descriptor)
    print("done")


def test_it_can_compute_take_memory_tell_the_time_and_draw_numbers() -> None:
    run_function(compute)


def compute() -> None:
    import time

    confine_to_descriptors()
    block = bytearray(200 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert sum(block[::4096]) == 120 * len(block[::4096])
    block += bytes(2**20)
    del block
    assert time.time() > 0
    assert time.monotonic() > 0
    time.sleep(0)
    assert len(os.urandom(32)) == 32
    assert os.getpid() > 0
    assert os.sched_getaffinity(0)


def test_threads_can_be_started_and_speak_with_each_other() -> None:
    run_function(start_threads)


def start_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    confine_to_descriptors()
    together = threading.Barrier(8)

    def work(n: int) -> int:
        together.wait()
        return n * n

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [n * n for n in range(8)]


def test_it_can_end_itself_in_every_way() -> None:
    for function, status in ((leave, 7), (abort, -signal.SIGABRT), (give_up, 0)):
        ended = subprocess.run(command(function), cwd=Path(__file__).parents[3], capture_output=True)
        assert ended.returncode == status


def leave() -> None:
    confine_to_descriptors()
    sys.exit(7)


def abort() -> None:
    confine_to_descriptors()
    os.abort()


def test_the_parent_can_still_stop_it() -> None:
    with subprocess.Popen(command(wait_forever), cwd=Path(__file__).parents[3], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"confined\n"
        process.terminate()
        assert process.wait() == -signal.SIGTERM


def wait_forever() -> None:
    confine_to_descriptors()
    print("confined", flush=True)
    threading.Event().wait()


# Where it can't be had


def test_an_unknown_machine_is_refused_and_nothing_is_confined(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.uname_result(("Linux", "here", "6", "#1", "riscv64"))
    monkeypatch.setattr(os, "uname", lambda: machine)
    with pytest.raises(Unsupported, match="riscv64"):
        confine_to_descriptors()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Unsupported, match="darwin"):
        confine_to_descriptors()
    os.close(os.open("/", os.O_RDONLY))


def test_a_filter_that_lets_a_file_be_opened_is_not_called_confinement() -> None:
    run_function(confine_with_a_hole, "open")


def test_a_filter_that_lets_a_socket_be_made_is_not_called_confinement() -> None:
    run_function(confine_with_a_hole, "socket")


def confine_with_a_hole(hole: str) -> None:
    from skills.sandbox import seccomp, syscalls

    syscalls._NUMBERS["socket"] = (CALLS_X86_64["socket"], CALLS_AARCH64["socket"])
    seccomp._ALLOWED += "openat" if hole == "open" else "socket"
    with pytest.raises(Unsupported, match="could be opened" if hole == "open" else "could be made"):
        confine_to_descriptors()


# With devices


def test_with_devices_open_ones_can_be_driven_and_nothing_else_is_gained() -> None:
    run_function(drive_a_device)


def drive_a_device() -> None:
    descriptor, other = os.pipe()
    os.write(other, b"four")
    confine_to_descriptors(devices=True)
    waiting = fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4)
    assert int.from_bytes(waiting, sys.byteorder) == 4
    assert refuses(lambda: os.open("/dev/null", os.O_RDONLY))
    assert refuses(lambda: socket.socket(socket.AF_INET))
    assert refuses(os.fork)
