"""What keeping a program, or a call of a tool, within its bounds costs.

What the sandbox adds to the start of a program, beside the same program without walls, in turns; and what it takes
to rule on a call, to make a capability for it and to spend that.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from benchmarks.harness import Bench
from skills.permissions.capability import Mint
from skills.permissions.policy import Decision, Policy
from skills.sandbox.job import PYTHON, Job
from skills.sandbox.run import run
from skills.sandbox.tiers import tried
from skills.sandbox.walls import interpreter
from skills.tools.files import file_tools
from skills.tools.tool import Resource
from vault.classes import DataClass
from vault.permission_store import PermissionRule

__all__ = ["main"]

_WITHIN_MS = 10.0
_CHECK_MS = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    bench = Bench("sandbox", arguments)
    rounds = 50 if bench.quick else 300
    job = Job((*PYTHON, "in/nothing.py"), {"nothing.py": b"pass\n"})
    with tempfile.NamedTemporaryFile(suffix=".py") as script:
        script.write(b"pass\n")
        script.flush()
        _compare_starts(bench, rounds, job, [str(interpreter()), *PYTHON[1:], script.name])
    checks = [_check_ms() for _ in range(2_000 if bench.quick else 20_000)]
    bench.figure("capability_ms", "ruling on a call, and its capability, median", statistics.median(checks), "ms")
    bench.figure("capability_p95_ms", "the same, at the 95th percentile", _p95(checks), "ms", ("<=", _CHECK_MS))
    return bench.finish()


def _compare_starts(bench: Bench, rounds: int, job: Job, plain: list[str]) -> None:
    walls = [attempt.walls for attempt in tried() if not attempt.wrong]
    for attempt in tried():
        if attempt.wrong:
            bench.note(attempt.walls.name, f"doesn't work here: {attempt.wrong}")
    bench.say(f"{rounds} starts of a Python script in each way, in turns")
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


_READ = file_tools(lambda: [])[1]
_ABOUT = (Resource("file", "/folder99/notes/a.txt"),)
_RULES = [
    PermissionRule("files.read", f"file:/folder{n}", DataClass.HIGHLY_SENSITIVE, Decision.ALLOW, 0)
    for n in range(100)
]
_DIGEST = "ab" * 32
_MINT = Mint()


def _check_ms() -> float:
    """One call among a hundred rules: what is decided about it, and the capability that carries that, spent."""
    began = time.perf_counter()
    ruling = Policy(_RULES).rule_on(_READ, _ABOUT)
    names = tuple(map(str, _ABOUT))
    capability = _MINT.make(_READ.name, names, _DIGEST)
    _MINT.spend(capability, _READ.name, names, _DIGEST)
    taken = (time.perf_counter() - began) * 1000
    if ruling.decision is not Decision.ALLOW:
        raise AssertionError(ruling.why)
    return taken


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    sys.exit(main())
