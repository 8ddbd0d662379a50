"""A cohort of protocol-level devices on one machine: they compute, sign and send all that real ones do.

Only what a thousand devices would each verify by themselves, on their own processors, is verified once here: the
others' certificates and signatures. They ask as often as the orchestrator tells devices to.
"""

import asyncio
import contextlib
import functools
import multiprocessing
import os
import threading
import time
import unittest.mock
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from federation import enrolment
from federation.digests import is_signed
from federation.invites import Invite
from federation.secagg import client
from federation.secagg import cohort as secagg_cohort
from tests.orchestrator.devices import Device
from tests.orchestrator.replicas import trusting

__all__ = ["Cohort", "Learned", "learn"]

_ASK_EVERY_S = 2.0
_AT_ONCE = 32
_PROCESSES = 2


class Learned(NamedTuple):
    """What came of a round.

    Attributes:
        seconds: From the first check-in until the last device knows of the release.
        mean: Of the devices' updates, shape (parameters,).
    """

    seconds: float
    mean: NDArray[np.float64]


class Cohort(NamedTuple):
    """Who learns, and where.

    Attributes:
        address: Of the orchestrator.
        certificate: Its certificate, in a file.
        invite: That all of them have.
        task: Which is open.
        devices: How many.
        parameters: Numbers of an update.
    """

    address: str
    certificate: Path
    invite: str
    task: str
    devices: int
    parameters: int


def learn(cohort: Cohort) -> Learned:
    """One round of many devices, on all of this machine's processors. They join first, which isn't counted.

    Raises:
        SystemExit: one of them was lost.
    """
    context = multiprocessing.get_context("spawn")
    processes = min(os.cpu_count() or 1, _PROCESSES)
    parts = [range(cohort.devices)[first::processes] for first in range(processes)]
    barrier = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, _meet_at, (barrier,)) as pool:
        done = list(pool.map(_learn, [cohort] * processes, parts))
    total = np.sum([part.total for part in done], axis=0)
    seconds = max(part.ended for part in done) - min(part.begun for part in done)
    return Learned(seconds, total / cohort.devices)


class _Part(NamedTuple):
    """What came of one process's devices: when they began and ended, and the sum of their updates."""

    begun: float
    ended: float
    total: NDArray[np.float64]


_barrier: threading.Barrier


def _meet_at(barrier: threading.Barrier) -> None:
    global _barrier
    _barrier = barrier


def _learn(cohort: Cohort, numbers: Sequence[int]) -> _Part:
    return asyncio.run(_take_part(cohort, numbers))


async def _take_part(cohort: Cohort, numbers: Sequence[int]) -> _Part:
    transport, invite = (
        _Few(httpx.AsyncHTTPTransport(verify=trusting(cohort.certificate))),
        Invite.parse(cohort.invite),
    )
    updates = [partial(_update, number, cohort.parameters) for number in numbers]
    async with httpx.AsyncClient(transport=transport, base_url=cohort.address, timeout=120) as http:
        devices = [Device(http, update, pause_s=_ASK_EVERY_S) for update in updates]
        await asyncio.gather(*(device.join(invite, cohort.task) for device in devices))
        await asyncio.to_thread(_barrier.wait)
        with _verified_once():
            begun = time.time()
            done = await asyncio.gather(*(device.take_part() for device in devices), return_exceptions=True)
            ended = time.time()
    if lost := [one for one in done if isinstance(one, BaseException)]:
        raise SystemExit(f"{len(lost)} of {len(devices)} devices were lost: {lost[0]}")
    return _Part(begun, ended, np.sum([update(1) for update in updates], axis=0))


class _Few(httpx.AsyncBaseTransport):
    """Has the others wait: a pool of connections in which a thousand requests wait is busy with nothing else."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its answer is read before the next one goes."""
        async with self._room:
            response = await self._transport.handle_async_request(request)
            await response.aread()
            return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def _update(number: int, parameters: int, _round: int = 1) -> NDArray[np.float64]:
    """What a device learned: of length 1/2."""
    values = np.random.default_rng(number).normal(size=parameters)
    return np.asarray(values / np.linalg.norm(values) / 2)


@contextlib.contextmanager
def _verified_once() -> Iterator[None]:
    """All devices of a process share what they know of certificates and signatures."""
    once = functools.lru_cache(maxsize=100_000)(is_signed)
    with contextlib.ExitStack() as stack:
        for where in (client, secagg_cohort, enrolment):
            stack.enter_context(unittest.mock.patch.object(where, "is_signed", once))
        yield
