"""The tier of macOS: one process behind Seatbelt, by `sandbox-exec`, with limits of its own.

NEVER RUN ON A MAC BY US. It is written from the profiles that others ship and what they found out; its parts are
tested on Linux as far as they are the same there, the profile as text. On a Mac the self-test of
`skills.sandbox.tiers` decides as everywhere: what can't start, or lets something through, isn't used, and then
nothing is run.

Weaker than the tiers of Linux in three things. A Mac has no files in memory: what goes in and comes out lies in a
private folder for the time of the run, then it is removed (FileVault encrypts it, where it is on). The kernel
limits no process's memory: it is looked at twenty times a second, and the process ended. And a folder that the job
may read stands among the arguments of `sandbox-exec` for the moment until that has become the job.
"""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from skills.errors import JobRefused, SandboxError
from skills.sandbox.channel import Channel, in_memory
from skills.sandbox.footprint import exceeds
from skills.sandbox.job import Job
from skills.sandbox.seatbelt_profile import profile_of
from skills.sandbox.walls import ENVIRONMENT, Running, interpreter, is_python, limits_of

__all__ = ["Seatbelt"]

_SANDBOX_EXEC = "/usr/bin/sandbox-exec"
_APPLICATION = Path("Resources/Python.app/Contents/MacOS/Python")
"""What the interpreter of a framework becomes as its first act."""
_NOT_KEPT_THERE = (resource.RLIMIT_AS, resource.RLIMIT_NPROC)
"""macOS takes the first and doesn't keep it; the second counts all that the person runs."""


class Seatbelt:
    """Runs each job as one process that the system's own sandbox confines."""

    name = "seatbelt"

    def why_not(self) -> str:
        """What it lacks on this system; empty where nothing is known to be missing."""
        if os.uname().sysname != "Darwin":
            return "Seatbelt is a part of macOS"
        return "" if os.access(_SANDBOX_EXEC, os.X_OK) else f"{_SANDBOX_EXEC} isn't there"

    def start(self, job: Job, channel: Channel) -> Running:
        """Start a job; as `skills.sandbox.walls.Walls` says."""
        if job.limits.processes > 1:
            raise JobRefused("This needs more than one process, which the sandbox of macOS doesn't run.")
        with contextlib.ExitStack() as failing:
            try:
                folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="claw-")))
                failing.callback(shutil.rmtree, folder, ignore_errors=True)
                lay_out(folder, job, channel)
            except OSError as error:
                raise SandboxError(f"There is no room for what goes in: {error.strerror}.") from error
            orders = in_memory(orders_of(folder, job, channel))
            failing.callback(os.close, orders)
            process = subprocess.Popen(
                [str(interpreter()), "-I", "-S", "-B", str(Path(__file__).with_name("limited.py")), str(orders)],
                stdin=channel.stdin,
                stdout=channel.stdout,
                stderr=channel.stderr,
                env={},
                start_new_session=True,
                pass_fds=[channel.progress, orders],
            )
            failing.pop_all()
            os.close(orders)
        return Running(
            process,
            lambda: shutil.rmtree(folder, ignore_errors=True),
            lambda: exceeds(process.pid, job.limits.memory),
        )


def lay_out(folder: Path, job: Job, channel: Channel) -> None:
    """Lay out `in/` and `out/`, and have the channel read what is written there.

    Raises:
        OSError: there is no room.
    """
    for name in ("in", "out"):
        (folder / name).mkdir(mode=0o700)
    for name, data in job.inputs.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name, descriptor in channel.outputs.items():
        made = os.open(folder / "out" / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.dup2(made, descriptor, inheritable=False)
        os.close(made)


def orders_of(folder: Path, job: Job, channel: Channel) -> bytes:
    """What `skills.sandbox.limited` is to do, as JSON."""
    programs = _programs(folder, job)
    read_only = [Path(os.path.realpath(path)) for path in job.read_only]
    python = Path(os.path.realpath(sys.base_prefix))
    text, parameters = profile_of(folder, python, programs, read_only)
    defined = [word for name, value in parameters.items() for word in ("-D", f"{name}={value}")]
    limits = limits_of(job.limits, job.limits.memory)
    return json.dumps(
        {
            "argv": [_SANDBOX_EXEC, "-p", text, *defined, str(programs[0]), *job.argv[1:]],
            "folder": str(folder),
            "environment": {**ENVIRONMENT, "HOME": "/nowhere", "CLAW_PROGRESS": str(channel.progress)},
            "limits": [[what, *values] for what, values in limits.items() if what not in _NOT_KEPT_THERE],
        }
    ).encode()


def _programs(folder: Path, job: Job) -> list[Path]:
    """What is executed, by its real path: of a Python that is a framework, what it becomes too."""
    if is_python(job):
        application = Path(os.path.realpath(sys.base_prefix)) / _APPLICATION
        return [interpreter(), *([application] if application.exists() else [])]
    named = folder / job.argv[0]
    if "/" in job.argv[0]:
        return [Path(os.path.realpath(named))]
    # What isn't there is executed all the same, in vain, and the person reads its name.
    return [Path(os.path.realpath(shutil.which(job.argv[0], path=ENVIRONMENT["PATH"]) or named))]
