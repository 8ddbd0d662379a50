"""A replica that is told to end answers what is under way, and takes no more."""

import asyncio
import signal
import sqlite3
from pathlib import Path

import httpx
import numpy as np

from tests.orchestrator.devices import Device
from tests.orchestrator.federations import task_of
from tests.orchestrator.replicas import Operator, trusting

DEVICES = 8
TASK = task_of(20)
CHECK_IN = f"/v1/tasks/{TASK.name}/check-ins"


def test_every_request_that_was_taken_is_answered_before_the_end(tmp_path: Path) -> None:
    async def ask(device: Device, answered: dict[bytes, int]) -> None:
        """Check in again and again, until nobody is there."""
        counter = 0
        try:
            while True:
                counter = device.next_counter
                got = await device.signed("POST", CHECK_IN)
                assert got.status_code == 200, got.text
                answered[device.device] = counter
        except httpx.TransportError:
            return

    async def story() -> tuple[dict[bytes, int], int]:
        answered = dict[bytes, int]()
        async with httpx.AsyncClient(
            verify=trusting(operator.certificate), base_url=operator.addresses[0], timeout=30
        ) as http:
            invite = await asyncio.to_thread(operator.invite, DEVICES)
            devices = [Device(http, lambda _round: np.zeros(40)) for _ in range(DEVICES)]
            await asyncio.gather(*(device.join(invite, TASK.name) for device in devices))
            asking = [asyncio.create_task(ask(device, answered)) for device in devices]
            async with asyncio.timeout(60):
                while len(answered) < DEVICES or min(answered.values()) < 5:
                    await asyncio.sleep(0.01)
            code = await asyncio.to_thread(operator.kill, 0, signal.SIGTERM)
            await asyncio.gather(*asking)
            return answered, code

    operator = Operator(tmp_path)
    with operator.running():
        operator.open(TASK)
        answered, code = asyncio.run(story())
    with sqlite3.connect(tmp_path / "federation" / "orchestrator.db") as database:
        taken = dict(database.execute("SELECT identity, counter FROM devices").fetchall())
    database.close()
    assert taken == answered
    assert code == -signal.SIGTERM  # it ends by the signal that it was given, once all is answered
