"""The hours of a day in which training may run."""

import datetime
import re
from typing import NamedTuple

from fl_client.limits.found import Found

__all__ = ["ALL_DAY", "Hours"]

_WRITTEN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
_DAY = 24 * 60


class Hours(NamedTuple):
    """From when to when, in minutes since midnight; past midnight where it begins later than it ends.

    Attributes:
        begin: The first minute.
        end: The first one after.
    """

    begin: int
    end: int

    @classmethod
    def read(cls, text: str) -> "Hours | None":
        """What `22:00-06:00` means; `None` where it means nothing."""
        match = _WRITTEN.fullmatch(text)
        if match is None:
            return None
        begin, end = (int(hour) * 60 + int(minute) for hour, minute in (match.groups()[:2], match.groups()[2:]))
        return cls(begin, end) if begin != end and end <= _DAY else None

    def __contains__(self, minute: object) -> bool:
        if not isinstance(minute, int):
            return False
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def __str__(self) -> str:
        return f"{_clock(self.begin)}-{_clock(self.end)}"

    def judge(self, now: datetime.datetime) -> Found:
        """Whether a moment is one of them.

        Args:
            now: Where the person is.
        """
        minute = now.hour * 60 + now.minute
        if minute in self:
            return Found(True, _clock(minute))
        return Found(
            False,
            _clock(minute),
            f"It is {_clock(minute)}; training runs between {_clock(self.begin)} and {_clock(self.end)}.",
        )


ALL_DAY = Hours(0, _DAY)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
