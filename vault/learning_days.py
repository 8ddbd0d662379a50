"""How long was trained on a day, and how much of it was sent: what the limits of learning are held against.

A day is a day of UTC, as for what leaves through the door (`vault.budget`).
"""

import datetime
from collections.abc import Callable
from typing import NamedTuple

from vault.connection import Connection
from vault.database import Database

__all__ = ["LearningDays", "Used"]


class Used(NamedTuple):
    """What learning took on one day.

    Attributes:
        trained_s: Seconds of training.
        uploaded: Bytes of updates that were sent.
    """

    trained_s: float
    uploaded: int


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class LearningDays:
    """The days of one vault.

    Args:
        database: Its database.
        now: The time, in UTC.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime.datetime] = _utc_now) -> None:
        self._database = database
        self._now = now

    def today(self) -> Used:
        """What learning took today."""
        day = self._now().date().isoformat()
        row = self._database.read(
            lambda c: c.execute("SELECT trained_ms, uploaded FROM learning_days WHERE day = ?", (day,)).fetchone()
        )
        trained_ms, uploaded = row or (0, 0)
        return Used(trained_ms / 1000, uploaded)

    @staticmethod
    def add(
        connection: Connection,
        *,
        trained_s: float = 0.0,
        uploaded: int = 0,
        now: Callable[[], datetime.datetime] = _utc_now,
    ) -> None:
        """Count what was taken for today.

        Args:
            connection: In a transaction that writes.
            trained_s: Seconds of training.
            uploaded: Bytes that were sent, or are about to be.
            now: The time, in UTC.

        Raises:
            ValueError: one of them is below zero: what was taken isn't given back.
        """
        if not (trained_s >= 0 and uploaded >= 0):
            raise ValueError("what learning took can't be less than nothing")
        connection.execute(
            """
            INSERT INTO learning_days (day, trained_ms, uploaded) VALUES (?, ?, ?)
            ON CONFLICT (day) DO UPDATE SET
                trained_ms = trained_ms + excluded.trained_ms, uploaded = uploaded + excluded.uploaded
            """,
            (now().date().isoformat(), round(trained_s * 1000), uploaded),
        )
