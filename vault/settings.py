"""Typed settings in `config.toml`: what a person may change, each with its default and its bounds.

Unknown keys are refused with the nearest name, so that a misspelt setting never silently does nothing.
"""

import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from vault.durable import make_private_folder, replace_file
from vault.errors import SettingsError
from vault.sanitize import sanitize_line

__all__ = [
    "AssistantSettings",
    "ContextSettings",
    "InferenceSettings",
    "LimitSettings",
    "ModelSettings",
    "NetworkSettings",
    "SamplingSettings",
    "Settings",
    "SkillSettings",
    "ToolSettings",
    "VaultSettings",
    "get_setting",
    "load_settings",
    "read_settings_file",
    "set_setting",
    "setting_names",
]

_MOST_BYTES = 1 << 20
_HOURS = r"^(?!(.{5})-\1$)([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z"
"""From when to when, and not from one time to the same."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of `config.toml`."""


class ModelSettings(_Section, frozen=True):
    """Which model answers."""

    default: Annotated[str, Meta(min_length=1, max_length=100)] = "smollm2-135m-instruct"
    """Name of a registered model, as `claw model list` shows it."""


class InferenceSettings(_Section, frozen=True):
    """How the inference worker runs."""

    threads: Annotated[int, Meta(ge=0, le=512)] = 0
    """CPU threads; 0 means the physical cores this process may use."""
    context: Annotated[int, Meta(ge=0, le=4_194_304)] = 0
    """Context window in tokens; 0 means the model's own, bounded by free memory."""
    gpu_layers: Annotated[int, Meta(ge=-1, le=1000)] = -1
    """Layers kept on a GPU; -1 means all of them where the build of llama.cpp has a GPU."""
    memory_limit_mb: Annotated[int, Meta(ge=0)] = 0
    """Most memory in MiB the worker may take beside the model's file; 0 means no limit."""
    confinement: Literal["required", "off"] = "required"
    """Whether a worker that can't be confined (no network, no files) may run at all."""


class SamplingSettings(_Section, frozen=True):
    """How the next token is chosen. Zero or one switches the respective filter off, as in llama.cpp."""

    temperature: Annotated[float, Meta(ge=0, le=10)] = 0.3
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] = 40
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.9
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.05
    repeat_penalty: Annotated[float, Meta(ge=0.5, le=5)] = 1.05
    repeat_last_n: Annotated[int, Meta(ge=0, le=65_536)] = 64
    max_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] = 1024
    """Most tokens of a reply; 0 means until the model ends it or the context is full."""


class ContextSettings(_Section, frozen=True):
    """What happens when a conversation outgrows the context window."""

    overflow: Literal["drop-oldest", "refuse"] = "drop-oldest"
    """`drop-oldest` leaves out the oldest turns or cuts attached files, and says so; `refuse` stops instead."""
    reserve_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 512
    """Tokens kept free for the reply (at most half of the context window)."""


class AssistantSettings(_Section, frozen=True):
    """Who the assistant is."""

    system: Annotated[str, Meta(max_length=20_000)] = "You are a helpful assistant. Answer briefly and truthfully."
    """System prompt of new conversations."""


class ToolSettings(_Section, frozen=True):
    """What the assistant may use to answer."""

    enabled: bool = False
    """Whether conversations have tools without being asked for them; what they may do is `claw permission`'s."""


class SkillSettings(_Section, frozen=True):
    """What skills may do beyond their work."""

    collect_examples: bool = False
    """Whether a result that you accept or correct is kept, in the vault, as an example to train on."""


class VaultSettings(_Section, frozen=True):
    """How the vault guards its keys."""

    auto_lock_minutes: Annotated[int, Meta(ge=0, le=10_080)] = 15
    """Minutes without use after which the vault locks; 0 means never."""
    lock_on_suspend: bool = True
    """Whether the vault locks when the machine has been asleep."""
    hold_key: bool = True
    """Whether the key is held in a process of its own after a passphrase opened the vault, until it locks."""
    rotate_days: Annotated[int, Meta(ge=0, le=3650)] = 0
    """Days after which `claw` rotates the vault's keys when it next opens it; 0 means only when asked."""
    pkcs11_module: str = ""
    """Library of the hardware token (PKCS#11); empty for none."""


class LimitSettings(_Section, frozen=True):
    """When learning may use this machine, and how much of it: strict until loosened."""

    charger: bool = True
    """Whether it waits for a charger."""
    idle_minutes: Annotated[int, Meta(ge=0, le=1440)] = 5
    """Minutes without use, and without other work, that it waits for; 0 means it doesn't."""
    unmetered: bool = True
    """Whether it waits for a network that doesn't count bytes."""
    hours: Annotated[str, Meta(pattern=_HOURS)] = "00:00-24:00"
    """Between which times of the day; past midnight where the first is the later, such as 22:00-06:00."""
    threads: Annotated[int, Meta(ge=0, le=512)] = 0
    """CPU threads; 0 means half of the physical cores that this process may use."""
    memory_mib: Annotated[int, Meta(ge=0, le=16_777_216)] = 0
    """Most memory in MiB; 0 means half of what is free."""
    disk_free_mib: Annotated[int, Meta(ge=0, le=16_777_216)] = 2048
    """MiB that are kept free on the disk; 0 means none are."""
    temperature: Annotated[int, Meta(ge=0, le=110)] = 80
    """Degrees Celsius of the processor above which it stops; 0 means none are too many."""
    upload_mib_a_day: Annotated[int, Meta(ge=0, le=1_048_576)] = 16
    """Most MiB of updates that may be sent in a day (UTC)."""
    minutes_a_day: Annotated[int, Meta(ge=0, le=1440)] = 60
    """Most minutes of training in a day (UTC)."""
    least_cohort: Annotated[int, Meta(ge=3, le=10_000)] = 20
    """Fewest devices of a round that this one takes part in."""
    least_corrupt: Annotated[int, Meta(ge=0, le=10_000)] = 1
    """Devices of a round that a task counts on to work with its operator, at least."""
    epsilon_a_year: Annotated[float, Meta(ge=0, le=1e9)] = 8.0
    """Most privacy loss (ε) of a task in a year; a task that has reached it is over for good."""


class NetworkSettings(_Section, frozen=True):
    """How the one door out reaches the network, when it is asked to."""

    ca_file: str = ""
    """PEM file of the certificate authorities to trust instead of the system's."""
    proxy: str = ""
    """Proxy URL (http, https, or socks5h for Tor); proxies named in the environment are not used."""
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Seconds without a byte after which a transfer is given up."""
    daily_send_limit: Annotated[int, Meta(ge=0)] = 16 * 2**20
    """Most bytes that may leave this device in a day (UTC), requests for models included."""


class Settings(_Section, frozen=True):
    """All of `config.toml`."""

    model: ModelSettings = ModelSettings()
    inference: InferenceSettings = InferenceSettings()
    sampling: SamplingSettings = SamplingSettings()
    context: ContextSettings = ContextSettings()
    assistant: AssistantSettings = AssistantSettings()
    tools: ToolSettings = ToolSettings()
    skills: SkillSettings = SkillSettings()
    vault: VaultSettings = VaultSettings()
    limits: LimitSettings = LimitSettings()
    network: NetworkSettings = NetworkSettings()


def setting_names() -> Iterator[str]:
    """Every setting's name, as `section.key`, in the order of the classes above."""
    for section in msgspec.structs.fields(Settings):
        for key in msgspec.structs.fields(cast(type[msgspec.Struct], section.type)):
            yield f"{section.name}.{key.name}"


def load_settings(path: Path) -> Settings:
    """Read the settings; a missing file means every default.

    Raises:
        SettingsError: the file can't be read, isn't TOML, or holds an unknown name or a value out of bounds.
    """
    text = read_settings_file(path)
    return Settings() if text is None else _parse(text, path)


def read_settings_file(path: Path) -> bytes | None:
    """What the file says; `None` when it is missing. It may be a link to anything, so that it is read with a bound.

    Raises:
        SettingsError: it can't be read, or is larger than any settings.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}.") from error
    if len(data) > _MOST_BYTES:
        raise SettingsError(
            f"{path} is larger than {_MOST_BYTES >> 20} MiB, which no settings are.", hint="Put it out of the way."
        )
    return data


def get_setting(settings: Settings, name: str) -> object:
    """The value of one setting.

    Raises:
        SettingsError: there is no such setting.
    """
    section, key = _split(name)
    return getattr(getattr(settings, section), key)


def set_setting(path: Path, name: str, text: str) -> object:
    """Change one setting in the file, keeping its comments and order, and return the new value.

    Args:
        path: The file; made when missing.
        name: `section.key`.
        text: The value, as a person types it: a TOML value, or bare text for a setting that is text.

    Raises:
        SettingsError: no such setting, or the value doesn't fit; the file is unchanged.
    """
    import tomlkit
    import tomlkit.exceptions

    section, key = _split(name)
    default = getattr(getattr(Settings(), section), key)
    value: Any
    if isinstance(default, str):
        value = text
    else:
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except (ValueError, RecursionError):  # of a number of thousands of digits, too
            raise SettingsError(f"{name} takes a {type(default).__name__}, not {sanitize_line(text)!r}.") from None
        if isinstance(default, float) and type(value) is int:
            value = float(value)
    try:
        document = tomlkit.parse((read_settings_file(path) or b"").decode())
    except (ValueError, RecursionError, tomlkit.exceptions.TOMLKitError) as error:
        raise SettingsError(f"{path} can't be read as TOML; mend it with `claw config edit`.") from error
    table: Any = document.setdefault(section, tomlkit.table())
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: [{section}] must be a table.", hint="Mend it with `claw config edit`.")
    table[key] = value
    try:
        data = tomlkit.dumps(document).encode("utf-8")
    except UnicodeEncodeError:
        raise SettingsError(f"The value for {name} is not UTF-8 text.") from None
    settings = _parse(data, path)
    make_private_folder(path.parent)
    replace_file(path.resolve(), data)  # not the link itself, where the file is kept elsewhere
    return get_setting(settings, name)


def _split(name: str) -> tuple[str, str]:
    if name not in (names := list(setting_names())):
        raise SettingsError(f"There is no setting {name!r}.", hint=_nearest(name, names))
    section, key = name.split(".")
    return section, key


def _nearest(name: str, names: list[str]) -> str:
    if near := difflib.get_close_matches(name, names, n=1, cutoff=0.4):
        return f"Did you mean {near[0]}?"
    return "`claw config get` lists them all."


def _parse(data: bytes, path: Path) -> Settings:
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise SettingsError(
            f"{path} isn't valid TOML: {error}.", hint="Mend it with `claw config edit`."
        ) from error
    _refuse_unknown(document, path)
    try:
        return msgspec.convert(document, Settings, strict=True)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"{path}: {error}.",
            hint="Mend it with `claw config edit`, or set that one again: claw config set NAME VALUE",
        ) from error


def _refuse_unknown(document: dict[str, Any], path: Path) -> None:
    names = list(setting_names())
    sections = {name.split(".")[0] for name in names}
    for section, table in document.items():
        if section not in sections:
            raise SettingsError(
                f"{path}: there is no section [{section}].", hint=_nearest(section, sorted(sections))
            )
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: [{section}] must be a table.")
        for key in table:
            if f"{section}.{key}" not in names:
                raise SettingsError(
                    f"{path}: there is no setting {section}.{key}.", hint=_nearest(f"{section}.{key}", names)
                )
