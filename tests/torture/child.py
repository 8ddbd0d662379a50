"""The process that workloads run in: it waits with everything loaded, and forks one child for each run.

Started with the disk of `disk.c` preloaded. Reads a task a line from standard input, answers each with a line.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Literal

import msgspec

from tests.torture import recorder
from tests.torture.repeatable import make_repeatable
from tests.torture.stage import Stage
from tests.torture.state import State
from tests.torture.workloads import WORKLOADS
from vault.errors import ClawError

__all__ = ["Outcome", "Report", "Task", "serve"]

Outcome = Literal["done", "refused", "traceback", "killed", "crashed"]

_HUNG_S = 60


class Task(msgspec.Struct):
    """One run.

    Attributes:
        workload: Its name.
        root: The folder that it works in.
        told: What `recorder.start` tells the disk.
        before: What the vault in it holds.
        observing: Whether to look at what the vault holds after each step.
        kill_after_s: When to kill it, if at all.
    """

    workload: str
    root: str
    told: dict[str, str]
    before: State
    observing: bool = False
    kill_after_s: float | None = None


class Report(msgspec.Struct):
    """How a run ended.

    Attributes:
        outcome: To its end; by an error of ours; by any other; killed; or in any other way.
        text: The error.
        fired: Whether the fault came.
        changes: How many changes of files there were, faults included.
    """

    outcome: Outcome
    text: str = ""
    fired: bool = False
    changes: int = 0


def serve() -> None:
    """Work until standard input ends."""
    for line in sys.stdin.buffer:
        task = msgspec.json.decode(line, type=Task)
        receiving, sending = os.pipe()
        child = os.fork()
        if not child:
            os.close(receiving)
            with os.fdopen(sending, "wb") as answer:
                answer.write(msgspec.json.encode(_perform(task)))
            os._exit(0)
        os.close(sending)
        if task.kill_after_s is not None:
            time.sleep(task.kill_after_s)
            os.kill(child, signal.SIGKILL)
        with os.fdopen(receiving, "rb") as answer:
            told = answer.read()
        _, status = os.waitpid(child, 0)
        if not told:
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            told = msgspec.json.encode(Report("killed" if killed else "crashed", f"wait status {status}"))
        sys.stdout.buffer.write(told + b"\n")
        sys.stdout.buffer.flush()


def _perform(task: Task) -> Report:
    signal.alarm(_HUNG_S)  # its default action ends us: "crashed"
    make_repeatable(0)
    recorder.start(task.told)
    outcome: Outcome = "done"
    text = ""
    stage = Stage(Path(task.root), task.before, observing=task.observing)
    try:
        try:
            WORKLOADS[task.workload].run(stage)
        except ClawError as error:
            outcome, text = "refused", f"{type(error).__name__}: {error}"
        stage.leave()
    except Exception:  # noqa: BLE001  whatever it is, it is what a person would have seen
        outcome, text = "traceback", traceback.format_exc()
    fired, changes = recorder.report()
    return Report(outcome, text, fired, changes)


if __name__ == "__main__":
    serve()
