"""Power cuts, failing disks, kills and tampering: is a vault whole afterwards, and is every change noticed?

The short form of all this runs in `tests/torture/`, which says how it works. Here: power cuts at thousands of
points of every workload, a fault at every change of every workload, a thousand kills, and the table of attacks.
"""

import errno
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import Bench
from tests.torture.faults import Ended, each_fault, kills_at_changes, kills_by_time
from tests.torture.powercuts import power_cuts
from tests.torture.recorder import Manner, compile_disk
from tests.torture.replay import spread
from tests.torture.rig import Rig
from tests.torture.scenes import Finding, noticed, scenes
from tests.torture.tamper import EVERYTHING_BACK, attacks
from tests.torture.workloads import WORKLOADS

__all__ = ["main"]

MANNERS: tuple[tuple[str, Manner, int], ...] = (
    ("ENOSPC once", "once", errno.ENOSPC),
    ("ENOSPC from then on", "always", errno.ENOSPC),
    ("ENOSPC within a write", "short", errno.ENOSPC),
    ("EIO once", "once", errno.EIO),
    ("EIO from then on", "always", errno.EIO),
)
SCENES = ("closed", "killed", "keychain")
FINDINGS: tuple[Finding, ...] = ("at open", "by check", "nothing changed", "missed")


class Effort(NamedTuple):
    """How much is tried.

    Attributes:
        points: Power cuts of each workload.
        kills: Of each workload, as many again by time.
        step: Every so-manieth change fails.
        stride: A bit is flipped in every so-manieth byte.
        seed: For all dice.
    """

    points: int
    kills: int
    step: int
    stride: int
    seed: int


QUICK, FULL = Effort(10, 1, 149, 19997, 1), Effort(600, 25, 1, 97, 1)


class Tally(NamedTuple):
    """What was tried of each kind, how it ended, and what was wrong."""

    tried: Counter[str]
    problems: list[str]


def main() -> int:
    """Torture, count, compare with what there should be: nothing."""
    bench = Bench("torture")
    effort = (QUICK if bench.quick else FULL)._replace(seed=int(os.environ.get("CLAW_TORTURE_SEED", "1")))
    bench.note("seed", str(effort.seed))
    context = get_context("forkserver")  # not a fork: the pool has threads
    with ProcessPoolExecutor(os.cpu_count(), context) as pool:
        tallies = []
        for workload, tally in zip(WORKLOADS, pool.map(partial(interrupt, effort), WORKLOADS), strict=True):
            tallies.append(tally)
            bench.say(f"{workload}: {sum(tally.tried.values()):,} runs, {len(tally.problems)} problems")
        attacked = dict(zip(SCENES, pool.map(partial(attack, effort), SCENES), strict=True))
    report_interruptions(bench, effort, tallies)
    report_attacks(bench, attacked)
    return bench.finish()


def interrupt(effort: Effort, workload: str) -> Tally:
    """Everything that can interrupt one workload."""
    tried: Counter[str] = Counter()
    problems: list[str] = []

    def take(kind: str, runs: Iterable[Ended]) -> None:
        for run in runs:
            tried[kind] += 1
            problems.extend(run.problems)

    with tempfile.TemporaryDirectory() as folder, Rig(compile_disk(Path(folder))) as rig:
        recording = rig.recording(workload)
        points = spread(len(recording.run.events), effort.points, effort.seed)
        for found in power_cuts(workload, recording, points, rig.scratch / "cut"):
            tried["power cut"] += 1
            problems.extend(found)
        take("kill", kills_by_time(rig, workload, effort.kills, effort.seed))
        if not WORKLOADS[workload].several:
            take("kill", kills_at_changes(rig, workload, effort.kills, effort.seed))
            for name, manner, code in MANNERS:
                take(
                    name,
                    each_fault(rig, workload, manner, code, first=1 + effort.seed % effort.step, step=effort.step),
                )
    return Tally(tried, problems)


def attack(effort: Effort, name: str) -> dict[str, Counter[Finding]]:
    """Every attack on one scene: by its kind, how it was found."""
    table: dict[str, Counter[Finding]] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        (scene,) = (scene for scene in scenes(Path(folder)) if scene.name == name)
        for one in attacks(scene, stride=effort.stride, seed=effort.seed):
            table.setdefault(one.kind, Counter())[noticed(scene, one, Path(folder) / "try")] += 1
    return table


def report_interruptions(bench: Bench, effort: Effort, tallies: list[Tally]) -> None:
    tried = sum((tally.tried for tally in tallies), Counter[str]())
    problems = [problem for tally in tallies for problem in tally.problems]
    counts = {"power cut": 10_000, "kill": 1_000} if effort == FULL._replace(seed=effort.seed) else {}
    for kind, number in tried.items():
        target = (">=", counts[kind]) if kind in counts else None
        bench.figure(kind.replace(" ", "_").lower(), kind, number, target=target)  # type: ignore[arg-type]
    kinds = Counter(kind_of(problem) for problem in problems)
    for kind in ("lost", "corrupt", "false alarms", "tracebacks"):
        bench.figure(kind.replace(" ", "_"), kind, kinds[kind], target=("<=", 0))
    for problem in problems[:20]:
        first, *_, last = problem.strip().splitlines() * 2
        bench.say(first if first == last else f"{first} {last}")


def kind_of(problem: str) -> str:
    """Under which figure a problem counts."""
    if "false alarm" in problem:
        return "false alarms"
    if "Traceback" in problem or "wait status" in problem:
        return "tracebacks"
    return "lost" if "neither" in problem or "gone" in problem or "lost" in problem else "corrupt"


def report_attacks(bench: Bench, attacked: dict[str, dict[str, Counter[Finding]]]) -> None:
    totals: Counter[Finding] = Counter()
    beyond: Counter[Finding] = Counter()
    for name, table in attacked.items():
        for kind, findings in table.items():
            text = ", ".join(f"{findings[finding]:,} {finding}" for finding in FINDINGS if findings[finding])
            bench.note(f"{name}: {kind}", text)
            (beyond if kind == EVERYTHING_BACK and name != "keychain" else totals).update(findings)
    bench.figure("attacks", "attacks", totals.total())
    for finding in FINDINGS:
        target = ("<=", 0) if finding == "missed" else None
        bench.figure(f"attacks_{finding.replace(' ', '_')}", finding, totals[finding], target=target)  # type: ignore[arg-type]
    bench.figure("all_put_back_without_keychain", f"{EVERYTHING_BACK}, no keychain: missed", beyond["missed"])


if __name__ == "__main__":
    raise SystemExit(main())
