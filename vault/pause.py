"""The pause latch: a file that stops everything that sends or learns, until the person resumes it.

`paused` lies beside the vault, so that pausing needs no key. It is looked for before every send and every step of
training, by every process. A file that can't be read or understood counts as a pause: what was meant to stop us
must never be what lets us go on.

The file also carries what the transparency log hasn't been told yet, because the vault was locked; the next opening
writes it there (`fold_into`).
"""

import contextlib
import datetime
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from vault.durable import make_private_folder, replace_file, storage_error, sync_folder
from vault.errors import DiskFull, Paused, VaultError
from vault.home import Home

if TYPE_CHECKING:
    from vault.log.entries import Entry
    from vault.store import Vault

__all__ = ["PauseLatch", "StopOrPause"]

_MOST_BYTES = 65_536
_MOST_EVENTS = 100


class _Event(msgspec.Struct, frozen=True):
    """A pause or its end, of which the transparency log doesn't know yet."""

    what: Literal["pause", "resume"]
    at_ms: int
    why: str

    def entry(self) -> "Entry":
        """What the transparency log says of it."""
        from vault.classes import DataClass
        from vault.log.entries import Action, Entry

        return Entry(
            action=Action(self.what),
            purpose="pause",
            data_class=DataClass.GENERAL,
            description=f"{self.what} at {_shown(self.at_ms)}, asked for by: {self.why[:100]}",
        )


class _State(msgspec.Struct, frozen=True):
    """What the file says.

    Attributes:
        since_ms: When the pause began; `None` while there is none and only events wait.
        why: Who or what asked for it.
        events: For the transparency log, the oldest first.
    """

    since_ms: int | None
    why: str = ""
    events: tuple[_Event, ...] = ()


_UNREADABLE = _State(since_ms=0, why="unreadable")
_NOTHING = _State(since_ms=None)


class PauseLatch:
    """The latch of one home.

    Args:
        home: Whose.
        now_ms: The time, in milliseconds since 1970.
    """

    def __init__(self, home: Home, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._path = home.data / "paused"
        self._now_ms = now_ms

    @property
    def engaged(self) -> bool:
        """Whether everything is paused."""
        return self._state().since_ms is not None

    @property
    def since_ms(self) -> int | None:
        """When the pause began; `None` when there is none, 0 when nobody can say."""
        return self._state().since_ms

    def check(self) -> None:
        """Let nothing pass while paused.

        Raises:
            Paused: everything is paused.
        """
        if self.engaged:
            raise self.refusal()

    def refusal(self) -> Paused:
        """The error of whatever a pause stops."""
        since = self.since_ms
        when = f" since {_shown(since)}" if since else ""
        return Paused(f"Everything is paused{when}.", hint="To go on: claw resume")

    def engage(self, why: str) -> bool:
        """Pause everything; durable when this returns.

        Args:
            why: Who or what asks for it, in a word; it is kept in clear.

        Returns:
            Whether it wasn't paused before.

        Raises:
            VaultError: the file can't be written. Nothing is paused then.
        """
        make_private_folder(self._path.parent)
        with self._alone():
            state = self._state()
            if state.since_ms is not None and state is not _UNREADABLE:
                return False
            now = self._now_ms()
            try:
                self._write(_State(now, why, (*state.events, _Event("pause", now, why))))
            except DiskFull:
                self._write_empty()
            return state.since_ms is None

    def release(self, why: str) -> bool:
        """End the pause.

        Returns:
            Whether there was one.

        Raises:
            VaultError: the file can't be changed. Everything stays paused then.
        """
        if self._state() is _NOTHING:
            return False
        with self._alone():
            state = self._state()
            if state.since_ms is None:
                return False
            self._write(_State(None, "", (*state.events, _Event("resume", self._now_ms(), why))))
            return True

    def fold_into(self, vault: "Vault") -> None:
        """Tell a vault's log what it hasn't been told; what it can't take now waits for the next opening.

        An event is logged before it leaves the file, so that a crash may log it twice, but never loses it.
        """
        try:
            descriptor = self._opened()
        except OSError:  # something else lies there: a pause, but with nothing to tell
            return
        if descriptor is None:
            return
        try:
            # The file's own lock, and not the one that changes it: a pause must never wait for the database.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                events = _read(descriptor).events
                for event in events:
                    vault.log.append(event.entry())
                if events:
                    self._drop(events)
        except (OSError, VaultError):
            return  # another process does it now, or the database is full or read-only
        finally:
            os.close(descriptor)

    def _drop(self, events: tuple[_Event, ...]) -> None:
        with self._alone():
            state = self._state()
            left = tuple(event for event in state.events if event not in events)
            if left or state.since_ms is not None:
                self._write(msgspec.structs.replace(state, events=left))
            else:
                self._path.unlink(missing_ok=True)
                sync_folder(self._path.parent)

    def _state(self) -> _State:
        try:
            descriptor = self._opened()
        except OSError:
            return _UNREADABLE
        if descriptor is None:
            return _NOTHING
        try:
            return _read(descriptor)
        finally:
            os.close(descriptor)

    def _opened(self) -> int | None:
        try:
            # Neither through a link, nor waiting at a pipe: whatever lies here in the file's place is a pause.
            return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None

    def _write(self, state: _State) -> None:
        replace_file(
            self._path, msgspec.json.encode(msgspec.structs.replace(state, events=state.events[-_MOST_EVENTS:]))
        )

    def _write_empty(self) -> None:
        """Pause on a full disk: a file without a byte needs no room, and counts."""
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
            sync_folder(self._path.parent)
        except OSError as error:
            raise storage_error(error, self._path) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock under which the file is changed: the folder's, since the file itself is replaced."""
        folder = self._path.parent
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error, folder) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _read(descriptor: int) -> _State:
    try:
        return msgspec.json.decode(os.read(descriptor, _MOST_BYTES), type=_State)
    except (OSError, msgspec.MsgspecError, RecursionError):
        return _UNREADABLE


class StopOrPause(threading.Event):
    """Is set when something is to end, and also while everything is paused.

    Args:
        stop: Set when it is to end.
        latch: Of the home that may be paused.
    """

    def __init__(self, stop: threading.Event, latch: PauseLatch) -> None:
        super().__init__()
        self._stop = stop
        self._latch = latch

    def is_set(self) -> bool:
        """Whether it is to end."""
        return self._stop.is_set() or self._latch.engaged


def _shown(at_ms: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
