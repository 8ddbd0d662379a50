"""The vault as the rest of the assistant sees it: made once, opened by one of its slots, closed again."""

import contextlib
import threading
from collections.abc import Callable
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from vault.closing import Closing
from vault.conversations import Conversations
from vault.creation import DATABASE_USE, field_cipher, make_vault
from vault.database import UNLOCK, Database
from vault.errors import DiskFull, KeychainError, KeyslotsDamaged, KeysRenewed, Locked, VaultError
from vault.guard import Newest
from vault.home import Home
from vault.keychain import Keychain
from vault.keys import MasterKey
from vault.keyslots import Keyslots, Opening
from vault.lock import LockLatch, LockLimits, LockWatch
from vault.mirror import Mirror
from vault.model_store import ModelStore
from vault.passphrase import DEFAULT_COST, KdfCost
from vault.reserve import Reserve
from vault.slot_changes import SlotChanges, settle
from vault.slot_epoch import newest_epoch, slots_finding
from vault.slot_kinds import kind_of
from vault.swap import Presence

if TYPE_CHECKING:
    from vault.erasure import Erasure
    from vault.holder import Held
    from vault.log.transparency import TransparencyLog
    from vault.notifications import Notifications
    from vault.retention import Retention

__all__ = ["Vault"]

_PATIENCE_S = 0.5
"""What is under way when the vault locks has this long to end."""
_DOOR_PATIENCE_S = 2.0
"""And what is under way at the door this long, to end and be logged: it looks for a lock a few times a second."""


class Vault:
    """An open vault.

    Attributes:
        home: Where it lies.
        conversations: Sessions and messages.
        models: Registered models.
        opened_by: The kind of slot that opened it, or `"new"`, or `"rotation"`.
        slot_id: The slot that opened it; empty when none did.
        closing: Ends what is under way at the door before it closes.
        watch: Locks it when the person says so, and when else it is told to.
        disk_full: Whether there was no room on the disk to open it, but for what was set aside.
    """

    def __init__(
        self,
        home: Home,
        master: MasterKey,
        database: Database,
        opened_by: str,
        presence: Presence,
        mirror: Mirror | None = None,
        mirrored: Newest | None = None,
    ) -> None:
        self._mirror = mirror
        self._mirrored = mirrored
        self._log: TransparencyLog | None = None
        self._remembering: threading.Thread | None = None
        self.home = home
        self.opened_by = opened_by
        self.slot_id = ""
        self.disk_full = False
        self.conversations = Conversations(database)
        self.models = ModelStore(database)
        self._master = master
        self._database = database
        self._presence = presence
        self.closing = Closing()
        self.watch = LockWatch(LockLatch(home.data), lambda: database.uses, self._lock)
        self.watch.start()

    @classmethod
    def create(
        cls,
        home: Home,
        passphrase: str,
        *,
        keychain: Keychain | None = None,
        cost: KdfCost = DEFAULT_COST,
        fill: Callable[[Database], object] = lambda _database: None,
    ) -> "Vault":
        """Make a new vault and open it.

        The folder is made beside its final place and renamed into it, so that a crash leaves no half vault.

        Args:
            home: Where; its folders are made, private to their owner.
            passphrase: For the passphrase slot; at least `MIN_LENGTH` characters.
            keychain: Where to put the key of a second slot, if anywhere.
            cost: Of the passphrase slot.
            fill: Puts something into its database before it appears; when that fails, no vault was made.

        Raises:
            VaultExists: there is one already.
            KeychainError: the keychain was given but did not keep the key; no vault was made.
            VaultError: the passphrase is too short, or the folder can't be written.
        """
        master = make_vault(home, passphrase, keychain, cost, fill)
        return cls.open_with_master(home, master, "new", keychain=keychain)

    @classmethod
    def open_with_passphrase(cls, home: Home, passphrase: str, *, keychain: Keychain | None = None) -> "Vault":
        """Open the vault with a passphrase; `keychain` as in `open_with_master`.

        Raises:
            NoVault, KeyslotsDamaged, VersionTooNew, WrongPassphrase: as `Keyslots` says.
            DatabaseDamaged, PlaintextDatabase: as `Database.open` says.
        """
        return cls._open(home, lambda slots: slots.open_with_passphrase(passphrase), keychain)

    @classmethod
    def open_with_keychain(cls, home: Home, keychain: Keychain) -> "Vault":
        """Open the vault with the key that the keychain holds; errors as above, or `KeychainError`."""
        return cls._open(home, lambda slots: slots.open_with_keychain(keychain), keychain)

    @classmethod
    def _open(cls, home: Home, by: Callable[[Keyslots], Opening], keychain: Keychain | None) -> "Vault":
        try:
            return cls.open_by(home, by(Keyslots.read(home.keyslots)), keychain=keychain)
        except KeysRenewed:
            return cls.open_by(home, by(Keyslots.read(home.keyslots)), keychain=keychain)

    @classmethod
    def open_by(
        cls, home: Home, opening: Opening, *, keychain: Keychain | None = None, accept: bool = False
    ) -> "Vault":
        """Open the vault with what one of its slots gave; errors and arguments as in `open_with_master`."""
        kind = kind_of(opening.slot)
        vault = cls.open_with_master(
            home, opening.master, kind, keychain=keychain, accept=accept, slots_epoch=opening.epoch
        )
        vault.slot_id = opening.slot.id
        if not vault.alarm:
            settle(home.keyslots, opening, vault.database.read(newest_epoch))
        return vault

    @classmethod
    def open_with_master(
        cls,
        home: Home,
        master: MasterKey,
        opened_by: str,
        *,
        keychain: Keychain | None = None,
        accept: bool = False,
        slots_epoch: int = 0,
    ) -> "Vault":
        """Open the vault with its master key, which becomes the vault's to wipe.

        Args:
            home: Where it lies.
            master: The key.
            opened_by: What gave the key.
            keychain: Where the rollback anchor is mirrored, if one answers.
            accept: Take the database as it lies there for the newest, whatever the rollback anchor says.
            slots_epoch: Of the key slots that gave the key; 0 where that isn't known.

        Raises:
            KeysRenewed: the slots are newer by now, and the key isn't theirs any more; it is wiped.
            KeyslotsDamaged: the slots aren't those that the holder of the key wrote; it is wiped.
            DatabaseDamaged, PlaintextDatabase, VersionTooNew: as `Database.open` says; the key is wiped.
        """
        mirror = Mirror.where_possible(keychain, master)
        presence: Presence | None = None
        database: Database | None = None
        try:
            presence = Presence(home.vault)
            anchored = _slots_of(home, master, slots_epoch).version > 1
            mirrored = _remembered(mirror)

            def open_database() -> Database:
                key, fields = master.derive(DATABASE_USE), field_cipher(master)
                return Database.open(
                    home.database, key, fields, at_least=mirrored, accept=accept, anchored=anchored
                )

            full = False
            try:
                database = open_database()
            except DiskFull:
                if not (full := Reserve(home.vault).release()):
                    raise
                database = open_database()
            if accept and mirror and (newest := database.newest()):
                mirror.write(newest)  # at once: until then, everybody else finds the alarm
            if not database.alarm:
                database.alarm = slots_finding(home.keyslots, master, database, accept=accept)
        except BaseException:
            if database:
                database.close()
            if presence:
                presence.close()
            master.wipe()
            raise
        vault = cls(home, master, database, opened_by, presence, mirror, mirrored)
        vault.disk_full = full
        return vault

    @property
    def log(self) -> "TransparencyLog":
        """The transparency log, loaded when first used."""
        if self._log is None:
            from vault.log.transparency import TransparencyLog

            self._log = TransparencyLog(self._database)
        return self._log

    @cached_property
    def retention(self) -> "Retention":
        """How long what is kept, and letting go of it."""
        from vault.retention import Retention

        return Retention(self._database, self.home, lambda: self.log)

    @cached_property
    def erasure(self) -> "Erasure":
        """Erasing on purpose."""
        from vault.erasure import Erasure

        return Erasure(self._database, lambda: self.log, Reserve(self.home.vault).make_room)

    @cached_property
    def notifications(self) -> "Notifications":
        """What the person is to be told."""
        from vault.notifications import Notifications

        return Notifications(self._database)

    def note_opening(self) -> None:
        """Have the person told what was unusual about the opening: keys that failed before, a slot that is new."""
        from vault.attempts import note_opening

        if not self.alarm:
            note_opening(self.home, self._database, self.opened_by, self.slot_id)

    @property
    def keychain(self) -> Keychain | None:
        """The keychain that remembers the newest state, if one does."""
        return self._mirror.keychain if self._mirror else None

    @property
    def rotated_ms(self) -> int:
        """When the keys were made, in milliseconds since 1970."""
        row = self._database.read(lambda c: c.execute("SELECT rotated_ms FROM vault_state").fetchone())
        return int(row[0]) if row else 0

    @property
    def database(self) -> Database:
        """All of it, for what takes the vault along as a whole."""
        return self._database

    @property
    def alarm(self) -> str:
        """What is wrong when the vault isn't the one that was last written, and opened for reading alone."""
        return self._database.alarm

    @property
    def slots(self) -> SlotChanges:
        """The ways into the vault, to be listed and changed."""
        from vault.slot_journal import VaultJournal

        journal = VaultJournal(self._database, self.log, self.home.keyslots)
        return SlotChanges(self.home.keyslots, self._master, journal)

    def add_keychain(self, keychain: Keychain) -> str:
        """Add a keychain to the ways in, which remembers the newest state from now on; returns the new slot's id.

        Raises:
            KeychainError: the keychain did not keep what it was given.
            VaultError: as `SlotChanges` says.
        """
        mirror, newest = Mirror.where_possible(keychain, self._master), self._database.newest()
        if mirror and newest:
            mirror.write(newest)  # first: once it is a way in, what it remembers counts, of whatever key
        slot_id = self.slots.add_keychain(keychain)
        self._mirror, self._mirrored = mirror, newest
        return slot_id

    def accept(self) -> "Vault":
        """Take the vault as it lies there for the newest; this one is closed, the one returned open for writing."""
        from vault.acceptance import accept

        return accept(self, self._master, self._mirror.keychain if self._mirror else None)

    def integrity_errors(self) -> list[str]:
        """What a check of every page of the database finds; empty when it is whole."""
        return self._database.integrity_errors()

    def rotate(self, progress: Callable[[str], None] = lambda _step: None) -> MasterKey:
        """Give the vault a new master key and encrypt everything anew; this vault is closed by it.

        Args:
            progress: Told each step, in a word or two.

        Returns:
            The new key, to open the vault with again.

        Raises:
            Locked: the vault was locked meanwhile; it has its old keys or the new ones, as the message says.
            VaultError: as `vault.rotation.rotate` says; the old vault is as it was.
        """
        from vault.rotation import rotate

        if self._mirror is None and Mirror.POSSIBLE and Keyslots.read(self.home.keyslots).has_keychain:
            raise KeychainError(
                "The keychain remembers this vault's newest state, and it doesn't answer here.",
                hint="Rotate in a session of your desktop, or take its slot away first: claw vault slots remove ID",
            )
        mirror, self._mirror = self._mirror, None  # what it remembers from now on is right for both keys
        try:
            fresh = rotate(self.home, self._master, self._database, self._presence, mirror, progress)
        finally:
            self.close()
        if self.watch.locked:
            fresh.wipe()
            raise Locked("The vault was locked just after its keys were renewed.", hint=UNLOCK)
        return fresh

    def hold(self, limits: LockLimits) -> "Held":
        """Have the key held by a process of its own, so that later commands need no passphrase.

        Args:
            limits: How long it may stay there.

        Raises:
            VaultError: there can be no such process here.
        """
        from vault.holder import KeyHolder

        return KeyHolder(self.home).start(self._master, limits)

    def _lock(self, why: str) -> None:
        """Wipe the key at once, and close the database once the door has ended; no keychain is waited for."""
        mirror, self._mirror = self._mirror, None
        self._master.wipe()  # first: the database may be in the middle of something long
        self.closing.begin(why, _DOOR_PATIENCE_S)
        try:
            with contextlib.suppress(VaultError):
                self._database.close(why, patience_s=_PATIENCE_S)
        finally:
            self._forget_signer()
            self._presence.close()
        if mirror:
            self._remembering = threading.Thread(target=self._remember, args=(mirror,), name="mirror", daemon=True)
            self._remembering.start()

    def _remember(self, mirror: Mirror) -> None:
        """Leave the newest state, what other processes wrote included, with the keychain."""
        newest = self._database.newest()
        if newest and newest != self._mirrored:
            with contextlib.suppress(KeychainError):
                mirror.advance(newest)

    def _forget_signer(self) -> None:
        if self._log is not None:
            self._log.forget()

    def close(self) -> None:
        """Close the database, leave its newest state with the keychain, and wipe the key. Twice does nothing."""
        self.watch.stop()
        mirror, self._mirror = self._mirror, None
        try:
            self.closing.begin("The vault is closed.", _DOOR_PATIENCE_S)
            self._database.close()
            if mirror:
                self._remember(mirror)
            if self._remembering and not self.watch.is_current:
                self._remembering.join()
            if self._database.newest():
                Reserve(self.home.vault).keep()
        finally:
            self._forget_signer()
            self._presence.close()
            self._master.wipe()

    def __enter__(self) -> "Vault":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _slots_of(home: Home, master: MasterKey, epoch: int) -> Keyslots:
    """The slots that lie there, now that nobody can rotate the keys any more, proven to be a key's."""
    slots = Keyslots.read(home.keyslots)
    try:
        slots.prove(master)
    except KeyslotsDamaged:
        if epoch and slots.epoch > epoch:
            raise KeysRenewed(
                "Another program renewed the vault's keys while this one opened it.", hint="Try again."
            ) from None
        raise
    return slots


def _remembered(mirror: Mirror | None) -> Newest | None:
    """What the keychain knows of the newest state; a keychain that can't be asked knows nothing."""
    with contextlib.suppress(KeychainError):
        return mirror.read() if mirror else None
    return None
