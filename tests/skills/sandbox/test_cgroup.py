"""Control groups: as much of them as the system lets us have, and no claim beyond that."""

import os
from pathlib import Path

import pytest

from skills.errors import JobRefused
from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.cgroup import Cgroup
from skills.sandbox.job import PYTHON, Job, Limits
from skills.sandbox.run import run


def test_a_group_that_takes_no_process_caps_nothing(tmp_path: Path) -> None:
    group = Cgroup([tmp_path / "missing"], caps_memory=True, caps_tasks=True)
    group.add(1)
    assert (group.caps_memory, group.caps_tasks) == (False, False)


def test_a_group_without_processes_is_removed() -> None:
    group = Cgroup.create(1 << 28, 10)
    folders = group._folders
    group.remove()
    assert not any(folder.exists() for folder in folders)


def test_where_nothing_caps_processes_none_but_one_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    if why_not := Bubblewrap().why_not():
        pytest.skip(why_not)
    monkeypatch.setattr(Cgroup, "create", lambda *_: Cgroup([], caps_memory=False, caps_tasks=False))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    job = Job((*PYTHON, "-c", "print(1)"))
    assert run(job, Bubblewrap()).stdout == b"1\n"
    with pytest.raises(JobRefused, match="how many processes"):
        run(Job(job.argv, limits=Limits(processes=2)), Bubblewrap())
