"""Whole rounds over HTTP: whoever is lost, the release is the mean of who is left, or the round begins anew."""

import asyncio
from functools import partial
from pathlib import Path

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.api import ReleaseInfo, State
from federation.messages import decode
from federation.releases import Release
from orchestrator.tables import lanes, members
from tests.orchestrator.devices import Device, Lost
from tests.orchestrator.federations import NOISE, task_of
from tests.orchestrator.here import Here


def test_a_release_is_the_mean_of_the_survivors(tmp_path: Path) -> None:
    asyncio.run(_rounds(tmp_path))


async def _rounds(folder: Path) -> None:
    here = Here(folder)
    async with here.running() as http:
        task = task_of(10, least=9, seconds=5)
        await here.open(task)
        invite = await here.invite(10)
        updates = np.random.default_rng(1).normal(size=(10, 40)) * 0.1
        devices = [Device(http, partial(_same, update)) for update in updates]
        await asyncio.gather(*(device.join(invite, task.name) for device in devices))
        lost = {3: "mask", 5: "unmask"}
        done = await asyncio.gather(
            *(device.take_part(leaves_before=lost.get(n, "")) for n, device in enumerate(devices)),
            return_exceptions=True,
        )
        assert [n for n, one in enumerate(done) if isinstance(one, Lost)] == [3, 5], done
        release = await released(http, task.name, 1)
        assert (release.cohort, release.survivors, release.round) == (10, 9, 1)
        numbers = np.frombuffer((await http.get(f"/v1/content/{release.content.hex()}")).content, "<f4")
        there = [n for n in range(10) if n != 3]
        assert np.abs(numbers - updates[there].mean(axis=0)).max() < NOISE
        async with here.database.transaction() as connection:
            assert (await connection.execute(lanes.select())).all() == []
            left = {
                (row.advert, row.nonce, row.share, row.signature, row.unmask)
                for row in (await connection.execute(members.select())).all()
            }
            assert left == {(b"", None, None, None, None)}


def test_too_few_devices_begin_nothing_and_the_next_round_does(tmp_path: Path) -> None:
    async def told() -> None:
        here = Here(tmp_path)
        async with here.running() as http:
            task = task_of(10, least=9, seconds=1)
            await here.open(task)
            invite = await here.invite(10)
            devices = [Device(http, partial(_same, np.full(40, 0.1))) for _ in range(10)]
            await asyncio.gather(*(device.join(invite, task.name) for device in devices))
            few = await asyncio.gather(*(one.take_part() for one in devices[:4]), return_exceptions=True)
            assert all(isinstance(one, Lost) for one in few)
            state = msgspec.json.decode((await http.get(f"/v1/tasks/{task.name}/rounds/1")).content, type=State)
            assert (state.step, "at least 9 have to" in state.outcome) == ("aborted", True)
            assert (await http.get(f"/v1/tasks/{task.name}/releases/1")).status_code == 404

    asyncio.run(told())


def test_of_more_devices_than_fit_a_lot_chooses(tmp_path: Path) -> None:
    async def told() -> None:
        here = Here(tmp_path)
        async with here.running() as http:
            task = task_of(10, least=9, seconds=6)
            await here.open(task)
            invite = await here.invite(13)
            devices = [Device(http, partial(_same, np.full(40, 0.1))) for _ in range(13)]
            await asyncio.gather(*(device.join(invite, task.name) for device in devices))
            done = await asyncio.gather(*(one.take_part() for one in devices), return_exceptions=True)
            assert sum(isinstance(one, Lost) for one in done) == 3, done
            release = await released(http, task.name, 1)
            assert (release.cohort, release.survivors) == (10, 10)

    asyncio.run(told())


def _same(update: NDArray[np.float64], _round: int) -> NDArray[np.float64]:
    return update


async def released(http: httpx.AsyncClient, task: str, number: int) -> Release:
    got = await http.get(f"/v1/tasks/{task}/releases/{number}")
    got.raise_for_status()
    return decode(msgspec.json.decode(got.content, type=ReleaseInfo).message, Release, 1024)
