"""Openings of the vault: keys that didn't fit are counted, and a slot that is used for the first time is noticed.

While the vault is locked nothing can be written into it, so failures are counted in a file beside it. Whoever can
write there can wipe the count too: it tells of somebody who tries passphrases, not of somebody who has the disk.
"""

import contextlib
import time
from typing import Annotated

import msgspec

from vault.database import Connection, Database
from vault.durable import replace_file
from vault.errors import VaultError
from vault.home import Home
from vault.keyslots import Keyslots
from vault.notifications import ManyFailedUnlocks, NewSlotUsed, Notifications
from vault.slot_kinds import kind_of

__all__ = ["ATTEMPTS", "MANY", "FailedUnlocks", "Failures", "note_opening"]

ATTEMPTS = "attempts"
"""Name of the file in the vault's folder."""
MANY = 5
"""Failures from which on the person is told."""

_MOST_BYTES = 1000
_NEW = "new"
_PASSPHRASE = "passphrase"  # noqa: S105  the kind of a slot
_KINDS = (_PASSPHRASE, "keychain", "recovery", "hardware")

_Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Failures(msgspec.Struct, frozen=True):
    """Keys that didn't fit.

    Attributes:
        count: How many.
        since_ms: When the first was tried, in milliseconds since 1970.
    """

    count: _Whole = 0
    since_ms: _Whole = 0


class FailedUnlocks:
    """The failures since the vault was last opened, in a file beside it."""

    def __init__(self, home: Home) -> None:
        self._path = home.vault / ATTEMPTS

    def read(self) -> Failures:
        """What was counted. Anybody may have written the file: whatever isn't a count counts as none."""
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(_MOST_BYTES), type=Failures)
        except (OSError, ValueError, RecursionError):
            return Failures()

    def add(self) -> None:
        """Count one more, where that can be written; nothing must keep the person from hearing of the wrong key."""
        before = self.read()
        after = Failures(before.count + 1, before.since_ms or _now_ms())
        with contextlib.suppress(VaultError):
            replace_file(self._path, msgspec.json.encode(after))

    def clear(self) -> None:
        """Begin anew."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def note_opening(home: Home, database: Database, opened_by: str, slot_id: str = "") -> None:
    """Tell the person what is unusual about the way in which the vault was opened.

    Args:
        home: Of the vault.
        database: The vault's own, open for writing.
        opened_by: The kind of slot that opened it; `"new"` when it was just made.
        slot_id: The slot's id; its kind stands in for it where it isn't known.
    """
    failed = FailedUnlocks(home)
    failures = failed.read()
    many = failures.count >= MANY
    if opened_by == _NEW:  # whatever slots it was made with are the person's own
        slots = Keyslots.read(home.keyslots).slots
        used = [slot.id for slot in slots] + sorted({kind_of(slot) for slot in slots})
    else:
        used = [slot_id or opened_by] if opened_by in _KINDS else []

    def unknown(connection: Connection) -> list[str]:
        known = {row[0] for row in connection.execute("SELECT slot_id FROM slots_seen")}
        return [slot for slot in used if slot not in known]

    def note(connection: Connection) -> None:
        told = Notifications(database)
        first = connection.execute("SELECT 1 FROM slots_seen").fetchone() is None
        for slot in unknown(connection):
            connection.execute("INSERT INTO slots_seen (slot_id, first_ms) VALUES (?, ?)", (slot, _now_ms()))
            if not first:
                told.raise_(NewSlotUsed(opened_by), connection)
        if many:
            told.raise_(ManyFailedUnlocks(failures.count, failures.since_ms), connection)

    if many or database.read(unknown):
        database.write(note)
    # A few failures before the right passphrase are slips of the finger. Before a key that nobody types they go on
    # counting: somebody else may have made them.
    if many or (failures.count and opened_by == _PASSPHRASE):
        failed.clear()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
