"""What the values of foreign rows must mean, beyond their types: the rest of the program relies on it unasked."""

import re

import msgspec

from vault.model_store import NAME
from vault.settings import ModelSettings

__all__ = ["YEAR_10000_MS", "means_something"]

YEAR_10000_MS = 253_402_300_800_000
"""The first millisecond that a calendar of four digits can't name."""

_IDS = {"session_id", "message_id", "parent_id", "head", "forked_from"}
_WITH_IDS = {"sessions", "messages"}
_ID = re.compile("[0-9A-Za-z_-]{1,64}")  # they are printed, and become part of file names
_EMBEDDED = ModelSettings().default  # never registered: it comes with the program
_SHA256 = re.compile("[0-9a-f]{64}")


def means_something(table: str, column: str, value: str | int | float | bytes | None) -> bool:
    """Whether a value is one that this program could have written into a column."""
    if value is None:
        return True
    if column.endswith("_ms"):
        return isinstance(value, int) and 0 <= value < YEAR_10000_MS
    if column in _IDS or (column == "id" and table in _WITH_IDS):
        return isinstance(value, str) and _ID.fullmatch(value) is not None
    match table, column, value:
        case "attachments", "text", bytes():
            return _is_text(value)
        case "generations", "sampling", str():
            return _is_object(value)
        case "generations", "tokens", bytes():
            return len(value) % 4 == 0
        case "models", "file", str():
            return value not in ("", ".", "..") and not set(value) & set("/\\\x00")
        case "models", "name", str():
            return NAME.fullmatch(value) is not None and value != _EMBEDDED
        case "models", "sha256", str():
            return _SHA256.fullmatch(value) is not None
    return True


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
