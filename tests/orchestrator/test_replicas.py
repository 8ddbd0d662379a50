"""Many devices, several replicas, and whatever is killed: right sums, or a round that begins anew."""

import asyncio
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from federation.task import Task
from tests.fixtures.postgresql import PostgreSQL
from tests.orchestrator.balancer import HAPROXY, balanced
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.learning import Learned, learn_together
from tests.orchestrator.replicas import Operator
from tests.orchestrator.trouble import Trouble

DEVICES, ROUNDS = 20, 3


def _task() -> Task:
    return task_of(DEVICES, least=12, rounds=ROUNDS, seconds=8, advertise=6)


def _updates(seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(DEVICES, _task().plan.privacy.parameters)) * 0.05


def _same(update: NDArray[np.float64], _round: int) -> NDArray[np.float64]:
    return update


def test_twenty_devices_finish_three_rounds_on_sqlite(tmp_path: Path) -> None:
    async def learn() -> Learned:
        invite, updates = operator.invite(DEVICES), _updates(1)
        async with operator.client() as http:
            devices = [Device(http, partial(_same, update)) for update in updates]
            await asyncio.gather(*(device.join(invite, task.name) for device in devices))
            return await learn_together(http, devices, updates, task)

    operator, task = Operator(tmp_path), _task()
    with operator.running():
        operator.open(task)
        learned = asyncio.run(learn())
    assert [release.survivors for release in learned.releases] == [DEVICES] * ROUNDS
    assert (learned.right, learned.retried) == (ROUNDS, 0)


@pytest.mark.skipif(not HAPROXY, reason="HAProxy isn't installed; scripts/setup dev installs it")
def test_replicas_behind_a_balancer_are_killed_and_the_database_restarts(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    """`benchmarks/replicas.py` makes as many such runs as one likes."""

    async def learn() -> tuple[Learned, Trouble]:
        invite, updates = operator.invite(DEVICES), _updates(2)
        async with operator.client(address) as http:
            devices = [Device(http, partial(_same, update)) for update in updates]
            await asyncio.gather(*(device.join(invite, task.name) for device in devices))
            trouble = Trouble(operator, postgresql, http, random.Random(2))
            making = asyncio.create_task(trouble.make(task.name))
            learned = await learn_together(http, devices, updates, task)
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
            return learned, trouble

    operator, task = Operator(tmp_path, 3, postgresql.url, forks=True), _task()
    with operator.running(), balanced(tmp_path, operator.addresses, operator.certificate) as address:
        operator.open(task)
        learned, trouble = asyncio.run(learn())
    assert learned.right == ROUNDS
    assert trouble.restarted
    assert trouble.killed
