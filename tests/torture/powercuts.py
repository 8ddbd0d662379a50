"""Power cuts at many points of a recorded run: what the disk then holds must be a whole vault."""

import itertools
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.torture.beginnings import home_in
from tests.torture.replay import Point, replayed
from tests.torture.rig import Recording
from tests.torture.state import judge, progress
from tests.torture.workloads import WORKLOADS

__all__ = ["power_cuts", "put"]


def power_cuts(workload: str, recording: Recording, wanted: Iterable[Point], folder: Path) -> Iterator[list[str]]:
    """What is wrong after each power cut; mostly nothing.

    Args:
        workload: Its name.
        recording: Its run.
        wanted: When to cut the power, in order.
        folder: One that may be made and removed.
    """
    run = recording.run
    wanted, again = itertools.tee(wanted)
    disks = replayed(run.before, run.root, run.events, again)
    for point, disk in zip(wanted, disks, strict=True):
        put(disk.after_cut(point.seed), folder)
        reached = progress(run.events[: point.cut])
        found = judge(
            home_in(folder),
            recording.states,
            reached,
            whole=WORKLOADS[workload].whole,
            thorough=point.seed % 4 == 0,
        )
        yield [f"{workload}, cut {point.cut} seed {point.seed}, {reached}: {problem}" for problem in found]
        shutil.rmtree(folder)


def put(files: dict[str, bytes | None], folder: Path) -> None:
    """Make a folder of what a disk holds."""
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        if content is None:
            (folder / name).mkdir(mode=0o700)
        else:
            (folder / name).write_bytes(content)
