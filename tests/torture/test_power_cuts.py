"""Power cuts in the middle of everything a vault does; `benchmarks/torture.py` makes thousands of them."""

import pytest

from tests.torture.powercuts import power_cuts
from tests.torture.recorder import Operation
from tests.torture.replay import spread
from tests.torture.rig import Recording, Rig
from tests.torture.workloads import WORKLOADS

POINTS = 60


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_power_cut_at_any_point_leaves_a_whole_vault_with_all_that_was_acknowledged(
    rig: Rig, workload: str
) -> None:
    recording = rig.recording(workload)
    points = spread(len(recording.run.events), POINTS, seed=1)
    assert [found for found in power_cuts(workload, recording, points, rig.scratch / "cut") if found] == []


def test_a_vault_that_did_not_sync_would_be_found_out(rig: Rig) -> None:
    recording = rig.recording("talk")
    careless = [
        event
        for event in recording.run.events
        if not (event.operation is Operation.SYNC and event.path.endswith("-wal"))
    ]
    run = recording.run._replace(events=careless)
    points = spread(len(careless), POINTS, seed=1)
    found = list(power_cuts("talk", Recording(run, *recording[1:]), points, rig.scratch / "cut"))
    assert sum(map(bool, found)) > POINTS // 4


def test_a_vault_that_did_not_sync_its_folder_would_be_found_out(rig: Rig) -> None:
    recording = rig.recording("passphrase")
    careless = [event for event in recording.run.events if event.operation is not Operation.SYNC_FOLDER]
    run = recording.run._replace(events=careless)
    points = spread(len(careless), POINTS, seed=1)
    found = list(power_cuts("passphrase", Recording(run, *recording[1:]), points, rig.scratch / "cut"))
    assert any(found)
