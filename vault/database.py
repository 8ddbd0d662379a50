"""The SQLCipher database: used by one thread, migrated by number, guarded by an anchor outside its file.

Several threads on one connection lose rows, so all statements of a process go through one thread; several processes
are kept apart by SQLite's own locks and the anchor's.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

import sqlcipher3

from vault.connection import MEMORY, Connection, Row, SqlValue, check_length, guarded
from vault.errors import Locked, RolledBack, VaultError
from vault.fields import FieldCipher
from vault.guard import ACCEPT, Newest
from vault.opening import Opened, make, make_in_memory, open_verified, own_fields
from vault.scrub import copy_into, epoch_of, has_remains, remove_copies, staging, write_over

__all__ = ["UNLOCK", "Connection", "Database", "Row", "SqlValue"]

Result = TypeVar("Result")

UNLOCK = "`claw vault unlock` opens it again."
"""What to do about a vault that was locked."""

_PATIENCE_S = 0.5
"""Work has this long to end by itself when whoever waits for it is interrupted."""
_INTERRUPT_EVERY_S = 0.05
_TURN_S = 0.25
"""A Ctrl-C that went to a library's thread is heard within that."""
_COPIES = 2
"""How often a copy is made that somebody may overtake by writing."""
_UNUSED_PARTS = "Unused parts of encrypted pages may hold copies until retention next runs: {}"
_OLDER_PAGES = "The files hold older versions of the pages, encrypted, until retention next runs: {}"


class Database:
    """One process's connection to the encrypted database.

    Methods may be called from any thread; the work is done by one. A transaction that returned is on the disk.

    Attributes:
        fields: Seals and opens the highly sensitive fields.
        alarm: What is wrong when the database isn't the one that was last written; it is then open for reading
            alone. Empty otherwise.
        uses: How often it was asked for something.
    """

    def __init__(self, opened: Opened, worker: ThreadPoolExecutor, path: Path, fields: FieldCipher) -> None:
        self._opened = opened
        self._connection = opened.connection
        self._guard = opened.guard
        self.alarm = opened.alarm
        self._worker = worker
        self._thread = worker.submit(threading.get_ident).result()
        self._closed = ""
        self._last: Newest | None = None  # once it is closed
        self._given_up = ""
        self._interrupting = threading.Lock()  # a connection that is being closed must not be interrupted
        self.uses = 0
        self._path = path
        self.fields = fields

    @classmethod
    def create(cls, path: Path, key: bytes, fields: FieldCipher | None = None) -> "Database":
        """Make a new encrypted database with the newest schema, and its anchor beside it.

        Args:
            path: The file.
            key: The raw 32-byte database key.
            fields: For the highly sensitive fields; of keys derived from `key` if not given.

        Raises:
            VaultError: something already lies at `path`, or it can't be written.
        """
        check_length(key)
        fields = fields or own_fields(key)
        return cls._start(path, fields, lambda: make(path, key, fields))

    @classmethod
    def in_memory(cls) -> "Database":
        """A database of its own that never touches the disk: for conversations that leave no trace."""
        fields, opening = make_in_memory()
        return cls._start(MEMORY, fields, opening)

    @classmethod
    def open(
        cls,
        path: Path,
        key: bytes,
        fields: FieldCipher | None = None,
        *,
        at_least: Newest | None = None,
        accept: bool = False,
        anchored: bool = False,
    ) -> "Database":
        """Open an existing database, verify that it is the newest, and bring its schema up to date.

        Args:
            path: The file.
            key: The raw 32-byte database key.
            fields: As in `create`.
            at_least: What is known from elsewhere of the newest state.
            accept: Take the files as they are for the newest.
            anchored: Whether it is known from elsewhere that it has had an anchor, whatever its schema says.

        Raises:
            DatabaseDamaged: the file is missing, empty, damaged, or of another key.
            PlaintextDatabase: an unencrypted SQLite file lies there; it is not touched.
            VersionTooNew: a newer version of OpenClaw Core wrote it.
        """
        check_length(key)
        fields = fields or own_fields(key)
        return cls._start(
            path, fields, lambda: open_verified(path, key, fields, at_least, accept=accept, anchored=anchored)
        )

    @classmethod
    def _start(cls, path: Path, fields: FieldCipher, open_it: Callable[[], Opened]) -> "Database":
        worker = ThreadPoolExecutor(1, thread_name_prefix="vault", initializer=_leave_signals_to_others)
        try:
            opened = worker.submit(guarded, open_it, path).result()
        except BaseException:
            worker.shutdown()
            raise
        return cls(opened, worker, path, fields)

    def read(self, work: Callable[[Connection], Result], interrupted: threading.Event | None = None) -> Result:
        """Run queries; they see one consistent state, and can't change it.

        Args:
            work: Runs them.
            interrupted: Set as soon as whoever waits for it is interrupted, for long work to look at.
        """
        connection = self._connection

        def transaction() -> Result:
            connection.execute("BEGIN")
            with _rolled_back_on_error(connection):
                result = work(connection)
                connection.execute("COMMIT")
            return result

        return self._run(transaction, interrupted)

    def write(self, work: Callable[[Connection], Result], interrupted: threading.Event | None = None) -> Result:
        """Run statements as one transaction: durable when this returns, undone when `work` raises.

        Args:
            work: Runs them.
            interrupted: As in `read`; when it is set before everything is done, nothing is.

        Raises:
            RolledBack: the files aren't those that were last written; nothing was changed.
            DiskFull: the disk is full; nothing of the transaction remains.
            DatabaseDamaged: SQLCipher found a page that isn't what it wrote.
            VaultError: anything else that SQLite refused.
        """
        connection = self._connection

        def transaction() -> Result:
            with self._writing():
                connection.execute("BEGIN IMMEDIATE")
                with _rolled_back_on_error(connection):
                    result = work(connection)
                    before = self._guard.before if self._guard else b""
                    connection.execute("UPDATE vault_state SET epoch = epoch + 1, before = ?", (before,))
                    if interrupted and interrupted.is_set():
                        raise VaultError("It was interrupted.", hint="Nothing was changed.")
                    connection.execute("COMMIT")
            return result

        return self._run(transaction, interrupted)

    def alone(self, work: Callable[[Connection], Result]) -> Result:
        """Run statements outside a transaction, on a file that holds everything, while no other process writes.

        They may fold it, and write into other databases, but not into this one: no epoch would count that, and a
        process killed then would leave what looks like somebody else's pages.

        Raises:
            RolledBack: as in `write`.
        """

        def run() -> Result:
            with self._writing():
                if self._guard:
                    self._guard.fold(self._connection, "TRUNCATE")
                return work(self._connection)

        return self._run(run)

    def fold(self) -> bool:
        """Fold the write-ahead log into the file, so that nothing erased remains in it.

        Returns:
            Whether all of it was: not while another process is reading.
        """
        # (busy, frames in the log, frames folded)
        return self.alone(lambda c: bool(c.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()[0][1] <= 0))

    def scrub(self) -> None:
        """Write all pages anew, unless nothing was deleted since that was last done (`vault.scrub`).

        Others may write while the copy is made, and have to wait while it is written over.

        Raises:
            RolledBack, DiskFull, VaultError: as in `write`.
            Locked: the database is being closed, and wouldn't wait; nothing was changed.
            KeyboardInterrupt: while this was waited for; nothing was changed.
        """
        interrupted = threading.Event()

        def go_on() -> None:
            if self._given_up:
                raise Locked(self._given_up, hint=UNLOCK)
            if interrupted.is_set():
                raise VaultError("It was interrupted.")

        self._run(lambda: self._scrub(go_on), interrupted)

    def _scrub(self, go_on: Callable[[], None]) -> None:
        connection, witness, guard = self._connection, self._opened.witness, self._guard
        if not (guard and witness):
            return  # in memory alone
        with contextlib.ExitStack() as staged:
            with self._writing():
                remove_copies(self._path)
                if not has_remains(connection):
                    return
                copy = staged.enter_context(staging(self._path))
            for _ in range(_COPIES):
                with _changeable(connection):
                    epoch = copy_into(copy, connection)
                go_on()
                with self._writing():
                    if epoch == epoch_of(connection):
                        write_over(connection, copy, witness, guard.before, go_on)
                        return
            with self._writing():
                copy_into(copy, connection)
                write_over(connection, copy, witness, guard.before, go_on)

    def clear_away(self) -> str:
        """Let nothing of what was deleted remain in the files; what keeps that from being done fails nothing.

        Returns:
            Where encrypted copies lie still, and until when, for the person to read; empty where nothing is left.
        """
        left = ""
        try:
            self.scrub()
        except VaultError as error:
            left = _UNUSED_PARTS.format(error.message)
        except KeyboardInterrupt:
            left = _UNUSED_PARTS.format("it was interrupted.")
        try:
            folded = self.fold()
        except VaultError as error:
            return left or _OLDER_PAGES.format(error.message)
        return left or ("" if folded else _OLDER_PAGES.format("another program was reading."))

    def newest(self) -> Newest | None:
        """The state that the anchor remembers; `None` for a database in memory, or one with an alarm."""
        if self.alarm:
            return None
        return self._guard.newest if self._guard else self._last

    def integrity_errors(self) -> list[str]:
        """What `cipher_integrity_check` and `integrity_check` find; empty when the file is whole.

        The write-ahead log is folded in first: SQLCipher's check reads the main file only and would otherwise
        report pages that are merely not there yet.
        """

        def check() -> list[str]:
            guard, check_pages = None if self.alarm else self._guard, "PRAGMA cipher_integrity_check"
            try:
                # Within, or another process that folds would change pages while they are read.
                with guard.writing(self._connection) if guard else contextlib.nullcontext():
                    if guard:
                        guard.fold(self._connection, "TRUNCATE")
                    rows = self._connection.execute(check_pages).fetchall()
            except sqlcipher3.DatabaseError:  # a damaged page is in the way: the file as it lies there
                rows = self._connection.execute(check_pages).fetchall()
            if rows:
                return [str(row[0]) for row in rows]  # SQLite's own check would stumble over those pages
            rows = self._connection.execute("PRAGMA integrity_check").fetchall()
            return [str(row[0]) for row in rows if row[0] != "ok"]

        return self._run(check)

    def close(self, why: str = "The vault is closed.", *, patience_s: float | None = None) -> None:
        """Close the connection; the write-ahead log is folded in where no other process uses it.

        It waits for what is under way, may be called from any thread, and does nothing when called again.

        Args:
            why: Told, as `Locked`, to whoever uses the database from now on.
            patience_s: How long it waits before what is under way is interrupted and undone; `None` for as long as
                that takes.
        """

        def close() -> None:
            with self._interrupting:
                if self._closed:
                    return
                self._closed = why
            self.fields.wipe()
            self._opened.close(settle=not self.alarm)
            self._last, self._guard = self.newest(), None  # it holds keys
            self._opened = Opened(self._connection)

        try:
            closing = self._worker.submit(guarded, close, self._path)
        except RuntimeError:  # its thread has ended already
            return
        try:
            if patience_s is not None:
                self._give_up(closing, why, patience_s)
            closing.result()
        finally:
            self._worker.shutdown()

    def _give_up(self, closing: "Future[None]", why: str, patience_s: float) -> None:
        """Interrupt each statement that keeps the connection from being closed, once there was time to end."""
        wait([closing], patience_s)
        while not closing.done():
            with self._interrupting:
                if not self._closed:
                    self._given_up = why
                    self._connection.interrupt()
            wait([closing], _INTERRUPT_EVERY_S)

    def _run(self, work: Callable[[], Result], interrupted: threading.Event | None = None) -> Result:
        """Have the thread do something, unless the database was closed.

        Args:
            work: What.
            interrupted: Set when whoever waits for it is interrupted, by Ctrl-C, say; its statements then are, too.
        """
        interrupted = interrupted or threading.Event()
        begun, over = threading.Event(), threading.Event()

        def unless_closed() -> Result:
            begun.set()
            try:
                if interrupted.is_set():
                    raise VaultError("It was interrupted.", hint="Nothing was changed.")
                if why := self._closed or self._given_up:
                    raise Locked(why, hint=UNLOCK)
                return work()
            except sqlcipher3.OperationalError:
                if self._given_up:
                    raise Locked(self._given_up, hint=UNLOCK) from None
                raise
            finally:
                over.set()

        if threading.get_ident() == self._thread:
            raise RuntimeError(
                "a transaction can't wait for another one: its work takes the connection it was given"
            )
        self.uses += 1
        try:
            return _awaited(self._worker.submit(guarded, unless_closed, self._path))
        except RuntimeError:
            if over.is_set():
                raise  # the work's own
            raise Locked(self._closed, hint=UNLOCK) from None  # its thread has ended already
        except (KeyboardInterrupt, SystemExit):  # of the person who waits, or is about to
            interrupted.set()
            self._interrupt(begun, over)
            raise

    def _interrupt(self, begun: threading.Event, over: threading.Event) -> None:
        """End work that nobody waits for any more, and wait until it has: undone, unless it was done just then.

        What hasn't begun will find, when it does, that it was interrupted.
        """
        over.wait(_PATIENCE_S if begun.is_set() else 0)
        while begun.is_set() and not over.is_set():
            with self._interrupting:
                if not self._closed:
                    self._connection.interrupt()
            over.wait(_INTERRUPT_EVERY_S)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Surround statements that change the database; all others can't."""
        if self.alarm:
            raise RolledBack(self.alarm, hint=ACCEPT)
        connection = self._connection
        try:
            with (
                self._guard.writing(connection) if self._guard else contextlib.nullcontext(),
                _changeable(connection),
            ):
                yield
        except RolledBack as error:
            self.alarm = error.message
            raise


@contextlib.contextmanager
def _changeable(connection: Connection) -> Iterator[None]:
    connection.execute("PRAGMA query_only=OFF")
    try:
        yield
    finally:
        connection.execute("PRAGMA query_only=ON")


@contextlib.contextmanager
def _rolled_back_on_error(connection: Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlcipher3.Error):  # SQLite has rolled back by itself after a full disk
            connection.execute("ROLLBACK")
        raise


def _awaited(future: "Future[Result]") -> Result:
    """A future's result, waited for in short turns.

    A signal can be given to any thread that doesn't keep it out, those of libraries too. Python then notes it for
    the main thread, and doesn't wake that up.
    """
    try:
        return future.result(_TURN_S)
    except TimeoutError:  # of the wait, or the work's own: then it is done, and raises it again
        while not future.done():
            wait([future], _TURN_S)
        return future.result()


def _leave_signals_to_others() -> None:
    """Have no Ctrl-C end up in this thread: Python acts on it in the main thread, which may be waiting for this."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
