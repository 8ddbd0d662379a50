"""What was erased on purpose, by ids alone, so that a backup made before doesn't bring it back."""

import hashlib
from enum import StrEnum

from vault.connection import Connection

__all__ = ["Buried", "attachment_id", "bury"]


class Buried(StrEnum):
    """What a tombstone stands for."""

    SESSION = "session"
    """With all that belonged to it."""
    MESSAGE = "message"
    """With all that was said after it."""
    ATTACHMENT = "attachment"
    NOTE = "note"
    EXAMPLE = "example"
    """Of a skill."""


def attachment_id(message_id: str, name: str) -> str:
    """Names an attachment in a tombstone. A file's own name may tell what was in it, so it is hashed."""
    return hashlib.sha256(f"{message_id}/{name}".encode()).hexdigest()


def bury(connection: Connection, kind: Buried, buried: str, now_ms: int) -> None:
    """Remember that something was erased."""
    connection.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)", (kind, buried, now_ms))
