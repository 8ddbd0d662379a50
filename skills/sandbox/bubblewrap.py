"""The first tier: namespaces of its own by bubblewrap (bwrap(1)), and our filter and limits inside them.

bubblewrap alone lets a program make sockets of other families, nest user namespaces, read the session's keys and
trace its siblings; `skills.sandbox.program_filter` takes that away. Its options travel in a file in memory, where
no list of processes shows them.
"""

import contextlib
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from skills.errors import JobRefused, SandboxError
from skills.sandbox.cgroup import Cgroup
from skills.sandbox.channel import Channel, in_memory
from skills.sandbox.footprint import has_too_many_files
from skills.sandbox.job import Job
from skills.sandbox.lifeline import Lifeline
from skills.sandbox.program_filter import program_filter
from skills.sandbox.syscalls import this_machine
from skills.sandbox.walls import ENVIRONMENT, THREADS, Running, interpreter, is_python, limits_of

__all__ = ["Bubblewrap"]

_SYSTEM = ("lib", "lib32", "lib64", "libx32", "bin", "sbin")
_PROC = Path("/proc")
_MASKED = """
    keys key-users kcore kmsg sched_debug timer_list
    slabinfo vmallocinfo pagetypeinfo kpagecount kpageflags kpagecgroup
"""
_TERMINALS = "/dev/pts/ptmx"
"""What makes pseudo-terminals, of which the whole machine has a number."""
_PYTHON = Path("/py")
_USR = Path("/usr")
_SCRATCH = "/tmp"  # noqa: S108 - the job's own
_NOBODY = "65534"
_START_WITHIN_S = 10.0
_NO_GROUP = Cgroup([], caps_memory=False, caps_tasks=False)


class _Info(msgspec.Struct):
    """What `--info-fd` tells."""

    child: int = msgspec.field(name="child-pid")


class Bubblewrap:
    """Runs each job in namespaces of its own: files, processes, network, users, IPC, host name, cgroups."""

    name = "bubblewrap"

    def __init__(self) -> None:
        self._program = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")

    def why_not(self) -> str:
        """What it lacks on this system; empty where nothing is known to be missing."""
        return "" if self._program else "bubblewrap isn't installed (apt install bubblewrap)"

    def start(self, job: Job, channel: Channel) -> Running:
        """Start a job; as `skills.sandbox.walls.Walls` says."""
        limits = job.limits
        with contextlib.ExitStack() as failing, contextlib.ExitStack() as passed:

            def given(descriptor: int) -> int:
                passed.callback(os.close, descriptor)
                return descriptor

            # Joining a group takes the kernel some milliseconds. One process of an ordinary user's is capped
            # without one; of root's, nothing else would count the threads.
            grouped = limits.processes > 1 or os.geteuid() == 0
            group = (
                Cgroup.create(limits.memory + limits.scratch, limits.processes + THREADS) if grouped else _NO_GROUP
            )
            failing.callback(group.remove)
            told, info = os.pipe()
            failing.callback(os.close, told)
            blocked, release = os.pipe()
            failing.callback(os.close, release)
            given(info)
            given(blocked)
            # What waits goes on when nobody is left to release it, so the lifeline's end has to close last.
            lifeline = Lifeline(keeps=(release,))
            failing.callback(lifeline.let_go)
            seccomp = given(in_memory(program_filter(this_machine(), forks=limits.processes > 1)))
            files = {name: given(in_memory(data)) for name, data in job.inputs.items()}
            options = [*_options(job, files, channel), "--seccomp", str(seccomp)]
            options += ["--info-fd", str(info), "--block-fd", str(blocked)]
            arguments = given(in_memory(b"".join(os.fsencode(option) + b"\0" for option in options)))
            process = subprocess.Popen(
                [self._program or "", "--args", str(arguments), "--", *_command(job)],
                stdin=channel.stdin,
                stdout=channel.stdout,
                stderr=channel.stderr,
                env={},
                process_group=lifeline.group,
                pass_fds=[*channel.inherited, *files.values(), seccomp, info, blocked, arguments],
            )
            failing.callback(_end, process, lifeline.group)
            passed.close()
            channel.started()
            child = _child_of(told, channel)
            lifeline.tell(child)
            alive = os.pidfd_open(child)
            failing.callback(os.close, alive)
            # Before it is let go on, so that whatever it starts inherits them.
            group.add(child)
            if limits.processes > 1 and not group.caps_tasks and os.geteuid() == 0:
                raise JobRefused("As root, and without cgroups, nothing would limit how many processes it starts.")
            memory = limits.memory if group.caps_memory else limits.memory // limits.processes
            longest = max(map(len, job.inputs.values()), default=0)  # bubblewrap writes them, within the limits
            for what, value in limits_of(limits, memory, longest).items():
                resource.prlimit(child, what, value)
            os.write(release, b"\n")
            os.close(told)
            os.close(release)
            failing.pop_all()

        def gone() -> None:
            try:
                _kill(alive)
                _readable(alive, None)
            finally:
                os.close(alive)
                group.remove()
                lifeline.let_go()

        def exceeds() -> bool:
            return bool(limits.scratch) and has_too_many_files(child, _SCRATCH, limits.scratch)

        return Running(process, gone, exceeds)


def _options(job: Job, files: dict[str, int], channel: Channel) -> list[str]:
    options = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    options += ["--uid", _NOBODY, "--gid", _NOBODY, "--cap-drop", "ALL", "--hostname", "sandbox"]
    environment = {**ENVIRONMENT, "HOME": _SCRATCH, "CLAW_PROGRESS": str(channel.progress)}
    if is_python(job) and not _in_usr():
        # Its own library, where it has one, is looked for where it was installed; another version's may be found.
        environment["LD_LIBRARY_PATH"] = str(_PYTHON / "lib")
    for name, value in environment.items():
        options += ["--setenv", name, value]
    options += ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        folder = Path("/", name)
        if folder.is_symlink():
            options += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            options += ["--ro-bind", str(folder), str(folder)]
    if not _in_usr():
        options += ["--ro-bind", sys.base_prefix, str(_PYTHON)]
    options += ["--proc", "/proc", "--dev", "/dev"]
    masked = [str(path) for path in map(_PROC.joinpath, _MASKED.split()) if os.access(path, os.R_OK)]
    for name in (*masked, _TERMINALS):
        options += ["--ro-bind", "/dev/null", name]
    # Whoever root runs is the owner of the kernel's settings, with or without capabilities.
    options += ["--remount-ro", "/proc", "--remount-ro", "/dev"]
    if job.limits.scratch:
        options += ["--size", str(job.limits.scratch), "--tmpfs", _SCRATCH]
    for path in job.read_only:  # last, or a /tmp of its own would hide those that lie there
        options += ["--ro-bind", str(path), str(path)]
    options += ["--dir", "/in", "--dir", "/out"]
    for name, descriptor in files.items():
        options += ["--file", str(descriptor), f"/in/{name}"]
    for name, descriptor in channel.outputs.items():
        options += ["--symlink", f"/proc/self/fd/{descriptor}", f"/out/{name}"]
    # The root is in memory too, and of any size.
    return [*options, "--remount-ro", "/", "--chdir", "/"]


def _command(job: Job) -> list[str]:
    if not is_python(job):
        return list(job.argv)
    program = interpreter()
    if not _in_usr():
        program = _PYTHON / program.relative_to(Path(sys.base_prefix).resolve())
    return [str(program), *job.argv[1:]]


def _in_usr() -> bool:
    return Path(sys.base_prefix).resolve().is_relative_to(_USR)


def _child_of(told: int, channel: Channel) -> int:
    """The process that will become the job's first, as bubblewrap tells."""
    answer, said = b"", ""
    while not answer.rstrip().endswith(b"}"):
        part = os.read(told, 4096) if _readable(told, _START_WITHIN_S) else b""
        if not part:
            os.set_blocking(channel.heard[1], False)
            with contextlib.suppress(BlockingIOError):
                said = os.read(channel.heard[1], 4096).decode(errors="replace").strip()
            raise SandboxError(f"bubblewrap could not start: {said or 'it said nothing'}")
        answer += part
    return msgspec.json.decode(answer, type=_Info).child


def _readable(descriptor: int, within_s: float | None) -> bool:
    """Wait until something can be read; whether it can."""
    poll = select.poll()  # select(2) knows no descriptor above 1,023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if within_s is None else within_s * 1000))


def _kill(process: int) -> None:
    """End the job's first process, and with it all of them; it dies with its parent only once it has said so.

    Args:
        process: By its descriptor.
    """
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)


def _end(process: "subprocess.Popen[bytes]", group: int) -> None:
    """End bubblewrap, and the process that it keeps waiting, which would otherwise go on when we close our end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    process.wait()
