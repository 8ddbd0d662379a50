"""The second tier, where bubblewrap is missing or kept from working: one process that Landlock and seccomp confine.

It shares the machine's files and processes and can touch none of them: weaker than namespaces in what it can *see*
(of names that it guesses, which exist, and the size, times, owner and mode of such a file; which numbers processes
have), and it can start no other process.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from skills.errors import JobRefused, SandboxError
from skills.sandbox import landlock
from skills.sandbox.channel import Channel, in_memory
from skills.sandbox.job import PYTHON, Job
from skills.sandbox.leftovers import claim, sweep
from skills.sandbox.lifeline import Lifeline
from skills.sandbox.syscalls import Unsupported, this_machine
from skills.sandbox.walls import ENVIRONMENT, Running, interpreter, is_python, limits_of

__all__ = ["Landlocked"]

_MEMORY = Path("/dev/shm")  # noqa: S108 - in a folder with a random name that is ours alone
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/etc/ld.so.cache", "/dev/urandom")
_PACKAGE = Path(__file__).parents[2]


class Landlocked:
    """Runs each job as one process that has given up the machine's files, network and processes."""

    name = "landlock"

    def why_not(self) -> str:
        """What it lacks on this system; empty where nothing is known to be missing."""
        try:
            this_machine()
        except Unsupported as error:
            return str(error)
        if not landlock.abi():
            return "this kernel has no Landlock (Linux 5.13 has, where it is switched on)"
        return "" if _is_memory(_MEMORY) else f"{_MEMORY}, for files in memory, isn't there"

    def start(self, job: Job, channel: Channel) -> Running:
        """Start a job; as `skills.sandbox.walls.Walls` says."""
        if job.limits.processes > 1:
            raise JobRefused(
                "This needs more than one process, which the sandbox without bubblewrap can't run.",
                hint="Install it: apt install bubblewrap",
            )
        sweep(_MEMORY, _remove)
        with contextlib.ExitStack() as failing:
            try:
                folder, lock = claim(_MEMORY)
                failing.callback(os.close, lock)
                failing.callback(_remove, folder)
                lifeline = Lifeline(folder)
                failing.callback(lifeline.let_go)
                _lay_out(folder, job, channel)
            except OSError as error:
                raise SandboxError(f"{_MEMORY} has no room for what goes in: {error.strerror}.") from error
            orders = in_memory(_orders(folder, job, channel))
            failing.callback(os.close, orders)
            alone = Path(__file__).with_name("alone.py")
            process = subprocess.Popen(
                [str(interpreter()), "-I", "-S", "-B", "-X", "utf8", str(alone), str(orders)],
                stdin=channel.stdin,
                stdout=channel.stdout,
                stderr=channel.stderr,
                env={},
                process_group=lifeline.group,
                pass_fds=[*channel.inherited, orders],
            )
            failing.callback(process.wait)
            failing.callback(process.kill)
            lifeline.tell(process.pid)
            failing.pop_all()
            os.close(orders)

        def gone() -> None:
            _remove(folder)
            os.close(lock)
            lifeline.let_go()

        return Running(process, gone)


def _lay_out(folder: Path, job: Job, channel: Channel) -> None:
    """Lay out `in/` and `out/` in memory."""
    for name in ("in", "out"):
        (folder / name).mkdir()
    for name, data in job.inputs.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name, descriptor in channel.outputs.items():
        (folder / "out" / name).symlink_to(f"/proc/self/fd/{descriptor}")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _orders(folder: Path, job: Job, channel: Channel) -> bytes:
    """What `skills.sandbox.alone` is to do, as it reads it."""
    argv = list(job.argv)
    script = 0
    if is_python(job):
        argv[0] = str(interpreter())
        if job.argv[: len(PYTHON)] == PYTHON and len(argv) > len(PYTHON) and not argv[len(PYTHON)].startswith("-"):
            script = len(PYTHON)
    environment = {**ENVIRONMENT, "HOME": "/nowhere", "CLAW_PROGRESS": str(channel.progress)}
    limits = limits_of(job.limits, job.limits.memory, others=_threads())
    orders: dict[str, list[str]] = {
        "argv": argv,
        "script": [str(script)],
        "environment": [word for item in environment.items() for word in item],
        "folder": [str(folder)],
        "limits": [str(number) for what, values in limits.items() for number in (what, *values)],
        "package": [str(_PACKAGE)],
        "readable": [*_SYSTEM, sys.base_prefix, str(folder), *map(str, job.read_only)],
        "writable": ["/dev/null"],
    }
    words = [word for name, given in orders.items() for word in (name, str(len(given)), *given)]
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def _threads() -> int:
    """How many threads run on this machine; 0 where it doesn't say.

    Those of the person's own would be enough, but they can't all be seen: not those in containers, nor whose those
    are that may not be looked into.
    """
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, IndexError, ValueError):
        return 0


def _is_memory(folder: Path) -> bool:
    """Whether a folder is a file system in memory."""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return False
    return any(line.split()[1:3] == [str(folder), "tmpfs"] for line in mounts)
