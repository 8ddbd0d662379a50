"""Sums are opened by one replica at a time; `test_replicas.py` has one that dies at it."""

import asyncio
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from orchestrator import sums
from orchestrator.sums import Sums
from orchestrator.tables import releases
from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.here import Here


def test_a_sum_is_left_alone_while_somebody_is_at_it_however_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "_LEASE_S", 0.6)
    goes_on, at_it = threading.Event(), threading.Event()
    opened = sums._next

    def slowly(*given: object) -> object:
        at_it.set()
        assert goes_on.wait(60)
        return opened(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(sums, "_next", slowly)

    async def story() -> None:
        here = Here(tmp_path)
        async with here.running() as http:
            task = task_of(10, least=9, seconds=30, advertise=3)
            await here.open(task)
            invite = await here.invite(10)
            devices = [Device(http, partial(_same, np.full(40, 0.1))) for _ in range(10)]
            await asyncio.gather(*(device.join(invite, task.name) for device in devices))
            taking_part = [asyncio.create_task(device.take_part()) for device in devices]
            await asyncio.to_thread(at_it.wait, 60)
            another = Sums(here.database, here.service.content, here.service.rounds, here.service.releases)
            until = time.monotonic() + 3 * 0.6
            while time.monotonic() < until:
                assert not await another.open_one()
                await asyncio.sleep(0.05)
            goes_on.set()
            await asyncio.gather(*taking_part)
            async with here.database.transaction() as connection:
                numbers = (await connection.execute(select(releases.c.number))).scalars().all()
                assert list(numbers) == [0, 1]

    asyncio.run(story())


def _same(update: NDArray[np.float64], _round: int) -> NDArray[np.float64]:
    return update
