"""Times as a person reads them: whatever number stands for one, something can be shown."""

import time

__all__ = ["local_time"]


def local_time(ms: int, form: str = "%Y-%m-%d %H:%M") -> str:
    """A time where the person is.

    Args:
        ms: In milliseconds since 1970; it may come from elsewhere, and be no time at all.
        form: As `strftime` has it.
    """
    try:
        return time.strftime(form, time.localtime(ms / 1000))
    except (OverflowError, ValueError, OSError):
        return "an unknown time"
