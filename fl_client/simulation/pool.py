"""Who works for a simulation: processes of this machine, or Ray's. The results are the same, to the last bit.

Each process has one thread for linear algebra, because more of them add in another order; and what is added up
elsewhere is added up here in the order in which it was asked for.
"""

import importlib
import importlib.util
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from federation.ring import Vector
from fl_client.errors import SimulationRefused, TrainingFailed
from fl_client.simulation.device import World
from fl_client.simulation.masked import masked_sum
from fl_client.simulation.seeded import seeded
from fl_client.simulation.share import Simulated

__all__ = ["Job", "Part", "Pool", "on_cores", "on_ray", "one_by_one"]

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Job(NamedTuple):
    """Some devices' part of a round.

    Attributes:
        round: Its number.
        release: That it begins with, little-endian float32.
        devices: That take part.
        lost: Those of them that send no update.
        how: `noised` for a sum in the ring, `masked` for the same with all masks, `plain` for a mean without clip
            and noise.
    """

    round: int
    release: bytes
    devices: tuple[int, ...]
    lost: frozenset[int]
    how: str


class Part(NamedTuple):
    """What came of it.

    Attributes:
        total: Of updates in the ring, shape (dimension,), uint32 without reduction; empty if they are plain.
        plain: The sum of plain updates, shape (parameters,); empty if they are in the ring.
        clipped: How many updates were longer than the clip.
    """

    total: Vector
    plain: NDArray[np.float64]
    clipped: int


class Pool(Protocol):
    """Whoever does jobs."""

    def parts(self, jobs: Sequence[Job]) -> Iterator[Part]:
        """What comes of each, in their order."""
        ...


def work(world: Simulated, job: Job) -> Part:
    """Do a job."""
    plan = world.task.plan.privacy
    nothing, no_reals = np.empty(0, np.uint32), np.empty(0)
    if job.how == "masked":
        updates = {
            device: None
            if device in job.lost
            else lambda device=device: world.noised(
                world.learned(device, job.round, job.release), device, job.round
            )
            for device in job.devices
        }
        total = masked_sum(
            world.task, job.round, updates, lambda device: seeded(world.seed, "masks", job.round, device)
        )
        return Part(total, no_reals, 0)
    total, plain, clipped = np.zeros(plan.dimension, np.uint32), np.zeros(plan.parameters), 0
    for device in job.devices:
        if device in job.lost:
            continue
        raw = world.learned(device, job.round, job.release)
        clipped += float(np.linalg.norm(raw.values)) > plan.clip
        if job.how == "plain":
            plain += raw.values
        else:
            total += world.noised(raw, device, job.round).take(plan)
    return Part(nothing, plain, clipped) if job.how == "plain" else Part(total, no_reals, clipped)


class _OneByOne:
    def __init__(self, world: Simulated) -> None:
        self._world = world

    def parts(self, jobs: Sequence[Job]) -> Iterator[Part]:
        return (work(self._world, job) for job in jobs)


@contextmanager
def one_by_one(world: Simulated) -> Iterator[Pool]:
    """This process, for devices whose training has processes of its own."""
    yield _OneByOne(world)


_world: World
"""Of a process that works; it is given to it once."""


def _begin(world: World) -> None:
    global _world
    _world = world
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked ends it


def _do(job: Job) -> Part:
    return work(_world, job)


class _Cores:
    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def parts(self, jobs: Sequence[Job]) -> Iterator[Part]:
        try:
            yield from self._executor.map(_do, jobs)
        except BrokenProcessPool:
            raise TrainingFailed(
                "A process of the simulation was killed; there may have been too little memory.",
                hint="Try it with fewer --cores.",
            ) from None


@contextmanager
def on_cores(world: World, cores: int) -> Iterator[Pool]:
    """So many processes of this machine."""
    with _environment(_ONE_THREAD):
        executor = ProcessPoolExecutor(cores, get_context("spawn"), _begin, (world,))
        try:
            yield _Cores(executor)
        finally:
            executor.shutdown(cancel_futures=True)


class _Ray:
    def __init__(self, ray: Any, world: World) -> None:  # noqa: ANN401  # an optional package
        self._ray = ray
        self._world = ray.put(world)
        self._work = ray.remote(num_cpus=1)(work)

    def parts(self, jobs: Sequence[Job]) -> Iterator[Part]:
        waiting = [self._work.remote(self._world, job) for job in jobs]
        for one in waiting:
            yield self._ray.get(one)


@contextmanager
def on_ray(world: World) -> Iterator[Pool]:
    """Ray, on this machine alone: what devices have goes nowhere else, and Ray is told to tell nobody of its use.

    Raises:
        SimulationRefused: it isn't installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise SimulationRefused("Ray isn't installed.", hint="pip install 'openclaw-core[sim]'")
    ray: Any = importlib.import_module("ray")
    with _environment(_ONE_THREAD | {"RAY_USAGE_STATS_ENABLED": "0"}):
        ray.init(
            address="local",
            _node_ip_address="127.0.0.1",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": _ONE_THREAD},
        )
        try:
            yield _Ray(ray, world)
        finally:
            ray.shutdown()


@contextmanager
def _environment(added: dict[str, str]) -> Iterator[None]:
    """What processes that are started meanwhile have in their environment."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
