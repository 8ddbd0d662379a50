"""What the values of foreign rows must mean, beyond their types: the rest of the program relies on it unasked."""

import datetime
import re

import msgspec

from vault.adapter_store import PART_BYTES, AdapterKind
from vault.classes import DataClass
from vault.consent_store import Installs
from vault.example_store import ExampleKind, is_skill_name
from vault.log.checkpoint import SEED_BYTES
from vault.log.transparency import SIGNING_KEY
from vault.model_store import NAME
from vault.note_store import LONGEST_NOTE
from vault.notifications import read_event
from vault.permission_store import is_permission, is_resource
from vault.retention import MOST_DAYS, Retained
from vault.sanitize import sanitize
from vault.settings import ModelSettings
from vault.tombstones import Buried

__all__ = ["YEAR_10000_MS", "means_something"]

YEAR_10000_MS = 253_402_300_800_000
"""The first millisecond that a calendar of four digits can't name."""

_IDS = {"session_id", "message_id", "parent_id", "head", "forked_from", "adapter", "example"}
_WITH_IDS = {"sessions", "messages", "skill_examples", "skill_adapters", "tombstones", "notes"}
_ID = re.compile("[0-9A-Za-z_-]{1,64}")  # they are printed, and become part of file names
_EMBEDDED = ModelSettings().default  # never registered: it comes with the program
_MOST_A_DAY = 1 << 50  # bytes; ever so many days of it can be added up
_SHA256 = re.compile("[0-9a-f]{64}")
_ADDRESS = re.compile(r"https://[^\s/?#@]{1,290}")
_KEY_BYTES = 32


def means_something(table: str, column: str, value: str | int | float | bytes | None) -> bool:
    """Whether a value is one that this program could have written into a column."""
    if value is None:
        return True
    if column.endswith("_ms"):
        return _is_time(value)
    if column in _IDS or (column == "id" and table in _WITH_IDS):
        return isinstance(value, str) and _ID.fullmatch(value) is not None
    match table, column, value:
        case "attachments", "text", bytes():
            return _is_text(value)
        case "skill_examples", ("input" | "output"), bytes():
            return _is_text(value)
        case (("skill_examples" | "skill_adapters"), "skill", str()):
            return is_skill_name(value)
        case "skill_examples", "kind", str():
            return value in list(ExampleKind)
        case "skill_adapters", "kind", str():
            return value in list(AdapterKind)
        case "skill_adapters", ("sha256" | "base_sha256"), str():
            return _SHA256.fullmatch(value) is not None
        case "skill_adapter_parts", "data", bytes():
            return len(value) <= PART_BYTES
        case "generations", "sampling", str():
            return _is_object(value)
        case "generations", "tokens", bytes():
            return len(value) % 4 == 0
        case "secrets", "name", str():
            return value == SIGNING_KEY
        case "secrets", "value", bytes():
            return len(value) == SEED_BYTES
        case "log_entries", "sensitive", int():
            return value in (0, 1)
        case "retention", "kind", str():
            return value in list(Retained)
        case "retention", "days", int():
            return 0 <= value <= MOST_DAYS
        case "tombstones", "kind", str():
            return value in list(Buried)
        case "notifications", "details", str():
            return _is_event(value)
        case (("egress_days" | "learning_days"), "day", str()):
            return _is_day(value)
        case "egress_days", ("sent" | "received"), int():
            return 0 <= value < _MOST_A_DAY
        case "learning_days", "uploaded", int():
            return 0 <= value < _MOST_A_DAY
        case (("federations" | "consents" | "participations" | "federation_releases"), _, _):
            return _of_federation(table, column, value)
        case "notes", ("text" | "source"), str():
            return sanitize(value) == value and len(value) <= LONGEST_NOTE
        case "permissions", "data_class", str():
            return value in list(DataClass)
        case "permissions", "permission", str():
            return is_permission(value)
        case "permissions", "resource", str():
            return is_resource(value)
        case "models", "file", str():
            return value not in ("", ".", "..") and not set(value) & set("/\\\x00")
        case "models", "name", str():
            return NAME.fullmatch(value) is not None and value != _EMBEDDED
        case "models", "sha256", str():
            return _SHA256.fullmatch(value) is not None
    return True


def _of_federation(table: str, column: str, value: str | int | float | bytes) -> bool:
    if column in ("identity", "invite"):
        return isinstance(value, bytes) and len(value) == _KEY_BYTES
    if column in ("id", "federation", "task", "sha256"):
        # Consent to belong to a federation is about no task, and of a round that was lost nothing was sent.
        may_be_empty = (table, column) in (("consents", "task"), ("participations", "sha256"))
        return isinstance(value, str) and (_SHA256.fullmatch(value) is not None or (may_be_empty and not value))
    if column == "installs":
        return value in list(Installs)
    if column == "address":
        return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None
    return not isinstance(value, str) or sanitize(value) == value


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_object(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _is_time(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < YEAR_10000_MS


def _is_day(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_event(details: str) -> bool:
    """Whether a notification can be told: of a known kind, its texts harmless, its times times."""
    event = read_event(details)
    if event is None:
        return False
    values = msgspec.structs.asdict(event)
    texts = [text for value in values.values() for text in (value if isinstance(value, tuple) else (value,))]
    return all(sanitize(text) == text for text in texts if isinstance(text, str)) and all(
        _is_time(value) for name, value in values.items() if name.endswith("_ms")
    )
