"""What the sandbox adds to the start of a program, beside the same program without walls, in turns."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.harness import Bench
from skills.sandbox.job import PYTHON, Job
from skills.sandbox.run import run
from skills.sandbox.tiers import tried
from skills.sandbox.walls import interpreter

__all__ = ["main"]

_WITHIN_MS = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    bench = Bench("sandbox", arguments)
    rounds = 50 if bench.quick else 300
    job = Job((*PYTHON, "-c", "pass"))
    plain = [str(interpreter()), *PYTHON[1:], "-c", "pass"]
    walls = [attempt.walls for attempt in tried() if not attempt.wrong]
    for attempt in tried():
        if attempt.wrong:
            bench.note(attempt.walls.name, f"doesn't work here: {attempt.wrong}")
    bench.say(f"{rounds} starts of Python in each way, in turns")
    ways: dict[str, Callable[[], object]] = {
        "plain": partial(subprocess.run, plain, check=True, env={}, capture_output=True),
        **{tier.name: partial(run, job, tier) for tier in walls},
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, start in ways.items():
            began = time.perf_counter()
            start()
            taken[name].append((time.perf_counter() - began) * 1000)
    base = taken.pop("plain")
    bench.figure("plain_ms", "a plain start of Python, median", statistics.median(base), "ms")
    for name, times in taken.items():
        added = [walled - bare for walled, bare in zip(times, base, strict=True)]
        bench.figure(f"{name}_ms", f"{name}: adds, median", statistics.median(added), "ms")
        p95 = _p95(times) - _p95(base)
        bench.figure(f"{name}_p95_ms", f"{name}: adds, at the 95th percentile", p95, "ms", ("<=", _WITHIN_MS))
    return bench.finish()


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    sys.exit(main())
