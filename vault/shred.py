"""Destroying a vault for good: the keys first, so that whatever is left of the rest is noise.

Programs that have the vault open are told to lock it. What the keychain holds goes first, then every copy of the
key slots is overwritten, synced and removed; from then on nobody can read the database, wherever a copy of it lies.
Nothing has to be opened for that. Killed at any moment, the same call finishes it.

A disk that writes elsewhere than it was told to (flash, copy-on-write file systems, snapshots) may keep old blocks
of the key slots. Those still need the passphrase, the shares or the token to be of any use.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from vault.durable import storage_error, sync_folder
from vault.errors import ClawError, KeychainError
from vault.home import Home
from vault.keychain import Keychain
from vault.keyslots import Keyslots
from vault.lock import LockLatch, lock_vault
from vault.mirror import mirror_account
from vault.slot_kinds import KeychainSlot, SymmetricKeychainSlot

__all__ = ["Shredded", "shred", "shreddable"]

_KEYSLOTS = "keyslots"
"""Part of the name of every file that holds key slots: the file, its backup, staged ones."""
_LOCKED_WITHIN_S = 1.5
"""`vault.lock` looks twice a second."""
_LOOK_AGAIN_S = 0.05


class Shredded(msgspec.Struct, frozen=True):
    """What was destroyed.

    Attributes:
        key_files: Files of key slots that were destroyed.
        overwritten: Whether each of them could be overwritten before it was removed.
        files: Other files that were removed.
        bytes: Their size.
        keychain: Items that were removed from the keychain.
        keychain_left: Items that may still be there, because the keychain couldn't be asked. They open nothing.
        in_use: Whether another program had the vault open. It was told to lock, and given the time to.
    """

    key_files: int
    overwritten: bool
    files: int
    bytes: int
    keychain: tuple[str, ...]
    keychain_left: tuple[str, ...]
    in_use: bool


class _Items(NamedTuple):
    """Accounts in the keychain: of slots, and of what remembers the newest state, perhaps after its slot went."""

    keys: list[str]
    mirrors: list[str]


def shred(home: Home, keychain: Callable[[], Keychain], *, models: bool = False) -> Shredded:
    """Destroy the vault of a home, and what its making may have left beside it.

    Args:
        home: Whose vault. Settings stay, and so do backups, wherever they are.
        keychain: Gives the keychain, if it is needed; may raise `KeychainError`.
        models: Whether the weights go too, which are public files.

    Raises:
        VaultError: a file could not be removed; the same call again goes on from there.
    """
    folders = _folders(home)
    # Nothing about locking keeps anybody from erasing: not a full disk, nor a holder that the system hides from us.
    with contextlib.suppress(ClawError, OSError):
        lock_vault(home)
    key_files = [path for folder in folders for path in _files(folder) if _KEYSLOTS in path.name]
    removed, left = _forget(_accounts(key_files), keychain)
    try:
        overwritten = [_overwrite(path) for path in key_files]
        for path in key_files:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in key_files}:
            sync_folder(folder)
        in_use = any(_in_use(folder) for folder in folders)
        doomed = [*folders, *([home.models.resolve()] if models and home.models.exists() else [])]
        sizes = [path.stat(follow_symlinks=False).st_size for folder in doomed for path in _files(folder)]
        for folder in doomed:
            shutil.rmtree(folder, ignore_errors=True)  # another program may be removing files of it, too
            if folder.exists():
                shutil.rmtree(folder)
        for link in (home.vault, home.models):
            if link.is_symlink() and not link.exists():
                link.unlink()
        if home.data.exists():
            LockLatch(home.data).release()  # there is nothing left to lock
            sync_folder(home.data)
    except OSError as error:
        raise storage_error(error, Path(str(error.filename or home.vault))) from error
    return Shredded(len(key_files), all(overwritten), len(sizes), sum(sizes), removed, left, in_use)


def shreddable(home: Home) -> int | None:
    """How many bytes of a vault, or of what is left of one, lie in a home; `None` for no vault."""
    folders = _folders(home)
    sizes = [path.stat(follow_symlinks=False).st_size for folder in folders for path in _files(folder)]
    return sum(sizes) if folders else None


def _folders(home: Home) -> list[Path]:
    """The vault, and vaults that were being made or restored when something ended that."""
    unfinished = [path for path in home.data.glob(".*.new") if path.is_dir()]
    return [folder.resolve() for folder in (home.vault, *unfinished) if folder.exists()]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _accounts(key_files: list[Path]) -> _Items:
    """The keychain's items of these vaults, as far as their slots can still be read."""
    keys: dict[str, None] = {}
    mirrors: dict[str, None] = {}
    for path in key_files:
        with contextlib.suppress(ClawError, OSError):
            slots = Keyslots.parse(path.read_bytes(), described=path.name)
            mirrors[mirror_account(slots.vault_id)] = None
            for slot in slots.slots:
                if isinstance(slot, KeychainSlot | SymmetricKeychainSlot):
                    keys[slot.account] = None
    return _Items([*keys], [*mirrors])


def _forget(items: _Items, keychain: Callable[[], Keychain]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove items from the keychain; returns those that went, and those that may still be there."""
    removed: list[str] = []
    asked: set[str] = set()
    expected = [*items.keys, *items.mirrors] if items.keys else []
    with contextlib.suppress(KeychainError):
        opened = keychain()
        for account in (*items.keys, *items.mirrors):
            if opened.get(account) is not None:
                opened.delete(account)
                removed.append(account)
            asked.add(account)
    return tuple(removed), tuple(account for account in expected if account not in asked)


def _overwrite(path: Path) -> bool:
    """Overwrite a file with noise, durably; whether that was possible."""
    if path.is_symlink():
        return False
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        rest = os.urandom(os.fstat(descriptor).st_size)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
        ):  # where writing takes new room, it is removed all the same
            raise
        return False
    finally:
        os.close(descriptor)
    return True


def _in_use(folder: Path) -> bool:
    """Whether somebody has this vault open; if so, they had the time to lock it when this returns.

    Whoever has it open holds a lock on its folder until they close it, which they may do later than they lock it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        give_up = time.monotonic() + _LOCKED_WITHIN_S
        used = False
        while time.monotonic() < give_up:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                used = True
                time.sleep(_LOOK_AGAIN_S)
            else:
                break
        return used
    finally:
        os.close(descriptor)
