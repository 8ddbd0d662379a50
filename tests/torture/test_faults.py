"""A full disk, a failing disk, and kills; `benchmarks/torture.py` has a fault at each change of every workload."""

import errno
from collections import Counter

import pytest

from tests.torture.faults import each_fault, kills_at_changes, kills_by_time
from tests.torture.recorder import Manner
from tests.torture.rig import Rig
from tests.torture.workloads import WORKLOADS

COUNTED = [name for name, workload in WORKLOADS.items() if not workload.several]
MANNERS: list[tuple[Manner, int]] = [
    ("once", errno.EIO),
    ("always", errno.EIO),
    ("once", errno.ENOSPC),
    ("always", errno.ENOSPC),
    ("short", errno.ENOSPC),
]


@pytest.mark.parametrize(("manner", "code"), MANNERS)
def test_a_disk_that_fails_at_any_change_leaves_the_old_or_the_new_state_and_a_clear_error(
    rig: Rig, manner: Manner, code: int
) -> None:
    ended = list(each_fault(rig, "pause", manner, code)) + list(each_fault(rig, "accept", manner, code, step=5))
    assert [problem for run in ended for problem in run.problems] == []
    assert Counter(run.outcome for run in ended)["refused"] > len(ended) // 2


@pytest.mark.parametrize("workload", COUNTED)
def test_whatever_it_was_doing_when_the_disk_failed(rig: Rig, workload: str) -> None:
    at = len(workload)  # so that each begins elsewhere
    ended = [
        run
        for manner, code in (MANNERS[at % 5], MANNERS[(at + 2) % 5])
        for run in each_fault(rig, workload, manner, code, first=1 + at, step=61)
    ]
    assert [problem for run in ended for problem in run.problems] == []
    assert ended


@pytest.mark.parametrize("workload", COUNTED)
def test_a_kill_at_any_change_loses_nothing_acknowledged(rig: Rig, workload: str) -> None:
    ended = list(kills_at_changes(rig, workload, 4, seed=1))
    assert [problem for run in ended for problem in run.problems] == []
    assert {run.outcome for run in ended} == {"killed"}


@pytest.mark.parametrize("workload", ["talk", "rotate", "two"])
def test_a_kill_at_any_time_loses_nothing_acknowledged(rig: Rig, workload: str) -> None:
    ended = list(kills_by_time(rig, workload, 8, seed=1))
    assert [problem for run in ended for problem in run.problems] == []
