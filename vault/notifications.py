"""What a person is told of without having asked: events of the vault, in figures, never with a message's text.

Each event is a type of its own, so that a face can show it as it likes; `words` says it in one sentence.
"""

import time
from typing import NamedTuple

import msgspec

from vault.clock import local_time
from vault.database import Connection, Database

__all__ = [
    "LARGE_EXPORT_BYTES",
    "Event",
    "LargeExport",
    "LogVerificationFailed",
    "ManyFailedUnlocks",
    "NewSlotUsed",
    "Notification",
    "Notifications",
    "PermissionChanged",
    "Restored",
    "RetentionChanged",
    "RollbackAccepted",
    "SlotsChanged",
    "Unknown",
    "read_event",
    "words",
]

LARGE_EXPORT_BYTES = 1 << 20
"""From here on an export or a backup is worth a notification."""


class _Event(msgspec.Struct, frozen=True, tag_field="kind"):
    """Something that happened."""


class NewSlotUsed(_Event, frozen=True, tag="new-slot-used"):
    """A key slot opened the vault for the first time."""

    slot: str
    """Its kind."""


class SlotsChanged(_Event, frozen=True, tag="slots-changed"):
    """A way into the vault was added, or taken away."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class ManyFailedUnlocks(_Event, frozen=True, tag="many-failed-unlocks"):
    """Somebody tried keys that didn't fit."""

    count: int
    since_ms: int


class LargeExport(_Event, frozen=True, tag="large-export"):
    """Much of the vault was written out."""

    bytes: int
    rows: int


class RetentionChanged(_Event, frozen=True, tag="retention-changed"):
    """Something is kept for another time than before."""

    what: str
    days: int | None
    """`None`: until it is erased."""


class PermissionChanged(_Event, frozen=True, tag="permission-changed"):
    """Something is allowed that wasn't, or the other way round."""

    what: str
    allowed: bool


class LogVerificationFailed(_Event, frozen=True, tag="log-verification-failed"):
    """The transparency log isn't the one that was written."""


class RollbackAccepted(_Event, frozen=True, tag="rollback-accepted"):
    """An older vault was taken for the newest."""

    finding: str
    """What was wrong with it."""


class Restored(_Event, frozen=True, tag="restored"):
    """The vault was restored from a backup."""

    made_ms: int
    """When the backup was made."""


class Unknown(_Event, frozen=True, tag="unknown"):
    """An event of a kind that a newer version knows."""

    name: str


Known = (
    NewSlotUsed
    | SlotsChanged
    | ManyFailedUnlocks
    | LargeExport
    | RetentionChanged
    | PermissionChanged
    | LogVerificationFailed
    | RollbackAccepted
    | Restored
)
Event = Known | Unknown


class Notification(NamedTuple):
    """An event that a person hasn't seen yet.

    Attributes:
        n: Counts the notifications.
        at_ms: When it happened, in milliseconds since 1970.
        event: What happened.
    """

    n: int
    at_ms: int
    event: Event


class Notifications:
    """The notifications of one vault."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def raise_(self, event: Known, connection: Connection | None = None) -> None:
        """Tell the person something, when they next look.

        Args:
            event: What happened.
            connection: In the transaction that makes it happen; one of its own if not given.
        """
        if connection is None:
            self._database.write(lambda own: self.raise_(event, own))
            return
        connection.execute(
            "INSERT INTO notifications (at_ms, kind, details) VALUES (?, ?, ?)",
            (_now_ms(), event.__struct_config__.tag, msgspec.json.encode(event).decode()),
        )

    def unseen(self) -> list[Notification]:
        """What the person hasn't seen, oldest first."""
        rows = self._database.read(
            lambda c: c.execute(
                "SELECT n, at_ms, kind, details FROM notifications WHERE seen_ms IS NULL ORDER BY n"
            ).fetchall()
        )
        return [Notification(n, at_ms, _event(kind, details)) for n, at_ms, kind, details in rows]

    def mark_seen(self, notifications: list[Notification]) -> None:
        """Note that the person has seen these."""
        if not notifications:
            return

        def mark(connection: Connection) -> None:
            for notification in notifications:
                connection.execute(
                    "UPDATE notifications SET seen_ms = ? WHERE n = ? AND seen_ms IS NULL",
                    (_now_ms(), notification.n),
                )

        self._database.write(mark)


def words(event: Event) -> str:
    """An event in one sentence, with what to do about it where there is something."""
    match event:
        case NewSlotUsed():
            return f"The vault was opened by a slot that hadn't opened it before: {event.slot}."
        case SlotsChanged():
            changes = [f"{slot} added" for slot in event.added] + [f"{slot} removed" for slot in event.removed]
            return f"The ways into the vault were changed: {', '.join(changes)}."
        case ManyFailedUnlocks():
            return (
                f"{event.count} attempts to open the vault failed since {local_time(event.since_ms)}. "
                "If that wasn't you, somebody tries keys on this machine."
            )
        case LargeExport():
            return f"{event.rows:,} records ({event.bytes:,} bytes) were written out of the vault."
        case RetentionChanged(days=None):
            return f"How long things are kept was changed: {event.what}, until erased."
        case RetentionChanged():
            return f"How long things are kept was changed: {event.what}, {event.days} days."
        case PermissionChanged():
            return f"A permission was {'given' if event.allowed else 'withdrawn'}: {event.what}."
        case LogVerificationFailed():
            return "The transparency log isn't the one that was written. `claw vault check` says more."
        case RollbackAccepted():
            return f"The vault was taken as it was found, though: {event.finding}"
        case Restored():
            return f"The vault was restored from a backup made on {local_time(event.made_ms)}."
        case Unknown():
            return f"Something happened that only a newer version can tell of: {event.name}."


def read_event(details: str) -> Known | None:
    """The event that was written down; `None` for one that this version doesn't know."""
    try:
        event: Known = msgspec.json.decode(details, type=Known)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return event


def _event(kind: str, details: str) -> Event:
    event = read_event(details)
    return Unknown(kind) if event is None else event


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
