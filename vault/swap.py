"""Putting a new database, anchor and key slots in the place of the old: a crash leaves the ones or the others.

A redo log in its simplest form. The new files are made and synced in `vault/next/`; then the mark `next/ready`
decides: before it is durable the old vault counts, from then on the new one, and whoever opens the vault next
carries out the renames that are still to do. No key is needed for that.

What was staged and never decided is a copy of the vault that nothing watches over: it goes with the failure that
left it, or with the next opening.

Everybody who has the vault open holds a shared lock on its folder, and a swap needs the lock alone: SQLite removes
a write-ahead log by name, so that a connection to the old database, closed late, would remove the new one's.
"""

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from vault.durable import make_private_folder, replace_file, storage_error, sync_folder
from vault.errors import Locked, NoVault, VaultError

__all__ = ["CHANGES_LOCK", "Presence", "changing", "settle"]

CHANGES_LOCK = "changes.lock"
_ASK_AGAIN_S = 0.05
_FOLDER, _READY = "next", "ready"
_DECIDED = b"openclaw-core/v1/swap\n"
"""What the mark holds: an empty file of its name decides nothing."""
_DATABASE = "vault.db"
_FILES = (_DATABASE, "vault.anchor", "keyslots.json.backup", "keyslots.json")


def settle(vault: Path) -> None:
    """Finish a swap that was interrupted, before the key slots are read. Costs one look where there is none.

    Raises:
        VaultError: it could not be finished; trying again is safe.
    """
    if _decided(vault):
        Presence(vault).close()


@contextlib.contextmanager
def changing(vault: Path, refusal: VaultError, *, within_s: float = 0.0) -> Iterator[None]:
    """Be the only one, of all processes and threads, who changes the key slots or swaps the vault.

    Args:
        vault: The vault's folder; a file in it carries the lock, and stays.
        refusal: Raised when somebody else holds it.
        within_s: How long to wait for them.

    Raises:
        VaultError: `refusal`, or the lock's file can't be made.
    """
    path = vault / CHANGES_LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        give_up = time.monotonic() + within_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise refusal from None
                time.sleep(_ASK_AGAIN_S)
        yield
    finally:
        os.close(descriptor)


class Presence:
    """Somebody who has the vault open. A swap that a crash interrupted is finished before this is made.

    Args:
        vault: The vault's folder.

    Attributes:
        leaving: Whether it was closed while it was the only one; it stays until that ends.

    Raises:
        NoVault: there is no such folder.
        VaultError: an interrupted swap could not be finished; trying again is safe.
    """

    def __init__(self, vault: Path) -> None:
        self._vault = vault
        self._mutex = threading.Lock()
        self._alone = False
        self.leaving = False
        try:
            self._descriptor = os.open(vault, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NoVault("There is no vault here yet.", hint="Start `claw`, or run `claw vault init`.") from None
        except OSError as error:
            raise storage_error(error, vault) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            while _decided(vault):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
                _finish(vault)
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            _remove_undecided(vault)  # nobody can be at work on it: who is, is alone
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise storage_error(error, vault) from error
            raise

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who has the vault open, to the end of this, whoever closes it meanwhile.

        Raises:
            VaultError: somebody else has, or this was closed before.
        """
        refusal = VaultError(
            "Another program has the vault open, and this can't be done beside it.",
            hint="Leave the other `claw` programs, and try again.",
        )
        # Where a lock can't be raised at once, the system drops the one held for a moment: only one may try.
        with changing(self._vault, refusal):
            self._begin_alone(refusal)
            try:
                yield
            finally:
                self._end_alone()

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty folder for the new files, gone in the end; within `alone`."""
        _remove_undecided(self._vault)
        folder = self._vault / _FOLDER
        make_private_folder(folder)
        try:
            yield folder
        finally:
            _remove_undecided(self._vault)

    def commit(self) -> None:
        """Make the staged files, which must be whole and synced, the vault's; within `staging`.

        No connection to the old database may be open any more.

        Raises:
            VaultError: they could not be; the old vault is untouched, or the next opening finishes it.
        """
        sync_folder(self._vault / _FOLDER)
        sync_folder(self._vault)
        replace_file(self._vault / _FOLDER / _READY, _DECIDED)
        try:
            _finish(self._vault)
        except OSError as error:
            raise storage_error(error, self._vault) from error

    def close(self) -> None:
        """Be gone, at the end of `alone` if it is under way. Closing twice does nothing; any thread may."""
        with self._mutex:
            self.leaving = self._alone
            if not self._alone and self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _begin_alone(self, refusal: VaultError) -> None:
        with self._mutex:
            if self._descriptor < 0:
                raise Locked("The vault is closed.", hint="Open it again.")
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)
                raise refusal from None
            self._alone = True

    def _end_alone(self) -> None:
        with self._mutex:
            self._alone = False
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        if self.leaving:
            self.close()


def _decided(vault: Path) -> bool:
    """Whether a swap is to be carried out."""
    try:
        return (vault / _FOLDER / _READY).read_bytes() == _DECIDED
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove_undecided(vault: Path) -> None:
    folder = vault / _FOLDER
    if not _decided(vault):
        shutil.rmtree(folder, ignore_errors=True)


def _finish(vault: Path) -> None:
    folder = vault / _FOLDER
    if not _decided(vault):  # somebody else was faster
        return
    if (folder / _DATABASE).exists():
        # All of the old log is in the old file, and the new file must never meet it.
        for suffix in ("-wal", "-shm"):
            (vault / f"{_DATABASE}{suffix}").unlink(missing_ok=True)
        sync_folder(vault)
    for name in _FILES:
        with contextlib.suppress(FileNotFoundError):  # it was moved before
            (folder / name).replace(vault / name)
    sync_folder(vault)
    (folder / _READY).unlink()
    sync_folder(folder)
    shutil.rmtree(folder, ignore_errors=True)
