"""How warm the processor is, as the kernel's sensors say (`/sys/class/hwmon`, `/sys/class/thermal`)."""

import re
from collections.abc import Iterator
from pathlib import Path

from fl_client.limits.found import Found, number_in, text_in

__all__ = ["processor_temperature", "warm"]

_PROCESSOR = re.compile(r"coretemp|k10temp|zenpower|x86_pkg_temp|.*(cpu|soc|pkg).*", re.IGNORECASE)
_POSSIBLE = range(-40_000, 150_001)
"""Thousandths of a degree. A sensor that says anything else isn't connected."""


def processor_temperature(sysfs: Path) -> float | None:
    """Degrees Celsius of the hottest sensor of the processor; `None` where there is none.

    Where no sensor is known to be the processor's, every thermal zone counts. Other sensors of a board don't: many
    have inputs that nothing is connected to.
    """
    of_processor = [*_chips(sysfs / "class" / "hwmon"), *_zones(sysfs / "class" / "thermal", _PROCESSOR)]
    found = of_processor or [*_zones(sysfs / "class" / "thermal", re.compile(""))]
    return max(found) / 1000 if found else None


def warm(sysfs: Path, most: int) -> Found:
    """Whether the processor is cool enough.

    Args:
        sysfs: Where sysfs is mounted.
        most: Degrees Celsius; 0 where any are allowed.
    """
    now = processor_temperature(sysfs)
    if now is None:
        return Found(None, "unknown", "No sensor here says how warm the processor is.")
    if most and now > most:
        return Found(False, f"{now:.0f} °C", f"The processor is at {now:.0f} °C, above {most} °C.")
    return Found(True, f"{now:.0f} °C")


def _chips(folder: Path) -> Iterator[int]:
    """Of every chip that measures a processor."""
    for chip in _children(folder, "hwmon*"):
        if _PROCESSOR.fullmatch(text_in(chip / "name")):
            yield from _possible(_children(chip, "temp*_input"))


def _zones(folder: Path, kind: re.Pattern[str]) -> Iterator[int]:
    """Of every thermal zone of a kind."""
    zones = [zone for zone in _children(folder, "thermal_zone*") if kind.match(text_in(zone / "type"))]
    yield from _possible([zone / "temp" for zone in zones])


def _possible(files: list[Path]) -> Iterator[int]:
    return (value for file in files if (value := number_in(file)) is not None and value in _POSSIBLE)


def _children(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
