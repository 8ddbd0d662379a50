"""A cohort of protocol-level devices in one process: they compute, sign and send all that real ones do.

Only what a thousand devices would each verify by themselves, on their own processors, is verified once here: the
others' certificates and signatures. They ask as often as the orchestrator tells devices to.
"""

import asyncio
import contextlib
import functools
import time
import unittest.mock
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from federation import enrolment
from federation.digests import is_signed
from federation.invites import Invite
from federation.secagg import client, cohort
from tests.orchestrator.devices import Device, Lost
from tests.orchestrator.replicas import trusting

__all__ = ["Learned", "learn"]

_ASK_EVERY_S = 2.0
_AT_ONCE = 64


class Learned(NamedTuple):
    """What came of a round.

    Attributes:
        seconds: From the first check-in until the last device knows of the release.
        mean: Of their updates, shape (parameters,).
    """

    seconds: float
    mean: NDArray[np.float64]


async def learn(
    address: str, certificate: Path, invite: Invite, task: str, devices: int, parameters: int
) -> Learned:
    """One round of many devices.

    Args:
        address: Of the orchestrator.
        certificate: Its certificate, in a file.
        invite: That all of them have.
        task: Which is open.
        devices: How many; they join first, which isn't counted.
        parameters: Numbers of an update.
    """
    limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
    transport = httpx.AsyncHTTPTransport(verify=trusting(certificate), limits=limits)
    async with httpx.AsyncClient(transport=transport, base_url=address, timeout=120) as http:
        all_ = [
            Device(http, partial(_update, number, parameters), pause_s=_ASK_EVERY_S) for number in range(devices)
        ]
        for begin in range(0, devices, _AT_ONCE):
            await asyncio.gather(*(one.join(invite, task) for one in all_[begin : begin + _AT_ONCE]))
        with _verified_once():
            begun = time.perf_counter()
            done = await asyncio.gather(*(one.take_part() for one in all_), return_exceptions=True)
            seconds = time.perf_counter() - begun
    for one in done:
        if isinstance(one, BaseException) and not isinstance(one, Lost):
            raise one
    if gone := [str(one) for one in done if isinstance(one, Lost)]:
        raise SystemExit(f"{len(gone)} of {devices} devices were lost: {gone[0]}")
    sent = [_update(number, parameters) for number, one in enumerate(all_) if one.sent]
    return Learned(seconds, np.mean(sent, axis=0))


def _update(number: int, parameters: int, _round: int = 1) -> NDArray[np.float64]:
    """What a device learned: of length 1/2."""
    values = np.random.default_rng(number).normal(size=parameters)
    return np.asarray(values / np.linalg.norm(values) / 2)


@contextlib.contextmanager
def _verified_once() -> Iterator[None]:
    """All devices of this process share what they know of certificates and signatures."""
    once = functools.lru_cache(maxsize=100_000)(is_signed)
    with contextlib.ExitStack() as stack:
        for where in (client, cohort, enrolment):
            stack.enter_context(unittest.mock.patch.object(where, "is_signed", once))
        yield
