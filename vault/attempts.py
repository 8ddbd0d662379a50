"""Openings of the vault: keys that didn't fit are counted, and a slot that is used for the first time is noticed.

While the vault is locked nothing can be written into it, so failures are counted in a file beside it. Whoever can
write there can wipe the count too: it tells of somebody who tries keys, not of somebody who has the disk.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Annotated

import msgspec

from vault.database import Connection, Database
from vault.durable import replace_file
from vault.errors import RecoveryRefused, SharesMissing, VaultError, WrongPassphrase, WrongPin
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
_ALONE_WITHIN_S = 3.0
_LOOK_AGAIN_S = 0.01
_NEW = "new"
_TYPED = ("passphrase", "recovery", "hardware")
_KINDS = (*_TYPED, "keychain")

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

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Count it when a key that is tried inside doesn't fit: a passphrase, a PIN, recovery shares."""
        try:
            yield
        except SharesMissing:
            raise
        except (WrongPassphrase, WrongPin, RecoveryRefused):
            self.add()
            raise

    def add(self) -> None:
        """Count one more, where that can be written; nothing must keep the person from hearing of the wrong key."""
        with self._alone(), contextlib.suppress(VaultError):
            before = self.read()
            self._write(Failures(before.count + 1, before.since_ms or _now_ms()))

    def forget(self, told: Failures) -> None:
        """Count no longer what was told of; what another process has counted since stays.

        Args:
            told: What `read` gave.
        """
        with self._alone(), contextlib.suppress(VaultError, OSError):
            left = self.read().count - told.count
            if left > 0:
                self._write(Failures(left, _now_ms()))
            else:
                self._path.unlink(missing_ok=True)

    def _write(self, failures: Failures) -> None:
        replace_file(self._path, msgspec.json.encode(failures))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the file's lock while it is changed, if it can be had; nobody who keeps it is waited for."""
        give_up = time.monotonic() + _ALONE_WITHIN_S
        descriptor = None
        with contextlib.suppress(OSError):
            while (descriptor := self._locked()) is None and time.monotonic() < give_up:
                time.sleep(_LOOK_AGAIN_S)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _locked(self) -> int | None:
        """The file, made if need be and locked; `None` while another process has it.

        Raises:
            OSError: there can be none here.
        """
        flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it is another's, or was replaced before we had it
        return None


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
    # A few failures before a key that somebody types are slips of the finger. Before one that nobody types they go
    # on counting: somebody else may have made them.
    if many or (failures.count and opened_by in _TYPED):
        failed.forget(failures)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
