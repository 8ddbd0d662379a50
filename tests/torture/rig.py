"""Runs workloads on the disk under test: recorded, with a fault, or killed."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from tests.torture.beginnings import PASSPHRASE, home_in
from tests.torture.child import Report, Task
from tests.torture.recorder import Event, Fault, Operation, environment, events
from tests.torture.replay import Point, Snapshot, replayed, snapshot
from tests.torture.state import Mark, State, observe
from tests.torture.workloads import WORKLOADS
from vault.errors import NoVault
from vault.store import Vault

__all__ = ["Recording", "Rig", "Run"]

_FASTEST = Path("/dev/shm")


class Run(NamedTuple):
    """A run that has ended, its folder still there.

    Attributes:
        root: The folder.
        before: What lay in it when the run began.
        events: What happened to its files.
        report: How it ended.
    """

    root: Path
    before: Snapshot
    events: list[Event]
    report: Report


class Recording(NamedTuple):
    """A run to the end.

    Attributes:
        run: The run; its folder is gone.
        states: What the vault held before, and after each step.
        seconds: How long it takes, not looked at.
    """

    run: Run
    states: list[State]
    seconds: float


class Rig:
    """The disk, the process that runs on it, and the vaults that workloads begin with.

    Args:
        disk: The library, compiled.
    """

    def __init__(self, disk: Path) -> None:
        fast = _FASTEST if os.access(_FASTEST, os.W_OK) else disk.parent
        self.scratch = fast / f"claw-torture-{os.getpid()}-{id(self):x}"
        self.scratch.mkdir(mode=0o700)
        self._runs = 0
        self._recordings: dict[str, Recording] = {}
        self._first_states: dict[str, State] = {}
        self._server = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.torture.child"],
            env={**os.environ, "LD_PRELOAD": str(disk)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> "Rig":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()
        shutil.rmtree(self.scratch)

    @contextmanager
    def run(
        self,
        workload: str,
        fault: Fault | None = None,
        *,
        kill_after_s: float | None = None,
        observing: bool = False,
    ) -> Iterator[Run]:
        """Run a workload on a copy of the vault that it begins with; the copy goes when the caller is done with it.

        Args:
            workload: Its name.
            fault: What fails when.
            kill_after_s: When to kill it.
            observing: As in `Task`.
        """
        self._runs += 1
        root = self.scratch / f"run-{self._runs}"
        trace = self.scratch / f"run-{self._runs}.trace"
        shutil.copytree(self._beginning(workload), root)
        trace.touch()
        before = snapshot(root)
        told = environment(root, trace, fault)
        task = Task(workload, str(root), told, self._first_state(workload), observing, kill_after_s)
        try:
            report = self._perform(task)
            yield Run(root, before, list(events(trace)), report)
        finally:
            shutil.rmtree(root)
            trace.unlink()

    def recording(self, workload: str) -> Recording:
        """A run to the end, recorded and looked at after each step; the same one each time it is asked for.

        Raises:
            RuntimeError: the workload fails even without a fault, or its trace doesn't tell all that happened.
        """
        if workload not in self._recordings:
            states = [self._first_state(workload)]
            with self.run(workload, observing=True) as run:
                if run.report.outcome != "done":
                    raise RuntimeError(f"{workload} failed without a fault: {run.report.text}")
                _check_complete(run)
            for event in run.events:
                if event.operation is Operation.MARK:
                    mark = msgspec.json.decode(event.data, type=Mark)
                    if mark.state is not None:
                        states.append(mark.state)
            started = time.monotonic()
            with self.run(workload):
                seconds = time.monotonic() - started
            self._recordings[workload] = Recording(run, states, seconds)
        return self._recordings[workload]

    def _beginning(self, workload: str) -> Path:
        """The folder that a workload begins with, made when it is first asked for."""
        made = self.scratch / f"beginning-{workload}"
        if not made.exists():
            draft = self.scratch / "draft"
            draft.mkdir()
            WORKLOADS[workload].prepare(draft)
            draft.rename(made)
        return made

    def _first_state(self, workload: str) -> State:
        if workload not in self._first_states:
            look = self.scratch / "look"
            shutil.copytree(self._beginning(workload), look)
            try:
                with Vault.open_with_passphrase(home_in(look), PASSPHRASE) as vault:
                    state = State(observe(vault), PASSPHRASE, alarmed=bool(vault.alarm))
            except NoVault:
                state = State(None, PASSPHRASE)
            shutil.rmtree(look)
            self._first_states[workload] = state
        return self._first_states[workload]

    def _perform(self, task: Task) -> Report:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(msgspec.json.encode(task) + b"\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError("the process under the rig has ended")
        return msgspec.json.decode(answer, type=Report)


def _check_complete(run: Run) -> None:
    """A trace that missed something would prove nothing: replayed to its end, it must be what lies there."""
    (disk,) = replayed(run.before, run.root, run.events, [Point(len(run.events), 0)])
    told = {name: content for name, content in disk.now().items() if not name.endswith("-shm")}
    there = {
        path.relative_to(run.root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in run.root.rglob("*")
        if not path.name.endswith("-shm")
    }
    if told != there:
        differ = sorted(name for name in told.keys() | there.keys() if told.get(name, 0) != there.get(name, 0))
        raise RuntimeError(f"the trace doesn't tell all that happened to {differ}")
