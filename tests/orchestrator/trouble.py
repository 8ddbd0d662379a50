"""Trouble for replicas and their database: somebody is killed at each step of a round."""

import asyncio
import contextlib
import random
import signal
from collections import Counter

import httpx
import msgspec

from federation.api import State
from federation.secagg.server import STEPS
from tests.fixtures.postgresql import PostgreSQL
from tests.orchestrator.replicas import Operator

__all__ = ["Trouble"]


class Trouble:
    """Kills a replica at each step of each round, and once has the database restart as after a power cut.

    Args:
        operator: Whose replicas.
        database: Theirs.
        http: Tells how far a round is.
        dice: Decides which, how and when.

    Attributes:
        killed: How many replicas, by the step at which they were.
        restarted: The step at which the database was; empty before.
    """

    def __init__(
        self, operator: Operator, database: PostgreSQL, http: httpx.AsyncClient, dice: random.Random
    ) -> None:
        self._operator = operator
        self._database = database
        self._http = http
        self._dice = dice
        self._alive = set(range(len(operator.addresses)))
        self._restart_at = dice.randrange(2 * len(STEPS))
        self.killed: Counter[str] = Counter()
        self.restarted = ""

    async def make(self, task: str) -> None:
        """Until cancelled; then every replica is started again."""
        mending = set[asyncio.Task[None]]()
        number, seen, steps = 1, (0, ""), 0
        try:
            while True:
                state = await self._state(task, number)
                if state in ("done", "aborted"):
                    number += 1
                elif state and seen != (number, state):
                    seen = number, state
                    steps += 1
                    await asyncio.sleep(self._dice.uniform(0, 0.3))
                    if steps > self._restart_at and not self.restarted:
                        self.restarted = state
                        await asyncio.to_thread(self._database.restart)
                    if len(self._alive) > 1:
                        mending.add(asyncio.create_task(self._kill(state)))
                await asyncio.sleep(0.05)
        finally:
            await asyncio.gather(*mending, return_exceptions=True)

    async def _kill(self, step: str) -> None:
        which = self._dice.choice(sorted(self._alive))
        self._alive.discard(which)
        how = signal.SIGTERM if self._dice.random() < 0.2 else signal.SIGKILL
        self.killed[step] += 1
        await asyncio.to_thread(self._operator.kill, which, how)
        await asyncio.sleep(self._dice.uniform(0, 0.5))
        self._operator.start(which)
        await asyncio.to_thread(self._operator.wait_for, self._operator.addresses[which])
        self._alive.add(which)

    async def _state(self, task: str, number: int) -> str:
        with contextlib.suppress(httpx.TransportError):
            got = await self._http.get(f"/v1/tasks/{task}/rounds/{number}")
            if got.status_code == 200:
                return msgspec.json.decode(got.content, type=State).step
        return ""
