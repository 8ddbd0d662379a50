"""Devices that learn together until a task is over, whatever is lost on the way; whether the sums were right."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from federation.api import ReleaseInfo, State
from federation.messages import decode
from federation.releases import Release
from federation.task import Task
from tests.orchestrator.devices import Device, Lost
from tests.orchestrator.federations import NOISE

__all__ = ["Learned", "learn_together"]

Leaves = Callable[[int], str]
"""The step before which a device leaves its next round, given the device's number; empty for none."""


class Learned(NamedTuple):
    """What came of a task.

    Attributes:
        releases: Without the first one, which is of zeros.
        right: How many of them are the mean of just those updates that were acknowledged.
        retried: Rounds that ended without a sum.
    """

    releases: list[Release]
    right: int
    retried: int


async def learn_together(
    http: httpx.AsyncClient,
    devices: Sequence[Device],
    updates: NDArray[np.float64],
    task: Task,
    leaves: Leaves = lambda _device: "",
) -> Learned:
    """As many releases as the task has.

    Args:
        http: Reaches the orchestrator.
        devices: That have joined.
        updates: What each learns in every round, shape (devices, parameters).
        task: That is open.
        leaves: Who leaves when.
    """
    await asyncio.gather(*(_until_the_end(device, number, leaves) for number, device in enumerate(devices)))
    right, before = 0, np.zeros(task.plan.privacy.parameters)
    releases = [await _released(http, task.name, number) for number in range(1, task.rounds + 1)]
    for release in releases:
        numbers = await _numbers(http, release)
        there = [number for number, device in enumerate(devices) if release.round in device.sent]
        off = np.abs(numbers - before - updates[there].mean(axis=0)).max() if there else np.inf
        right += len(there) == release.survivors and off < NOISE
        before = numbers
    begun = range(1, releases[-1].round + 1)
    states = [await _state(http, task.name, number) for number in begun]
    return Learned(releases, right, sum(state.step == "aborted" for state in states))


async def _until_the_end(device: Device, number: int, leaves: Leaves) -> None:
    """Take part until the task is over, whatever is lost on the way."""
    while True:
        try:
            await device.take_part(leaves_before=leaves(number))
        except Lost as error:
            if "over" in str(error):
                return


async def _released(http: httpx.AsyncClient, task: str, number: int) -> Release:
    got = await _got(http, f"/v1/tasks/{task}/releases/{number}")
    return decode(msgspec.json.decode(got.content, type=ReleaseInfo).message, Release, 1024)


async def _numbers(http: httpx.AsyncClient, release: Release) -> NDArray[np.float64]:
    got = await _got(http, f"/v1/content/{release.content.hex()}")
    return np.frombuffer(got.content, "<f4").astype(np.float64)


async def _state(http: httpx.AsyncClient, task: str, number: int) -> State:
    return msgspec.json.decode((await _got(http, f"/v1/tasks/{task}/rounds/{number}")).content, type=State)


async def _got(http: httpx.AsyncClient, target: str) -> httpx.Response:
    """The answer of whichever replica gives one."""
    for _ in range(300):
        try:
            got = await http.get(target)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if got.status_code not in (429, 503):
            got.raise_for_status()
            return got
        await asyncio.sleep(0.1)
    raise AssertionError("nobody answers")
