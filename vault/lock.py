"""When an unlocked vault locks: when a person says so, after a while without use, and when the machine has slept.

A person's word is a file, the latch: every process that has the vault open sees it within a second, and until they
unlock the vault the keychain doesn't open it unasked. The latch is no secret and holds nobody back who can read the
keychain and write this folder: it is against a passer-by at an open desk, not against a program of the same user.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from vault.errors import VaultError

if TYPE_CHECKING:
    from vault.home import Home
    from vault.settings import VaultSettings

__all__ = ["SYSTEM_CLOCK", "Clock", "LockLatch", "LockLimits", "LockTimer", "LockWatch", "lock_vault"]

LOCKED = "The vault was locked."
_TICK_S = 0.5
_KEEP_HELD_EVERY_S = 30.0
_SLEPT_S = 1.0
"""The two clocks are read one after the other; less than this apart is no sleep."""


class Clock(Protocol):
    """Time as it passes for the machine, and as it passes while it is awake."""

    def now(self) -> float:
        """Seconds, counted through sleep."""
        ...

    def asleep(self) -> float:
        """Seconds that the machine has slept."""
        ...


class _SystemClock:
    """The kernel's clocks: on Linux CLOCK_BOOTTIME and CLOCK_MONOTONIC, on macOS those that correspond."""

    def __init__(self) -> None:
        linux = sys.platform == "linux"
        self._always = time.CLOCK_BOOTTIME if linux else time.CLOCK_MONOTONIC
        self._awake = time.CLOCK_MONOTONIC if linux else getattr(time, "CLOCK_UPTIME_RAW", time.CLOCK_MONOTONIC)

    def now(self) -> float:
        return time.clock_gettime(self._always)

    def asleep(self) -> float:
        # A pause between the two readings makes the difference smaller, never larger: the largest is the truest.
        return max(self.now() - time.clock_gettime(self._awake) for _ in range(3))


SYSTEM_CLOCK: Clock = _SystemClock()


class LockLimits(msgspec.Struct, frozen=True):
    """How long a key may be used.

    Attributes:
        idle_s: Seconds without use after which it goes; `None` for no such limit.
        on_suspend: Whether it goes when the machine sleeps.
    """

    idle_s: float | None = None
    on_suspend: bool = False

    @classmethod
    def of(cls, settings: "VaultSettings") -> "LockLimits":
        """What the person's settings say."""
        return cls(settings.auto_lock_minutes * 60 or None, settings.lock_on_suspend)


class LockTimer:
    """Says when a key was there for long enough.

    Args:
        limits: How long it may be.
        clock: Of the machine.
    """

    def __init__(self, limits: LockLimits, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limits = limits
        self._clock = clock
        self._slept = clock.asleep()
        self._used = clock.now()

    def used(self) -> None:
        """Take note that the key was used."""
        self._used = self._clock.now()

    def left(self) -> float | None:
        """Seconds until it goes if it isn't used; `None` for no limit."""
        if self.limits.idle_s is None:
            return None
        return max(0.0, self._used + self.limits.idle_s - self._clock.now())

    def due(self) -> str:
        """Why the key has to go now, as a sentence; empty while it may stay."""
        if self.limits.on_suspend and self._clock.asleep() - self._slept > _SLEPT_S:
            return "The vault locked itself, because the machine was asleep."
        if self.left() == 0:
            minutes = round((self.limits.idle_s or 0) / 60)
            return f"The vault locked itself after {minutes} minute{'s' * (minutes != 1)} without use."
        return ""


class LockLatch:
    """A person's word that the vault is locked, kept as a file until they unlock it.

    Args:
        data: The person's data folder.
    """

    def __init__(self, data: Path) -> None:
        self.path = data / "locked"

    @property
    def engaged(self) -> bool:
        """Whether the vault was locked and not unlocked since."""
        return self.stamp() is not None

    def stamp(self) -> int | None:
        """Differs for each time the vault was locked; `None` when it isn't."""
        try:
            return self.path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:  # whatever hides it, it may be there
            return -1

    def engage(self) -> None:
        """Lock, durably.

        Raises:
            VaultError: the file can't be written.
        """
        from vault.durable import replace_file
        from vault.errors import DiskFull

        try:
            replace_file(self.path, b"Locked with `claw vault lock`. `claw vault unlock` removes this file.\n")
        except DiskFull:
            self._engage_empty()

    def _engage_empty(self) -> None:
        """Lock on a full disk: a file without a byte needs no room, and counts."""
        from vault.durable import storage_error, sync_folder

        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise storage_error(error, self.path) from error
        sync_folder(self.path.parent)

    def release(self) -> None:
        """Unlock.

        Raises:
            VaultError: the file can't be removed.
        """
        from vault.durable import storage_error

        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, self.path) from error


class LockWatch:
    """Watches, in a thread of its own, for the moment when an open vault has to lock.

    Args:
        latch: The person's word; only what is said from now on counts.
        uses: Counts how often the vault was used.
        lock: Called once, in the watch's thread, with the reason as a sentence.

    Attributes:
        why: Why the vault was locked, as a sentence; empty while it isn't.
        told: Called with that when it is, in the watch's thread.
        keep_held: Called now and then while the vault is in use, so that the process which holds the key for later
            commands knows that the person is there.
    """

    def __init__(
        self,
        latch: LockLatch,
        uses: Callable[[], int],
        lock: Callable[[str], None],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.why = ""
        self.told: Callable[[str], object] = _nothing
        self.keep_held: Callable[[], object] = _nothing
        self._latch = latch
        self._uses = uses
        self._lock = lock
        self._clock = clock
        self._stamp = latch.stamp()
        self._seen = uses()
        self._timer = LockTimer(LockLimits(), clock)
        self._kept_at = clock.now()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vault-lock", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def limit(self, limits: LockLimits) -> None:
        """Lock after a while without use, or when the machine has slept, too."""
        self._timer = LockTimer(limits, self._clock)

    @property
    def locked(self) -> bool:
        """Whether the vault was locked since this began to watch, also where that wasn't seen before the end."""
        return bool(self.why) or self._latch.stamp() not in (None, self._stamp)

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in the watch's own thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """Watch no more. May be called from `lock`."""
        self._ended.set()
        if self._thread.is_alive() and not self.is_current:
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_TICK_S):
            try:
                why = self._due()
            except Exception:  # noqa: BLE001  whatever it is, a vault that nobody watches doesn't stay open
                why = "The vault locked itself: it could no longer be seen whether it may stay open."
            if why:
                self.why = why
                self._ended.set()
                try:
                    self._lock(why)
                finally:
                    self.told(why)

    def _due(self) -> str:
        stamp = self._latch.stamp()
        if stamp is not None and stamp != self._stamp:
            return LOCKED
        if why := self._timer.due():
            return why
        if (uses := self._uses()) != self._seen:
            self._seen = uses
            self._timer.used()
            if self._clock.now() - self._kept_at >= _KEEP_HELD_EVERY_S:
                self._kept_at = self._clock.now()
                with contextlib.suppress(VaultError, OSError):  # too many open files, say
                    self.keep_held()
        return ""


def _nothing(*_: object) -> None:
    """Nobody wants to know."""


def lock_vault(home: "Home") -> bool:
    """Lock the vault: everywhere within a second, and until the person unlocks it again.

    Returns:
        Whether a process held its key; it has ended.

    Raises:
        VaultError: the latch can't be written, so that the keychain still opens the vault; no key is held any more.
    """
    from vault.holder import KeyHolder

    try:
        return KeyHolder(home).end()
    finally:
        LockLatch(home.data).engage()
