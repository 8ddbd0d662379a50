"""The rounds of a simulation: those of real devices, the same each time, wherever they are worked out."""

import importlib.util
import threading
from collections import Counter

import numpy as np
import pytest

from federation.privacy.noise import mean_of
from fl_client.errors import SimulationRefused, TrainingStopped
from fl_client.simulation.device import World
from fl_client.simulation.pool import on_cores, on_ray
from fl_client.simulation.run import Chances, RoundEnded, rounds
from tests.fl_client.simulation.worlds import JUDGED, PLAN, Here, task_of, world_of


def here(world: World, chances: Chances = Chances()) -> list[RoundEnded]:  # noqa: B008
    return list(rounds(world, JUDGED, chances, Here(world)))


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(task_of())


def test_devices_learn_together_what_none_of_them_could_alone(world: World) -> None:
    before = world.judge(bytes(4 * world.frame.numbers), JUDGED)
    plain = here(world, Chances(private=False))
    assert before[1] == pytest.approx(0.25, abs=0.15)
    assert (plain[-1].accuracy or 0) > 0.9
    assert plain[-1].loss < before[0] / 2
    assert all(one.epsilon == 0 for one in plain)


def test_a_release_is_the_mean_of_what_its_devices_sent(world: World) -> None:
    (first, *_), pool = here(world), Here(world)
    next(iter(rounds(world, JUDGED, Chances(), pool)))
    plan, total = world.task.plan.privacy, np.zeros(world.task.plan.privacy.dimension, np.uint32)
    for job in pool.jobs:
        for device in sorted(set(job.devices) - job.lost):
            raw = world.learned(device, 1, job.release)
            total += world.noised(raw, device, 1).take(plan)
    mean = 3.0 * mean_of(total, plan, first.survivors)
    assert np.array_equal(np.frombuffer(first.release, "<f4"), mean.astype("<f4"))


def test_no_device_takes_part_more_often_than_it_may_and_all_of_it_is_accounted_for(world: World) -> None:
    pool = Here(world)
    done = list(rounds(world, JUDGED, Chances(), pool))
    times: Counter[int] = Counter()
    for number in {job.round for job in pool.jobs}:
        times.update({device for job in pool.jobs if job.round == number for device in job.devices})
    assert max(times.values()) == world.task.plan.participations == 2
    assert len(done) < world.task.rounds  # forty devices, twice each, in cohorts of twenty
    assert done[-1].epsilon == world.task.plan.epsilon(2)


def test_the_sum_is_the_same_through_all_masks_with_devices_lost(world: World) -> None:
    done = here(world, Chances(lost=0.1, masked=1))
    assert [one.masked for one in done] == [True] + [False] * (len(done) - 1)
    assert done[0].survivors < done[0].cohort
    assert [one.release for one in done] == [one.release for one in here(world, Chances(lost=0.1))]


def test_a_round_with_too_few_updates_releases_nothing_and_costs_a_participation(world: World) -> None:
    done = here(world, Chances(lost=0.9))
    assert not any(one.opened for one in done)
    assert not any(np.frombuffer(one.release, "<f4").any() for one in done)
    assert done[-1].epsilon > done[0].epsilon > 0


def test_the_same_seed_gives_the_same_releases_on_one_core_and_on_two_and_another_seed_others() -> None:
    released = []
    for seed, cores in ((bytes(32), 1), (bytes(32), 2), (b"\1" * 32, 1)):
        other = world_of(task_of(), seed=seed)
        with on_cores(other, cores) as pool:
            released.append([one.release for one in rounds(other, JUDGED, Chances(), pool)])
    assert released[0] == released[1] != released[2]


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray isn't installed")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_ray_gives_the_same_releases(world: World) -> None:
    with on_cores(world, 1) as pool:
        expected = [one.release for one in rounds(world, JUDGED, Chances(), pool)]
    with on_ray(world) as pool:
        assert [one.release for one in rounds(world, JUDGED, Chances(), pool)] == expected


def test_fewer_devices_than_a_cohort_are_refused() -> None:
    world = world_of(task_of(), devices=19)
    with pytest.raises(SimulationRefused, match="20 devices"):
        here(world)


def test_a_plan_about_another_head_is_refused() -> None:
    with pytest.raises(SimulationRefused, match="numbers"):
        world_of(task_of(PLAN.replace("dimension = 384", "dimension = 383")))


def test_stopping_ends_it_in_the_middle_of_a_round_and_leaves_those_before(world: World) -> None:
    stop = threading.Event()
    going_on = rounds(world, JUDGED, Chances(), Here(world), stop)
    assert next(going_on).number == 1
    stop.set()
    with pytest.raises(TrainingStopped):
        next(going_on)
