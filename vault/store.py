"""The vault as the rest of the assistant sees it: made once, opened by one of its slots, closed again."""

import contextlib
import errno
import secrets
import shutil
import time
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from vault.conversations import Conversations
from vault.database import Database
from vault.durable import make_private_folder, storage_error, sync_folder
from vault.errors import KeychainError, KeyslotsDamaged, VaultError, VaultExists
from vault.fields import FieldCipher
from vault.home import Home
from vault.keychain import Keychain
from vault.keys import MasterKey, new_vault_id
from vault.keyslots import KeychainSlot, Keyslots
from vault.model_store import ModelStore
from vault.passphrase import DEFAULT_COST, MIN_LENGTH, KdfCost

if TYPE_CHECKING:
    from vault.log.transparency import TransparencyLog

__all__ = ["Vault"]

_DATABASE_USE = "database"
_ABANDONED_S = 3600


class Vault:
    """An open vault.

    Attributes:
        home: Where it lies.
        conversations: Sessions and messages.
        models: Registered models.
        opened_by: The kind of slot that opened it: `"passphrase"`, `"keychain"` or `"new"`.
    """

    def __init__(self, home: Home, master: MasterKey, database: Database, opened_by: str) -> None:
        self.home = home
        self.opened_by = opened_by
        self.conversations = Conversations(database)
        self.models = ModelStore(database)
        self._master = master
        self._database = database

    @classmethod
    def create(
        cls, home: Home, passphrase: str, *, keychain: Keychain | None = None, cost: KdfCost = DEFAULT_COST
    ) -> "Vault":
        """Make a new vault and open it.

        The folder is made beside its final place and renamed into it, so that a crash leaves no half vault.

        Args:
            home: Where; its folders are made, private to their owner.
            passphrase: For the passphrase slot; at least `MIN_LENGTH` characters.
            keychain: Where to put the key of a second slot, if anywhere.
            cost: Of the passphrase slot.

        Raises:
            VaultExists: there is one already.
            KeychainError: the keychain was given but did not keep the key; no vault was made.
            VaultError: the passphrase is too short, or the folder can't be written.
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
            Database.create(staging / home.database.name, master.derive(_DATABASE_USE), _fields(master)).close()
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
        return cls.open_with_master(home, master, "new")

    @classmethod
    def open_with_passphrase(cls, home: Home, passphrase: str) -> "Vault":
        """Open the vault with a passphrase.

        Raises:
            NoVault, KeyslotsDamaged, VersionTooNew, WrongPassphrase: as `Keyslots` says.
            DatabaseDamaged, PlaintextDatabase: as `Database.open` says.
        """
        return cls.open_with_master(
            home, Keyslots.read(home.keyslots).open_with_passphrase(passphrase), "passphrase"
        )

    @classmethod
    def open_with_keychain(cls, home: Home, keychain: Keychain) -> "Vault":
        """Open the vault with the key that the keychain holds; errors as above, or `KeychainError`."""
        return cls.open_with_master(home, Keyslots.read(home.keyslots).open_with_keychain(keychain), "keychain")

    @classmethod
    def open_with_master(cls, home: Home, master: MasterKey, opened_by: str, *, accept: bool = False) -> "Vault":
        """Open the vault with its master key, which becomes the vault's to wipe.

        Args:
            home: Where it lies.
            master: The key.
            opened_by: What gave the key.
            accept: Take the database as it lies there for the newest, whatever the rollback anchor says.

        Raises:
            DatabaseDamaged, PlaintextDatabase, VersionTooNew: as `Database.open` says; the key is wiped.
        """
        try:
            database = Database.open(home.database, master.derive(_DATABASE_USE), _fields(master), accept=accept)
        except BaseException:
            master.wipe()
            raise
        return cls(home, master, database, opened_by)

    @cached_property
    def log(self) -> "TransparencyLog":
        """The transparency log, loaded when first used."""
        from vault.log.transparency import TransparencyLog

        return TransparencyLog(self._database)

    @property
    def alarm(self) -> str:
        """What is wrong when the vault isn't the one that was last written, and opened for reading alone."""
        return self._database.alarm

    def add_keychain(self, keychain: Keychain) -> None:
        """Add a keychain slot.

        Raises:
            KeychainError: the keychain did not keep the key; the slots are unchanged.
            KeyslotsDamaged: the slots on disk aren't those that this vault wrote.
        """
        slots = Keyslots.read(self.home.keyslots)
        if slots.vault_id != self._master.vault_id:
            raise KeyslotsDamaged("keyslots.json belongs to another vault.")
        slots.prove(self._master)  # or we would vouch for what somebody else put there
        slots.with_keychain(self._master, keychain).write(self.home.keyslots)

    def integrity_errors(self) -> list[str]:
        """What a check of every page of the database finds; empty when it is whole."""
        return self._database.integrity_errors()

    def close(self) -> None:
        """Close the database and wipe the key. Closing twice does nothing."""
        try:
            with contextlib.suppress(RuntimeError):  # the database's thread has ended already
                self._database.close()
        finally:
            self._master.wipe()

    def __enter__(self) -> "Vault":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _fields(master: MasterKey) -> FieldCipher:
    return FieldCipher(master.derive, master.vault_id)


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
            shutil.rmtree(left, ignore_errors=True)
