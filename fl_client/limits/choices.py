"""What a person may set the limits to: their names, what each takes, and what would loosen it."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from fl_client.limits.hours import ALL_DAY, Hours
from fl_client.limits.sources import Sources
from vault.errors import SettingsError
from vault.sanitize import sanitize_line
from vault.settings import LimitSettings

__all__ = ["CHOICES", "Choice", "Value", "in_words", "loosens", "read", "set_to", "written"]

Value = bool | int | float | str
_DEFAULT = LimitSettings()
_SWITCH: Mapping[str, Value] = {"on": True, "off": False}
_IDLE: Mapping[str, Value] = {"on": _DEFAULT.idle_minutes, "off": 0}
_OFF: Mapping[str, Value] = {"off": 0}
_MIB = 1 << 20


class Choice(NamedTuple):
    """What one limit may be set to.

    Attributes:
        key: Its setting, in `[limits]`.
        takes: What it takes, in words.
        words: What isn't a number, and what it means.
        unit: What stands behind a number.
    """

    key: str
    takes: str
    words: Mapping[str, Value]
    unit: str = ""


CHOICES: dict[str, Choice] = {
    "charger": Choice("charger", "on or off", _SWITCH),
    "idle": Choice("idle_minutes", "minutes without use, on or off", _IDLE, " min unused"),
    "unmetered": Choice("unmetered", "on or off", _SWITCH),
    "hours": Choice("hours", "two times, such as 22:00-06:00, or off", {"off": str(ALL_DAY)}),
    "threads": Choice("threads", "a number of threads, or half", {"half": 0}),
    "memory": Choice("memory_mib", "MiB, or half", {"half": 0}, " MiB"),
    "disk": Choice("disk_free_mib", "MiB to keep free, or off", _OFF, " MiB kept free"),
    "temperature": Choice("temperature", "degrees Celsius, or off", _OFF, " °C"),
    "upload": Choice("upload_mib_a_day", "MiB a day", {}, " MiB a day"),
    "minutes": Choice("minutes_a_day", "minutes a day", {}, " a day"),
    "cohort": Choice("least_cohort", "a number of devices", {}, " devices a round"),
    "corrupt": Choice("least_corrupt", "a number of devices", {}, " that may cheat together"),
    "epsilon": Choice("epsilon_a_year", "ε a year and task", {}, " a year and task"),
}
"""Every limit, in the order in which they are shown."""


def _choice(name: str) -> Choice:
    if name not in CHOICES:
        raise SettingsError(
            f"There is no limit {sanitize_line(name, 40)!r}.", hint=f"There are: {', '.join(CHOICES)}."
        )
    return CHOICES[name]


def read(name: str, text: str) -> Value:
    """What a person means by a value.

    Args:
        name: Of the limit.
        text: As they typed it.

    Raises:
        SettingsError: there is no such limit, or it doesn't take that.
    """
    choice = _choice(name)
    value = choice.words.get(text.strip().lower(), text.strip())
    try:
        settings = msgspec.convert({choice.key: value}, LimitSettings, strict=False)
    except msgspec.ValidationError:
        raise SettingsError(
            f"{name} takes {choice.takes}, not {sanitize_line(text, 40)!r}.", hint=_bounds(choice.key)
        ) from None
    return set_to(name, settings)


def set_to(name: str, settings: LimitSettings) -> Value:
    """What a limit is set to."""
    value: Value = getattr(settings, _choice(name).key)
    return value


def written(name: str, value: Value) -> tuple[str, str]:
    """A limit as `vault.settings.set_setting` takes it: the setting's name, and its value."""
    return f"limits.{_choice(name).key}", str(value).lower() if isinstance(value, bool) else str(value)


def in_words(name: str, value: Value) -> str:
    """What a limit is set to, for a person."""
    match name, value:
        case "threads", 0:
            return "half of the cores"
        case "memory", 0:
            return "half of what is free"
        case "hours", str():
            return "all day" if Hours.read(value) == ALL_DAY else value
        case _, (bool() | 0) if "off" in CHOICES[name].words:
            return "on" if value else "off"
        case _, int():
            return f"{value:,}{CHOICES[name].unit}"
        case _, float():
            return f"{value:{',.0f' if value >= 1000 else 'g'}}{CHOICES[name].unit}"
    return str(value)


def loosens(name: str, value: Value, settings: LimitSettings, sources: Sources) -> bool:
    """Whether a value allows more than the limit does now, and more than it does by default.

    Args:
        name: Of the limit.
        value: As `read` returned it.
        settings: What the limits are set to now.
        sources: The machine that half of the cores, or of the memory, is meant of.
    """
    others = (set_to(name, settings), set_to(name, _DEFAULT))
    return all(_allows(name, value, sources) > _allows(name, other, sources) for other in others)


def _allows(name: str, value: Value, sources: Sources) -> float:
    """How much a value allows, as a number: the larger, the more."""
    match name, value:
        case "hours", str():
            return sum(minute in (Hours.read(value) or ALL_DAY) for minute in range(24 * 60))
        case (("charger" | "unmetered"), bool()):
            return not value
        case (("idle" | "disk" | "cohort" | "corrupt"), int()):
            return -value
        case "threads", 0:
            return max(1, sources.cores() // 2)
        case "memory", 0:
            return sources.free_memory() / 2 / _MIB
        case "temperature", 0:
            return float("inf")
    return float(value)


def _bounds(key: str) -> str:
    """From where to where a number may be; empty for what is none."""
    settings = msgspec.inspect.type_info(LimitSettings)
    assert isinstance(settings, msgspec.inspect.StructType)
    kind = next(field.type for field in settings.fields if field.name == key)
    if isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        return f"From {kind.ge:,.0f} to {kind.le:,.0f}."
    return ""
