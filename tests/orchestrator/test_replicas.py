"""Many devices, several replicas, and whatever is killed: right sums, or a round that begins anew."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.api import ReleaseInfo
from federation.messages import decode
from federation.releases import Release
from federation.task import Task
from tests.fixtures.postgresql import PostgreSQL
from tests.orchestrator.devices import Device, Lost
from tests.orchestrator.federations import NOISE, task_of
from tests.orchestrator.replicas import Operator

DEVICES, ROUNDS = 20, 3


async def learn_together(
    operator: Operator, task: Task, disturb: Callable[[], Coroutine[None, None, None]], seed: int
) -> list[Release]:
    """As many rounds as the task has, whatever happens meanwhile; what was released."""
    dice = np.random.default_rng(seed)
    updates = dice.normal(size=(DEVICES, task.plan.privacy.parameters)) * 0.05
    invite = operator.invite(DEVICES)
    async with operator.client() as http:
        devices = [Device(http, partial(_same, update)) for update in updates]
        await asyncio.gather(*(device.join(invite, task.name) for device in devices))
        disturbing = asyncio.create_task(disturb())
        await asyncio.gather(*(_until_the_end(device) for device in devices))
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
        found = [await _released(http, task.name, number) for number in range(task.rounds + 1)]
        before = np.zeros(task.plan.privacy.parameters)
        for release in found[1:]:
            numbers = await _numbers(http, release)
            there = [n for n, device in enumerate(devices) if release.round in device.sent]
            assert len(there) == release.survivors
            assert np.abs(numbers - before - updates[there].mean(axis=0)).max() < NOISE
            before = numbers
        return found


async def _until_the_end(device: Device) -> None:
    """Take part until the task is over, whatever is lost on the way."""
    while True:
        try:
            await device.take_part()
        except Lost as error:
            if "over" in str(error):
                return


async def _released(http: httpx.AsyncClient, task: str, number: int) -> Release:
    got = await _got(http, f"/v1/tasks/{task}/releases/{number}")
    return decode(msgspec.json.decode(got.content, type=ReleaseInfo).message, Release, 1024)


async def _numbers(http: httpx.AsyncClient, release: Release) -> NDArray[np.float64]:
    got = await _got(http, f"/v1/content/{release.content.hex()}")
    return np.frombuffer(got.content, "<f4").astype(np.float64)


async def _got(http: httpx.AsyncClient, target: str) -> httpx.Response:
    """The answer of whichever replica gives one."""
    for _ in range(200):
        try:
            got = await http.get(target)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if got.status_code != 503:
            got.raise_for_status()
            return got
    raise AssertionError("nobody answers")


def _same(update: NDArray[np.float64], _round: int) -> NDArray[np.float64]:
    return update


async def _nothing() -> None:
    pass


def _task() -> Task:
    return task_of(DEVICES, least=12, rounds=ROUNDS, seconds=6)


def test_twenty_devices_finish_three_rounds_on_sqlite(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    with operator.running():
        task = _task()
        operator.open(task)
        found = asyncio.run(learn_together(operator, task, _nothing, seed=1))
    assert [release.survivors for release in found[1:]] == [DEVICES] * ROUNDS


def test_replicas_are_killed_and_the_database_restarts(tmp_path: Path, postgresql: PostgreSQL) -> None:
    operator = Operator(tmp_path, replicas=3, database=postgresql.url)
    dice = random.Random(2)

    async def disturb() -> None:
        for turn in range(1000):
            await asyncio.sleep(dice.uniform(0.2, 1.0))
            if turn == 2:
                await asyncio.to_thread(postgresql.restart)
            number = dice.randrange(3)
            operator.kill(number)
            await asyncio.sleep(dice.uniform(0, 0.5))
            operator.start(number)
            await asyncio.to_thread(operator.wait_for, operator.addresses[number])

    with operator.running():
        task = _task()
        operator.open(task)
        asyncio.run(learn_together(operator, task, disturb, seed=2))
