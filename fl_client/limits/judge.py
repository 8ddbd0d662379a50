"""Whether learning may go on: every limit, with what is so now beside it, and why it doesn't hold.

Strict: what nobody can tell doesn't hold. A limit that a person took away holds whatever is so.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from fl_client.limits.charger import on_charger
from fl_client.limits.choices import in_words, set_to
from fl_client.limits.found import Found
from fl_client.limits.hours import ALL_DAY, Hours
from fl_client.limits.idle import idle
from fl_client.limits.metered import unmetered
from fl_client.limits.sources import Sources
from fl_client.limits.temperature import warm
from vault.settings import LimitSettings

if TYPE_CHECKING:
    from fl_client.training.plan import Machine

__all__ = ["Limits", "Reading", "Spent"]

_MIB = 1 << 20
_SUPPLIES = "class/power_supply"
_SHARE = 0.8
"""Of the free memory, whatever is asked for: others need some, too."""
_NO_TASKS: Mapping[str, float] = MappingProxyType({})
_TOMORROW = "the count starts anew at 00:00 UTC"
_IN_EACH_ROUND = Found(True, "seen in each round")
"""Of what isn't so of this machine: a round says it, before anything is trained for it."""


class Spent(NamedTuple):
    """What learning took today (UTC).

    Attributes:
        uploaded: Bytes of updates that were sent.
        trained_s: Seconds of training.
    """

    uploaded: int
    trained_s: float


class Reading(NamedTuple):
    """A limit, and what is so.

    Attributes:
        name: Of the limit, as `claw limits set` takes it.
        limit: What it is set to.
        now: What is so now.
        holds: Whether learning may go on, as far as this limit goes.
        why: Why it may not, as a sentence; empty where it may.
    """

    name: str
    limit: str
    now: str
    holds: bool
    why: str


class _Limit(NamedTuple):
    """One limit.

    Attributes:
        name: As in a reading.
        is_set: Whether it can fail to hold.
        look: Looks what is so.
    """

    name: str
    is_set: bool
    look: Callable[[], Found]


class Limits:
    """The limits of one person on one machine.

    Args:
        settings: What they are set to.
        sources: Where to look; this machine where none are given.
    """

    def __init__(self, settings: LimitSettings, sources: Sources | None = None) -> None:
        self._settings = settings
        self._sources = sources or Sources.here()

    def readings(self, spent: Spent, epsilon: Mapping[str, float] = _NO_TASKS) -> list[Reading]:
        """Every limit, with what is so now.

        Args:
            spent: What learning took today.
            epsilon: The privacy loss of each task in this year, by the task's name.
        """
        return [*map(self._reading, self._limits(spent)), *self._of_privacy(epsilon)]

    def reasons(self, spent: Spent) -> list[str]:
        """Why learning may not go on now, a sentence each; empty where it may. Privacy isn't asked about.

        Args:
            spent: What learning took today.
        """
        read = (self._reading(limit) for limit in self._limits(spent) if limit.is_set)
        return [reading.why for reading in read if not reading.holds]

    def machine(self) -> "Machine":
        """What training may take of this machine now."""
        from fl_client.training.plan import Machine

        return Machine(self._most_memory(), self._most_threads())

    def _limits(self, spent: Spent) -> Iterator[_Limit]:
        to, of = self._settings, self._sources
        hours = Hours.read(to.hours) or ALL_DAY
        yield _Limit("charger", to.charger, lambda: on_charger(of.sysfs / _SUPPLIES))
        yield _Limit("idle", to.idle_minutes > 0, self._idle)
        yield _Limit("unmetered", to.unmetered, lambda: unmetered(of.system_bus))
        yield _Limit("hours", hours != ALL_DAY, lambda: hours.judge(of.now()))
        yield _Limit("threads", False, self._threads)
        yield _Limit("memory", False, self._memory)
        yield _Limit("disk", to.disk_free_mib > 0, self._disk)
        yield _Limit("temperature", to.temperature > 0, lambda: warm(of.sysfs, to.temperature))
        yield _Limit("upload", True, lambda: self._upload(spent.uploaded))
        yield _Limit("minutes", True, lambda: self._minutes(spent.trained_s))
        yield _Limit("cohort", False, lambda: _IN_EACH_ROUND)
        yield _Limit("corrupt", False, lambda: _IN_EACH_ROUND)

    def _reading(self, limit: _Limit) -> Reading:
        found = limit.look()
        says = in_words(limit.name, set_to(limit.name, self._settings))
        if found.holds or not limit.is_set:
            return Reading(limit.name, says, found.now, True, "")
        why = found.why
        if found.holds is None:
            why += f" That counts as no. To learn all the same: claw limits set {limit.name} off"
        return Reading(limit.name, says, found.now, False, why)

    def _of_privacy(self, epsilon: Mapping[str, float]) -> Iterator[Reading]:
        most = self._settings.epsilon_a_year
        says = in_words("epsilon", most)
        if not epsilon:
            yield Reading("epsilon", says, "no task yet", True, "")
        for task, lost in epsilon.items():
            holds = lost < most
            over = f"{task} has taken ε {lost:.2f} of this year's {most:,g}; it is over for good."
            yield Reading("epsilon", says, f"{lost:.2f} for {task}", holds, "" if holds else over)

    def _idle(self) -> Found:
        of = self._sources
        return idle(
            of.session_bus, of.system_bus, of.display, of.procfs / "pressure/cpu", self._settings.idle_minutes
        )

    def _threads(self) -> Found:
        return Found(True, f"{self._most_threads()} of {self._sources.cores()} cores")

    def _most_threads(self) -> int:
        cores = self._sources.cores()
        return min(self._settings.threads or max(1, cores // 2), cores)

    def _memory(self) -> Found:
        free = self._sources.free_memory()
        return Found(True, f"{self._most_memory() // _MIB:,} of {free // _MIB:,} MiB that are free")

    def _most_memory(self) -> int:
        free, wanted = self._sources.free_memory(), self._settings.memory_mib * _MIB
        return min(wanted, int(free * _SHARE)) if wanted else free // 2

    def _disk(self) -> Found:
        kept = self._settings.disk_free_mib
        free = _free_on(self._sources.disk)
        if free is None:
            return Found(None, "unknown", "Nothing says how much of the disk is free.")
        now = f"{free // _MIB:,} MiB free"
        if free < kept * _MIB:
            return Found(False, now, f"{free // _MIB:,} MiB of the disk are free; {kept:,} are kept free.")
        return Found(True, now)

    def _upload(self, uploaded: int) -> Found:
        most, now = self._settings.upload_mib_a_day, f"{uploaded / _MIB:.1f} MiB sent"
        if uploaded >= most * _MIB:
            return Found(False, now, f"Today's {most:,} MiB have been sent; {_TOMORROW}.")
        return Found(True, now)

    def _minutes(self, trained_s: float) -> Found:
        most, now = self._settings.minutes_a_day, f"{trained_s / 60:.0f} trained"
        if trained_s >= most * 60:
            return Found(False, now, f"Today's {most:,} minutes of training are over; {_TOMORROW}.")
        return Found(True, now)


def _free_on(folder: Path) -> int | None:
    """Bytes that are free on the disk of a folder, or of the nearest one above it that is there."""
    for there in (folder, *folder.parents):
        try:
            return shutil.disk_usage(there).free
        except OSError:
            continue
    return None
