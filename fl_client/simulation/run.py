"""The rounds of a simulated federation, one after the other, and what each of them was like."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from federation.combining import Combined, combine
from federation.errors import Aborted
from federation.privacy.noise import mean_of
from federation.ring import Vector
from fl_client.errors import SimulationRefused, TrainingStopped
from fl_client.simulation.partition import Owned
from fl_client.simulation.pool import Job, Part, Pool
from fl_client.simulation.seeded import dice
from fl_client.simulation.share import Simulated

__all__ = ["Chances", "RoundEnded", "rounds"]

_AT_ONCE = 20
"""Devices of a job: the same ones whatever the number of processes, so that what is added is added in one order."""


class Chances(NamedTuple):
    """What isn't the task's to say.

    Attributes:
        lost: Share of each cohort that is lost before it sends its update.
        masked: Rounds, from the first on, that are done a second time with all their masks, and compared.
        private: Whether updates are clipped and noised; without, it is what learning could come to.
    """

    lost: float = 0.05
    masked: int = 0
    private: bool = True


class RoundEnded(NamedTuple):
    """A round.

    Attributes:
        number: From 1 on.
        cohort: Devices that began it.
        survivors: Updates in the sum.
        release: What came of it, little-endian float32; where too few survived, what was there before.
        opened: Whether enough survived.
        loss: On the held-out rows, with that release, in nats.
        accuracy: The same: share of them that are right; `None` where nothing is right or wrong.
        epsilon: What the devices that took part most often have spent; 0 without privacy.
        clipped: Share of the updates that were longer than the clip.
        masked: Whether the sum was opened a second time, through all masks, and was the same.
        seconds: That it took.
    """

    number: int
    cohort: int
    survivors: int
    release: bytes
    opened: bool
    loss: float
    accuracy: float | None
    epsilon: float
    clipped: float
    masked: bool
    seconds: float


def rounds(
    world: Simulated, judged: Owned, chances: Chances, pool: Pool, stop: threading.Event | None = None
) -> Iterator[RoundEnded]:
    """Go through a task's rounds, as long as there are devices that may take part.

    Args:
        world: The devices.
        judged: The rows to judge releases by.
        chances: What happens to them.
        pool: Who works.
        stop: Ends it, when set, in the middle of a round.

    Raises:
        TrainingStopped: `stop` was set; the rounds before stand.
        SimulationRefused: there are fewer devices than a cohort; or a masked sum was another than the plain one.
    """
    task, plan = world.task, world.task.plan
    if len(world.shares) < plan.secagg.min_cohort:
        raise SimulationRefused(
            f"A cohort of {task.name} has {plan.secagg.min_cohort:,} devices; there are {len(world.shares):,}.",
            hint=f"--devices {plan.secagg.min_cohort} is the least.",
        )
    combined = Combined(np.zeros(plan.privacy.parameters))
    release, luck = _content(combined), dice(world.seed, "cohorts")
    taken = np.zeros(len(world.shares), np.intp)
    for number in range(1, task.rounds + 1):
        began = time.monotonic()
        ready = np.flatnonzero(taken < plan.participations)
        if len(ready) < plan.secagg.min_cohort:
            return
        cohort = np.sort(luck.choice(ready, min(len(ready), plan.secagg.max_cohort), replace=False))
        taken[cohort] += 1
        lost = frozenset(cohort[luck.random(len(cohort)) < chances.lost].tolist())
        survivors = len(cohort) - len(lost)
        opened, share, masked = survivors >= plan.secagg.min_survivors, 0.0, False
        if opened:
            how = "noised" if chances.private else "plain"
            parts = list(_until(stop, pool.parts(_jobs(number, release, cohort, lost, how))))
            share = sum(part.clipped for part in parts) / survivors
            if chances.private:
                total = _total(parts)
                if masked := number <= chances.masked:
                    job = Job(number, release, tuple(cohort.tolist()), lost, "masked")
                    _compare(total, _through_masks(pool, job), plan.secagg.ring.mask)
                mean = mean_of(total, plan.privacy, survivors)
            else:
                mean = np.sum([part.plain for part in parts], 0) / survivors
            combined = combine(task.combining, combined, mean)
            release = _content(combined)
            combined = Combined(np.frombuffer(release, "<f4").astype(np.float64), combined.moments)
        loss, accuracy = world.judge(release, judged)
        yield RoundEnded(
            number,
            len(cohort),
            survivors,
            release,
            opened,
            loss,
            accuracy,
            plan.epsilon(int(taken.max())) if chances.private else 0.0,
            share,
            masked,
            time.monotonic() - began,
        )


def _until(stop: threading.Event | None, parts: Iterator[Part]) -> Iterator[Part]:
    for part in parts:
        if stop is not None and stop.is_set():
            raise TrainingStopped("The simulation was stopped.")
        yield part


def _jobs(number: int, release: bytes, cohort: Owned, lost: frozenset[int], how: str) -> list[Job]:
    devices = cohort.tolist()
    return [
        Job(number, release, tuple(devices[begin : begin + _AT_ONCE]), lost, how)
        for begin in range(0, len(devices), _AT_ONCE)
    ]


def _total(parts: Sequence[Part]) -> Vector:
    total = parts[0].total.copy()
    for part in parts[1:]:
        total += part.total
    return total


def _through_masks(pool: Pool, job: Job) -> Vector:
    try:
        (part,) = pool.parts([job])
    except Aborted as error:
        raise SimulationRefused(
            f"Round {job.round} gave no sum through its masks: {error.message}", hint="Have fewer devices --lost."
        ) from None
    return part.total


def _compare(plain: Vector, masked: Vector, mask: np.uint32) -> None:
    if not np.array_equal(plain & mask, masked & mask):
        raise SimulationRefused(
            "The sum that came out of the masks is another one: this is a fault; please report it."
        )


def _content(combined: Combined) -> bytes:
    numbers: NDArray[np.float32] = combined.numbers.astype("<f4")
    return numbers.tobytes()
