"""Which walls programs of skills last ran behind, remembered so that a change of them can be told."""

from typing import NamedTuple

from vault.connection import Connection

__all__ = ["NotedTier", "note_tier", "noted_tier"]


class NotedTier(NamedTuple):
    """What was noted last.

    Attributes:
        name: Of the tier; empty when none worked.
        since_ms: Since when, in milliseconds since 1970.
    """

    name: str
    since_ms: int


def noted_tier(connection: Connection) -> NotedTier | None:
    """What was noted last; `None` where nothing ever was."""
    row = connection.execute("SELECT name, since_ms FROM sandbox_tier").fetchone()
    return NotedTier(*row) if row else None


def note_tier(connection: Connection, tier: NotedTier) -> None:
    """Remember another one, in a transaction that writes."""
    connection.execute("INSERT OR REPLACE INTO sandbox_tier (only, name, since_ms) VALUES (1, ?, ?)", tier)
