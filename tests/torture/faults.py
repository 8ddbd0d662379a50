"""A full or failing disk at each change in turn, and kills: the vault afterwards, and what the person was told."""

import itertools
import random
import shutil
from collections.abc import Iterator
from typing import NamedTuple

from tests.torture.beginnings import home_in
from tests.torture.powercuts import put
from tests.torture.recorder import Fault, Manner
from tests.torture.replay import Point, replayed
from tests.torture.rig import Rig, Run
from tests.torture.state import judge, progress
from tests.torture.workloads import WORKLOADS

__all__ = ["Ended", "each_fault", "kills_at_changes", "kills_by_time"]


class Ended(NamedTuple):
    """One run with a fault.

    Attributes:
        fault: As in the report.
        outcome: How the process ended.
        problems: What is wrong; mostly nothing.
    """

    fault: str
    outcome: str
    problems: list[str]


def each_fault(
    rig: Rig, workload: str, manner: Manner, code: int, *, first: int = 1, step: int = 1
) -> Iterator[Ended]:
    """Run with the fault at change number 1, 2, …, until a run ends before it comes.

    Args:
        rig: Where.
        workload: What.
        manner: How changes fail.
        code: What they say.
        first: The change to begin with.
        step: Try only each so-manieth change.
    """
    for at in itertools.count(first, step):
        with rig.run(workload, Fault(at, manner, code)) as run:
            if not run.report.fired:
                return
            yield _ended(rig, workload, f"{manner} {code} at change {at}", run, and_cut=at)


def kills_at_changes(rig: Rig, workload: str, number: int, seed: int) -> Iterator[Ended]:
    """Kill before, or in the middle of, changes drawn by lot."""
    dice = random.Random(seed)
    changes = rig.recording(workload).run.report.changes
    for _ in range(number):
        fault = Fault(dice.randint(1, changes), dice.choice(("kill", "tear")))
        with rig.run(workload, fault) as run:
            yield _ended(rig, workload, f"{fault.manner} at change {fault.at}", run)


def kills_by_time(rig: Rig, workload: str, number: int, seed: int) -> Iterator[Ended]:
    """Kill after a time drawn by lot, up to what the whole run takes."""
    dice = random.Random(seed)
    for _ in range(number):
        after_s = dice.uniform(0, rig.recording(workload).seconds)
        with rig.run(workload, kill_after_s=after_s) as run:
            yield _ended(rig, workload, f"kill after {after_s:.4f} s", run)


def _ended(rig: Rig, workload: str, fault: str, run: Run, *, and_cut: int | None = None) -> Ended:
    """Judge what the run left; and what a power cut right after it would leave, drawn by the seed `and_cut`."""
    states, reached = rig.recording(workload).states, progress(run.events)
    whole, journal = WORKLOADS[workload].whole, and_cut is None or not WORKLOADS[workload].journals
    problems = judge(home_in(run.root), states, reached, whole=whole, journal=journal, thorough=True)
    if run.report.outcome in ("traceback", "crashed"):
        problems.append(run.report.text)
    if and_cut is not None:
        for disk in replayed(run.before, run.root, run.events, [Point(len(run.events), and_cut)]):
            cut = rig.scratch / "cut"
            put(disk.after_cut(and_cut), cut)
            found = judge(home_in(cut), states, reached, whole=whole, journal=journal)
            problems += [f"and a power cut, seed {and_cut}: {problem}" for problem in found]
            shutil.rmtree(cut)
    where = f"{workload}, {fault}, {reached}"
    return Ended(fault, run.report.outcome, [f"{where}: {problem}" for problem in problems])
