"""Many randomized runs of twenty devices and three replicas, of which somebody is killed at each step.

    python benchmarks/replicas.py [--runs N] [--seed N] [--quick] [--json FILE]

In each run twenty devices want three releases of a task, through HAProxy. At each step of each round a replica is
killed, and started again; once, the database restarts as after a power cut; devices leave before any step. What
they learn is known here, so that a wrong sum is seen. A round that can't be finished ends, and the next one begins:
that is a clean retry. A run that doesn't come to its end is stuck.
"""

import argparse
import asyncio
import random
import time
from collections import Counter
from functools import partial
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Bench, median, scratch
from federation.secagg.server import STEPS
from tests.fixtures.postgresql import PostgreSQL, running_postgresql
from tests.orchestrator.balancer import HAPROXY, balanced
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.learning import Learned, learn_together
from tests.orchestrator.replicas import Operator
from tests.orchestrator.trouble import Trouble

__all__ = ["main"]

DEVICES, ROUNDS = 20, 3
LEAVES = 0.05
"""Share of devices that leave a round, at a step of chance."""
STUCK_S = 300.0


class Tally:
    """What came of all runs."""

    def __init__(self) -> None:
        self.right = self.wrong = self.retried = self.stuck = 0
        self.killed: Counter[str] = Counter()
        self.restarted: Counter[str] = Counter()
        self.seconds: list[float] = []

    def add(self, learned: Learned | None, trouble: Trouble, seconds: float) -> None:
        """One more run; `None` is one that got stuck."""
        self.killed += trouble.killed
        self.restarted[trouble.restarted] += 1
        self.seconds.append(seconds)
        if learned is None:
            self.stuck += 1
            return
        self.right += learned.right
        self.wrong += len(learned.releases) - learned.right
        self.retried += learned.retried

    def __str__(self) -> str:
        killed = self.killed.total()
        return (
            f"{self.right} right, {self.wrong} wrong, {self.retried} retried, {self.stuck} stuck, {killed} killed"
        )


def main() -> int:
    """Run, and count."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    asked, rest = parser.parse_known_args()
    bench = Bench("replicas", rest)
    if not HAPROXY:
        bench.note("HAProxy", "missing: scripts/setup dev installs it")
        return bench.finish() or 1
    runs = asked.runs or (1 if bench.quick else 50)
    tally = Tally()
    with running_postgresql() as database, scratch() as folder:
        operator = Operator(Path(folder), 3, database.url, forks=True)
        with operator.running(), balanced(Path(folder), operator.addresses, operator.certificate) as address:
            asyncio.run(_all(bench, operator, database, address, runs, asked.seed, tally))
    _tell(bench, tally, runs)
    return bench.finish()


async def _all(
    bench: Bench, operator: Operator, database: PostgreSQL, address: str, runs: int, seed: int, tally: Tally
) -> None:
    updates = np.random.default_rng(seed).normal(size=(DEVICES, 40)) * 0.05
    async with operator.client(address) as http:
        devices = await _joined(operator, http, updates)
        for run in range(seed, seed + runs):
            dice = random.Random(run)
            of_each = [random.Random(f"{run} {number}") for number in range(DEVICES)]
            task = task_of(DEVICES, least=12, name=f"run-{run}", rounds=ROUNDS, seconds=8, advertise=6)
            await asyncio.to_thread(operator.open, task)
            for device in devices:
                device.begin(task)
            trouble, begun = Trouble(operator, database, http, dice), time.monotonic()
            making = asyncio.create_task(trouble.make(task.name))
            try:
                async with asyncio.timeout(STUCK_S):
                    learned = await learn_together(http, devices, updates, task, partial(_leaves, of_each))
            except TimeoutError:
                learned = None
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
            tally.add(learned, trouble, time.monotonic() - begun)
            bench.say(f"run {run}: {tally}, {tally.seconds[-1]:.0f} s, restarted at “{trouble.restarted}”")


async def _joined(operator: Operator, http: httpx.AsyncClient, updates: NDArray[np.float64]) -> list[Device]:
    first = task_of(DEVICES, name="first")
    await asyncio.to_thread(operator.open, first)
    invite = await asyncio.to_thread(operator.invite, DEVICES)
    devices = [Device(http, partial(_same, update)) for update in updates]
    await asyncio.gather(*(device.join(invite, first.name) for device in devices))
    return devices


def _same(update: NDArray[np.float64], _round: int) -> NDArray[np.float64]:
    return update


def _leaves(of_each: list[random.Random], device: int) -> str:
    dice = of_each[device]
    return dice.choice(STEPS[1:]) if dice.random() < LEAVES else ""


def _tell(bench: Bench, tally: Tally, runs: int) -> None:
    bench.figure("runs", "runs of three releases", runs)
    bench.figure("right", "right sums", tally.right, target=(">=", ROUNDS * (runs - tally.stuck)))
    bench.figure("wrong", "wrong sums", tally.wrong, target=("<=", 0))
    bench.figure("retried", "rounds that ended without a sum and were followed by another", tally.retried)
    bench.figure("stuck", f"runs that weren't over in {STUCK_S:.0f} s", tally.stuck, target=("<=", 0))
    for step in (*STEPS, "sum"):
        bench.figure(f"killed_{step}", f"replicas killed at “{step}”", tally.killed[step])
        bench.figure(f"restarted_{step}", f"restarts of the database at “{step}”", tally.restarted[step])
    bench.figure("seconds", "seconds of a run, median", median(tally.seconds), "s")


if __name__ == "__main__":
    raise SystemExit(main())
