"""Adding and removing the ways into an open vault, so that an interruption at any moment locks nobody out.

A new slot's secret is put where it belongs first, then the new file is written and synced in the place of the old,
read again, and the new slot opened from it. Only then does anything old go: a slot from the file, after that its
secret from the keychain or the token. Whatever is interrupted, the old file or the new one lies there whole, and
every slot that it names opens.
"""

import contextlib
import hmac
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vault.errors import KeyslotsDamaged, VaultError, VersionTooNew
from vault.hardware import Token
from vault.keychain import Keychain
from vault.keys import MasterKey
from vault.keyslots import Keyslots, Opening
from vault.passphrase import DEFAULT_COST, KdfCost, check_length
from vault.recovery import RecoveryKit
from vault.slot_epoch import check_newest
from vault.slot_file import BACKUP_SUFFIX, SlotFile
from vault.slot_kinds import AnyRotatable, PassphraseSlot, Slot, SymmetricPassphraseSlot, kind_of
from vault.slot_making import hardware_slot, keychain_slot, passphrase_slot, recovery_slot
from vault.swap import changing

if TYPE_CHECKING:
    from vault.slot_journal import Journal

__all__ = ["SlotChanges", "settle"]

_LOCK_WITHIN_S = 60.0
_COMPARED = "slot-comparison"
"""The use of a derived key that stands for the master key where the two are compared."""


class SlotChanges:
    """The ways into an open vault, and how they are changed.

    Each change raises `KeyslotsDamaged` if the slots on disk aren't those that this vault wrote, `RolledBack` if
    they are older than those that it knows of, and `VaultError`
    if the file can't be written; the ways in are then as they were.

    Args:
        path: `keyslots.json`.
        master: The open vault's key.
        journal: Told of each change before it is made, and after.
    """

    def __init__(self, path: Path, master: MasterKey, journal: "Journal") -> None:
        self._path = path
        self._master = master
        self._journal = journal

    def read(self) -> Keyslots:
        """The slots as they are now, proven to be this vault's and its newest."""
        slots = Keyslots.read(self._path)
        slots.prove(self._master)
        check_newest(slots, self._journal.newest())
        return slots

    def add_passphrase(self, passphrase: str, cost: KdfCost = DEFAULT_COST) -> str:
        """Add a passphrase; returns the new slot's id.

        Raises:
            VaultError: it is too short.
        """
        check_length(passphrase)
        return self._add(
            lambda: passphrase_slot(self._master, passphrase, cost),
            lambda slots, slot_id: slots.open_with_passphrase(passphrase, only=slot_id),
        )

    def add_keychain(self, keychain: Keychain) -> str:
        """Add a keychain; returns the new slot's id.

        Raises:
            KeychainError: the keychain did not keep the secret.
        """
        return self._add(
            lambda: keychain_slot(self._master, keychain),
            lambda slots, slot_id: slots.open_with_keychain(keychain, only=slot_id),
            lambda slot: keychain.delete(slot.account),
        )

    def add_recovery(self, kit: RecoveryKit) -> str:
        """Add recovery shares, which the person has on paper by now; returns the new slot's id."""
        enough = list(kit.shares[-kit.threshold :])
        return self._add(
            lambda: recovery_slot(self._master, kit),
            lambda slots, slot_id: slots.open_with_shares(enough, only=slot_id),
        )

    def add_hardware(self, token: Token) -> str:
        """Add a token; returns the new slot's id.

        Raises:
            HardwareError: it isn't plugged in, the PIN is wrong, or it refuses.
        """
        return self._add(
            lambda: hardware_slot(self._master, token),
            lambda slots, slot_id: slots.open_with_hardware(token, only=slot_id),
            lambda slot: token.destroy(slot.key),
        )

    def remove(self, slot_id: str, forget: Callable[[Slot], None] = lambda _slot: None) -> None:
        """Remove a slot. An old copy of the file opens by it as before, until the vault's keys are rotated.

        Args:
            slot_id: Which.
            forget: Deletes the slot's secret where it is kept; called when nothing names the slot any more.

        Raises:
            NotFound: there is no such slot.
            LastSlot: the keychain alone would remain, or nothing.
            ClawError: whatever `forget` raises; the slot is gone all the same.
        """
        with _alone(self._path):
            slots = self.read()
            gone, after = slots.slot(slot_id), slots.without(self._master, slot_id)
            with self._noted(gone, added=False):
                after.write(self._path)
                _check_written(after, self._path)
        forget(gone)

    def change_passphrase(self, slot_id: str, passphrase: str, cost: KdfCost = DEFAULT_COST) -> str:
        """Put a new passphrase in the place of one; returns the new slot's id.

        Raises:
            NotFound: there is no such slot.
            VaultError: it isn't opened by a passphrase, or the new one is too short.
        """
        slot = self.read().slot(slot_id)
        if not isinstance(slot, PassphraseSlot | SymmetricPassphraseSlot):
            raise VaultError(f"The slot {slot_id} isn't opened by a passphrase: it is a {kind_of(slot)} slot.")
        new = self.add_passphrase(passphrase, cost)
        self.remove(slot_id)
        return new

    def _add(
        self,
        make: Callable[[], AnyRotatable],
        opens: Callable[[Keyslots, str], Opening],
        take_back: Callable[[AnyRotatable], None] = lambda _slot: None,
    ) -> str:
        with _alone(self._path):
            before = self.read()
            before.check_room()
            expected = self._master.derive(_COMPARED)  # now: a lock may wipe the key before the new slot is tried
            slot = make()
            try:
                with self._noted(slot, added=True):
                    before.with_slot(self._master, slot).write(self._path)
                    _check_key(opens(Keyslots.read(self._path), slot.id).master, expected)
            except BaseException:
                if self._withdraw(slot.id):
                    with contextlib.suppress(VaultError):
                        take_back(slot)
                raise
        return slot.id

    def _withdraw(self, slot_id: str) -> bool:
        """Take a slot out that could not be added; whether its secret may go, because no file names the slot."""
        with contextlib.suppress(VaultError):
            slots = self.read()
            if any(slot.id == slot_id for slot in slots.slots):
                slots.without(self._master, slot_id).write(self._path)
            return True
        return False

    @contextlib.contextmanager
    def _noted(self, slot: Slot, *, added: bool) -> Iterator[None]:
        from vault.slot_journal import SlotChange

        change = SlotChange(f"{kind_of(slot)} slot {slot.id}", added)
        number = self._journal.begin(change)
        done = False
        try:
            yield
            done = True
        finally:
            with contextlib.suppress(
                VaultError
            ):  # that it was begun is noted, and that it was made can't be undone
                self._journal.end(number, change, done=done)


def _check_key(master: MasterKey, expected: bytes) -> None:
    """Check that what a slot gave is this vault's key, by what is derived from it; it is wiped."""
    same = hmac.compare_digest(master.derive(_COMPARED), expected)
    master.wipe()
    if not same:
        raise KeyslotsDamaged("The new slot doesn't open the vault; it was taken out again.")


def _check_written(slots: Keyslots, path: Path) -> None:
    if not Keyslots.read(path).same_as(slots):
        raise KeyslotsDamaged("keyslots.json isn't what was just written.", hint="Check the disk.")


def settle(path: Path, opening: Opening, newest: int = 0) -> None:
    """Finish, once the vault is open, what was left undone.

    A slot of version 1 that opened it is brought up to date. A backup that is older than the file becomes its copy,
    lest it still open by a slot that was removed. What can't be written now is tried again at the next opening.

    Args:
        path: `keyslots.json`.
        opening: What opened the vault.
        newest: The epoch of the newest slots that the vault knows; nothing is made of older ones.
    """
    with contextlib.suppress(VaultError):
        if opening.upgraded is None and not _backup_is_older(path):
            return
        with _alone(path):
            slots = Keyslots.read(path)
            slots.prove(opening.master)
            check_newest(slots, newest)
            if opening.upgraded and opening.slot in slots.slots:
                slots.with_upgraded(opening.master, opening.upgraded).write(path)
            elif _backup_is_older(path):
                slots.write(path)


def _backup_is_older(path: Path) -> bool:
    file = SlotFile.read(path)
    try:
        return SlotFile.read(path.with_name(path.name + BACKUP_SUFFIX)).epoch < file.epoch
    except VersionTooNew:
        return False
    except VaultError:  # missing, or damaged
        return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from changing the slots: the later of two changes would undo the earlier."""
    refusal = VaultError("Another program is changing the vault's slots.", hint="Try again.")
    with changing(path.parent, refusal, within_s=_LOCK_WITHIN_S):
        yield
