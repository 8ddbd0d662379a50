"""How far long work is, told from the database's thread, and how an interruption reaches it there."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from vault.connection import Connection
from vault.database import Database
from vault.errors import VaultError

__all__ = ["Progress", "Steps", "Walk", "size_of"]

Progress = Callable[[str, int, int | None], None]
"""Is told what is being done, how many bytes of it are done, and of how many."""

_ROWS_A_STEP = 64


class _Interrupted(VaultError):
    """Ends the work; whoever was waiting for it has gone."""


class Steps:
    """Tells how far the work is.

    Args:
        progress: Whom; nobody if not given.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._stopped = threading.Event()

    def tell(self, doing: str, done: int, total: int | None) -> None:
        """Called by the work, now and then.

        Raises:
            VaultError: it is to end.
        """
        if self._stopped.is_set():
            raise _Interrupted("The work was interrupted.")
        if self._progress:
            self._progress(doing, done, total)

    @contextlib.contextmanager
    def end_with(self, database: Database) -> Iterator[threading.Event]:
        """End the work of a database's thread when the block is left early, and wait until it has.

        Yields:
            What the database is to set when whoever waits for that work is interrupted.
        """
        try:
            yield self._stopped
        except BaseException:
            self._stopped.set()
            with contextlib.suppress(VaultError, RuntimeError):  # it may be closed by now
                database.read(lambda _: None)  # its thread does one thing after another
            raise


class Walk:
    """Tells how much of a database was walked through.

    Args:
        doing: What is done with it.
        rows: How many will pass.
        size: Of the database, in bytes.
        steps: Whom to tell.
    """

    def __init__(self, doing: str, rows: int, size: int, steps: Steps) -> None:
        self._doing = doing
        self._rows = max(rows, 1)
        self._size = size
        self._steps = steps
        self._passed = 0

    def step(self) -> None:
        """One has passed."""
        if self._passed % _ROWS_A_STEP == 0:
            done = self._size * min(self._passed, self._rows) // self._rows
            self._steps.tell(self._doing, done, self._size)
        self._passed += 1


def size_of(connection: Connection) -> int:
    """Bytes of a database."""
    each, pages = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count"))
    return int(each[0]) * int(pages[0]) if each and pages else 0
