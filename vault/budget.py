"""How much may leave this device in a day, and how much has left.

A day is a day of UTC. What is about to leave is counted before it leaves, in the transaction that logs it, so that
neither two processes at once nor a crash in between can spend more than there is; what didn't leave after all is
given back.
"""

import datetime
from collections.abc import Callable
from typing import NamedTuple

from vault.connection import Connection
from vault.errors import OverBudget

__all__ = ["Budget", "Spent"]


class Spent(NamedTuple):
    """What has passed the door on one day.

    Attributes:
        sent: Bytes that left, or were about to when everything ended.
        received: Bytes that came.
        left: Bytes that may still leave.
    """

    sent: int
    received: int
    left: int


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Budget:
    """The budget of one device.

    Args:
        limit: Most bytes that may leave in a day (`network.daily_send_limit`).
        now: The time, in UTC.
    """

    def __init__(self, limit: int, *, now: Callable[[], datetime.datetime] = _utc_now) -> None:
        self._limit = limit
        self._now = now

    def reserve(self, connection: Connection, count: int) -> str:
        """Count bytes that are about to leave.

        Args:
            connection: In a transaction that writes.
            count: How many.

        Returns:
            The day that they count for.

        Raises:
            OverBudget: they are more than are left of it; nothing was counted.
        """
        now = self._now()
        left = self.spent(connection).left
        if count > left:
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + datetime.timedelta(days=1)
            minutes = -(-(midnight - now).total_seconds() // 60)
            raise OverBudget(
                f"{count:,} bytes were to leave this device, but only {left:,} of today's {self._limit:,} are "
                "left; nothing was sent.",
                hint=f"The count starts anew at 00:00 UTC, in {minutes // 60:.0f} h {minutes % 60:.0f} min. "
                "To change the limit: claw config set network.daily_send_limit BYTES",
            )
        day = now.date().isoformat()
        _count(connection, day, count, 0)
        return day

    def settle(self, connection: Connection, day: str, reserved: int, sent: int, received: int) -> None:
        """Put what really passed in the place of what was reserved.

        Args:
            connection: In a transaction that writes.
            day: As `reserve` returned it.
            reserved: As it was given to `reserve`.
            sent: Bytes that left.
            received: Bytes that came.
        """
        _count(connection, day, sent - reserved, received)

    def spent(self, connection: Connection) -> Spent:
        """What has passed today."""
        row = connection.execute(
            "SELECT sent, received FROM egress_days WHERE day = ?", (self._now().date().isoformat(),)
        ).fetchone()
        sent, received = row or (0, 0)
        return Spent(sent, received, max(0, self._limit - sent))


def _count(connection: Connection, day: str, sent: int, received: int) -> None:
    connection.execute(
        """
        INSERT INTO egress_days (day, sent, received) VALUES (?1, max(0, ?2), ?3)
        ON CONFLICT (day) DO UPDATE SET sent = max(0, sent + ?2), received = received + ?3
        """,
        (day, sent, received),
    )
