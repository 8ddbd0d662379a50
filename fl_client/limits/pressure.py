"""How much others want the processor: the kernel's pressure stall information (`/proc/pressure/cpu`)."""

import re
from pathlib import Path

from fl_client.limits.found import text_in

__all__ = ["MOST_PRESSURE", "cpu_pressure"]

MOST_PRESSURE = 25.0
"""Percent of the last ten seconds in which somebody waited for the processor; above it the machine is busy."""
_SOME = re.compile(r"some avg10=(\d{1,3}\.\d{2}) ")


def cpu_pressure(file: Path) -> float | None:
    """Percent of the last ten seconds in which a program waited for the processor; `None` where nobody says."""
    match = _SOME.match(text_in(file))
    return float(match[1]) if match and float(match[1]) <= 100 else None
