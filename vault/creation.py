"""A new vault's files: made beside their place, and renamed into it whole."""

import contextlib
import errno
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from vault.database import Database
from vault.durable import at_work_in, make_private_folder, remove_abandoned, storage_error, sync_folder
from vault.errors import KeychainError, VaultError, VaultExists
from vault.fields import FieldCipher
from vault.home import Home
from vault.keychain import Keychain
from vault.keys import MasterKey, new_vault_id
from vault.keyslots import Keyslots
from vault.passphrase import MIN_LENGTH, KdfCost
from vault.slot_kinds import KeychainSlot

__all__ = ["DATABASE_USE", "field_cipher", "make_vault"]

DATABASE_USE = "database"
"""The use that the database's key is derived for."""

_ABANDONED_S = 3600


def field_cipher(master: MasterKey) -> FieldCipher:
    """Seals and opens the fields of the vault that a key opens."""
    return FieldCipher(master.derive, master.vault_id)


def make_vault(
    home: Home, passphrase: str, keychain: Keychain | None, cost: KdfCost, fill: Callable[[Database], object]
) -> MasterKey:
    """Make a new vault and give its key; arguments and errors as in `Vault.create`.

    A crash leaves no half vault: nothing, or all of it.
    """
    if len(passphrase) < MIN_LENGTH:
        raise VaultError(f"A passphrase needs at least {MIN_LENGTH} characters; a few random words are best.")
    if home.vault.exists():
        raise VaultExists(f"A vault already lies in {home.vault}.", hint="`claw status` says more.")
    master = MasterKey.generate(new_vault_id())
    slots = Keyslots.first(master, passphrase, cost)
    make_private_folder(home.data)
    _sweep(home.data)
    staging = home.data / f".vault.{secrets.token_hex(6)}.new"
    make_private_folder(staging)
    try:
        if keychain is not None:
            slots = slots.with_keychain(master, keychain)
        slots.write(staging / home.keyslots.name)
        with at_work_in(staging):
            _make_database(staging / home.database.name, master, fill)
        sync_folder(staging)
        try:
            staging.rename(home.vault)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # another process was faster
                raise VaultExists(f"A vault already lies in {home.vault}.") from error
            raise storage_error(error, home.vault) from error
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        if keychain is not None:
            _take_back(keychain, slots)
        raise
    sync_folder(home.data)
    return master


def _make_database(path: Path, master: MasterKey, fill: Callable[[Database], object]) -> None:
    database = Database.create(path, master.derive(DATABASE_USE), field_cipher(master))
    try:
        fill(database)
    finally:
        database.close()


def _take_back(keychain: Keychain, slots: Keyslots) -> None:
    """Leave no key behind in the keychain for a vault that wasn't made."""
    for slot in slots.slots:
        if isinstance(slot, KeychainSlot):
            with contextlib.suppress(KeychainError):
                keychain.delete(slot.account)


def _sweep(data: Path) -> None:
    """Remove what a creation that was killed left behind; not one that may still be under way."""
    for left in data.glob(".vault.*.new"):
        if left.stat().st_mtime < time.time() - _ABANDONED_S:
            remove_abandoned(left)
