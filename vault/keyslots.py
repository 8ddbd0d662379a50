"""`keyslots.json`: the master key, once per way of opening the vault.

Each slot holds the same master key, sealed to a key pair of its own (`vault.wrapping`); what opens it lies with the
person, the OS keychain or a token. A slot is bound to its vault, its id and its parameters, so one that was moved
or altered opens nothing. The whole file carries an HMAC under the master key, checked after opening: a slot added,
removed or put back by somebody else is found.
"""

import hmac
from dataclasses import dataclass
from pathlib import Path

from vault.errors import (
    HardwareError,
    KeychainError,
    KeyslotsDamaged,
    LastSlot,
    NoKeychain,
    NotFound,
    RecoveryRefused,
    VaultError,
    WrongPassphrase,
)
from vault.hardware import SealedSecret, Token
from vault.keychain import Keychain
from vault.keys import KEY_BYTES, MasterKey, VaultId
from vault.passphrase import KdfCost, stretch
from vault.recovery import combine
from vault.slot_file import BACKUP_SUFFIX, MAX_SLOTS, VERSION, SlotFile
from vault.slot_kinds import (
    SALT_BYTES,
    HardwareSlot,
    KeychainSlot,
    PassphraseSlot,
    RecoverySlot,
    RotatableSlot,
    Slot,
    SymmetricKeychainSlot,
    SymmetricPassphraseSlot,
    SymmetricSlot,
    decode,
    kind_of,
)
from vault.slot_making import keychain_slot, passphrase_slot
from vault.swap import settle
from vault.wrapping import modernized, rewrap, unwrap, unwrap_symmetric

__all__ = ["BACKUP_SUFFIX", "Keyslots", "Opening"]

_COMPARE = f"Compare it with keyslots.json{BACKUP_SUFFIX} beside it, and put the good copy back."


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening the vault by one of its slots gave.

    Attributes:
        master: The master key.
        slot: The slot that opened.
        epoch: Of the file that the slot was in.
        upgraded: The slot in the form of today, to be kept, if it was of version 1.
    """

    master: MasterKey
    slot: Slot
    epoch: int
    upgraded: RotatableSlot | None = None


class Keyslots:
    """The slots of one vault. Immutable: each change makes a new file whole.

    Attributes:
        vault_id: The vault they open.
        epoch: Counts the changes of the file, from 1.
        slots: At least one.
        version: Of the file.
    """

    def __init__(
        self, vault_id: VaultId, epoch: int, slots: tuple[Slot, ...], mac: bytes, version: int = VERSION
    ) -> None:
        self.vault_id = vault_id
        self.epoch = epoch
        self.slots = slots
        self.version = version
        self._mac = mac

    @classmethod
    def read(cls, path: Path) -> "Keyslots":
        """Read the file. What it says is proven only by opening a slot.

        Raises:
            NoVault: there is no such file, nor the folder of a vault.
            KeyslotsDamaged: it is missing from the vault's folder, or isn't a keyslots file.
            VersionTooNew: a newer version wrote it.
        """
        settle(path.parent)
        return cls._of(SlotFile.read(path))

    @classmethod
    def parse(cls, data: bytes, *, described: str, mend: str = "") -> "Keyslots":
        """Parse the file's bytes; errors as in `read`."""
        return cls._of(SlotFile.parse(data, described=described, mend=mend))

    @classmethod
    def first(cls, master: MasterKey, passphrase: str, cost: KdfCost) -> "Keyslots":
        """The slots of a new vault: one passphrase."""
        return cls._signed(master, 1, (passphrase_slot(master, passphrase, cost),))

    # Opening

    def open_with_passphrase(self, passphrase: str, *, only: str = "") -> Opening:
        """Open by any passphrase slot, or by the one whose id is `only`.

        Raises:
            WrongPassphrase: no slot opens with it.
            KeyslotsDamaged: a slot opened, but it or the file isn't what this vault wrote.
        """
        slots = [s for s in self._chosen(only) if isinstance(s, PassphraseSlot | SymmetricPassphraseSlot)]
        for slot in slots:
            secret = stretch(passphrase, decode(slot.salt, SALT_BYTES), slot.cost)
            if opening := self._opened(slot, secret):
                return opening
        if not slots:
            raise WrongPassphrase("This vault has no passphrase slot.")
        raise WrongPassphrase(
            "The passphrase is wrong.",
            hint="Nothing was changed. If you are sure of it, see whether keyslots.json differs from "
            f"keyslots.json{BACKUP_SUFFIX} beside it.",
        )

    def open_with_keychain(self, keychain: Keychain, *, only: str = "") -> Opening:
        """Open by a keychain slot, or by the one whose id is `only`.

        Raises:
            NoKeychain: this vault has no keychain slot, or the keychain doesn't hold its key.
            KeychainError: the keychain refused, or what it holds opens no slot.
            KeyslotsDamaged: as above.
        """
        found = False
        for slot in self._chosen(only):
            if not isinstance(slot, KeychainSlot | SymmetricKeychainSlot):
                continue
            kept = keychain.get(slot.account)
            if kept is None:
                continue
            found = True
            try:
                secret = decode(kept, KEY_BYTES)
            except ValueError:
                continue
            if opening := self._opened(slot, secret):
                return opening
        if found:
            raise KeychainError(
                "The key in the keychain doesn't open this vault.",
                hint="Use the passphrase: the keychain's item may belong to an older copy.",
            )
        raise NoKeychain("The keychain holds no key for this vault.", hint="Use the passphrase.")

    def open_with_shares(self, shares: list[str], *, only: str = "") -> Opening:
        """Open by recovery shares, as they were typed.

        Raises:
            SharesMissing: there are none.
            RecoveryRefused: a share is mistyped, of another set, or given twice, or more are needed; the message
                names the share by its place in `shares`, from 1.
            KeyslotsDamaged: as above.
        """
        slots = [slot for slot in self._chosen(only) if isinstance(slot, RecoverySlot)]
        if not slots:
            raise RecoveryRefused("This vault has no recovery slot.", hint="Open it another way.")
        slot, secret = combine(shares, slots, self.vault_id)
        if opening := self._opened(slot, secret):
            return opening
        raise KeyslotsDamaged(f"The recovery slot {slot.id} doesn't open with its own shares.", hint=_COMPARE)

    def open_with_hardware(self, token: Token, *, only: str = "") -> Opening:
        """Open by a token, its PIN in hand.

        Raises:
            HardwareError: the token isn't plugged in, its PIN is wrong, it refuses, or holds no key of this vault.
            KeyslotsDamaged: as above.
        """
        for slot in self._chosen(only):
            if not isinstance(slot, HardwareSlot) or slot.token != token.label:
                continue
            sealed = SealedSecret(slot.serial, slot.mechanism, decode(slot.nonce), decode(slot.secret))
            secret = token.unseal(slot.key, sealed)
            if secret is not None and (opening := self._opened(slot, secret)):
                return opening
        raise HardwareError(f"The token {token.label} holds no key that opens this vault.")

    # What it says

    def same_as(self, other: "Keyslots") -> bool:
        """Whether both are one file's content, of one key."""
        return hmac.compare_digest(self._file(self._mac).encoded(), other._file(other._mac).encoded())

    @property
    def has_keychain(self) -> bool:
        """Whether one of the slots is a keychain slot."""
        return any(isinstance(slot, KeychainSlot | SymmetricKeychainSlot) for slot in self.slots)

    @property
    def not_rotatable(self) -> tuple[SymmetricSlot, ...]:
        """The slots that a new master key can't be put into before they are opened once."""
        return tuple(slot for slot in self.slots if isinstance(slot, SymmetricSlot))

    def slot(self, slot_id: str) -> Slot:
        """One slot.

        Raises:
            NotFound: none has this id.
        """
        for slot in self.slots:
            if slot.id == slot_id:
                return slot
        raise NotFound(f"This vault has no slot {slot_id}.", hint="`claw vault slots` lists them.")

    def prove(self, master: MasterKey) -> None:
        """Check that these are the slots that the holder of the master key wrote.

        Raises:
            KeyslotsDamaged: they are another vault's, or somebody else changed them.
        """
        if self.vault_id != master.vault_id:
            raise KeyslotsDamaged("keyslots.json belongs to another vault.", hint=_COMPARE)
        if not hmac.compare_digest(self._mac, master.authenticate("keyslots", self._file(b"").encoded())):
            raise KeyslotsDamaged("keyslots.json was changed by something else than this vault.", hint=_COMPARE)

    # Changing. Each proves the old file first, or we would vouch for what somebody else put there.

    def with_slot(self, master: MasterKey, slot: RotatableSlot) -> "Keyslots":
        """These slots and one more.

        Raises:
            VaultError: the file is full of slots.
            KeyslotsDamaged: the slots aren't those that the holder of the master key wrote.
        """
        self.check_room()
        return self._changed(master, (*self.slots, slot))

    def with_keychain(self, master: MasterKey, keychain: Keychain) -> "Keyslots":
        """These slots and one more, whose secret is put into the keychain; errors as above, or `KeychainError`."""
        self.check_room()
        return self.with_slot(master, keychain_slot(master, keychain))

    def with_upgraded(self, master: MasterKey, slot: RotatableSlot) -> "Keyslots":
        """These slots with one in the place of that of version 1 which has its id; errors as above."""
        others = (other for other in self.slots if other.id != slot.id)
        return self._changed(master, (*others, slot))

    def without(self, master: MasterKey, slot_id: str) -> "Keyslots":
        """These slots but for one.

        Raises:
            NotFound: there is no such slot.
            LastSlot: the keychain alone would remain, or nothing.
            KeyslotsDamaged: as above.
        """
        self.check_removable(slot_id)
        return self._changed(master, tuple(slot for slot in self.slots if slot.id != slot_id))

    def check_removable(self, slot_id: str) -> None:
        """Check that a slot may go: errors as in `without`, which checks it as well."""
        gone = self.slot(slot_id)
        left = (slot for slot in self.slots if slot is not gone)
        if all(isinstance(slot, KeychainSlot | SymmetricKeychainSlot) for slot in left):
            raise LastSlot(
                f"The {kind_of(gone)} slot {slot_id} is the last way in that doesn't need the desktop's keychain.",
                hint="A keychain changes with the desktop, and then nothing would open the vault. Add another way "
                "first: claw vault slots add passphrase, recovery or hardware.",
            )

    def rewrapped(self, master: MasterKey, new: MasterKey) -> "Keyslots":
        """These slots with a new master key in each, opened as before.

        Args:
            master: The key of today.
            new: The key of tomorrow, of the same vault.

        Raises:
            VaultError: a slot is still of version 1.
            KeyslotsDamaged: as above.
        """
        if locked := self.not_rotatable:
            named = ", ".join(f"{kind_of(slot)} {slot.id}" for slot in locked)
            raise VaultError(
                f"These slots can't take a new key before they are opened once: {named}.",
                hint="Open the vault by each of them, run `claw vault slots upgrade`, or remove them.",
            )
        self.prove(master)
        rotatable = (slot for slot in self.slots if isinstance(slot, RotatableSlot))
        return self._signed(new, self.epoch + 1, tuple(rewrap(master, new, slot) for slot in rotatable))

    def check_room(self) -> None:
        """Check that one more slot fits; before its secret is made anywhere.

        Raises:
            VaultError: it doesn't.
        """
        if len(self.slots) >= MAX_SLOTS:
            raise VaultError(f"This vault has {MAX_SLOTS} slots already, and no file holds more.")

    def write(self, path: Path) -> None:
        """Write the file, then its backup copy; both atomically.

        Raises:
            VaultError: the file could not be written; the old one or the new one is whole.
        """
        self._file(self._mac).write(path)

    @classmethod
    def _of(cls, file: SlotFile) -> "Keyslots":
        return cls(file.vault_id, file.epoch, file.slots, file.mac, file.version)

    @classmethod
    def _signed(cls, master: MasterKey, epoch: int, slots: tuple[Slot, ...]) -> "Keyslots":
        draft = cls(master.vault_id, epoch, slots, b"")
        return cls(master.vault_id, epoch, slots, master.authenticate("keyslots", draft._file(b"").encoded()))

    def _changed(self, master: MasterKey, slots: tuple[Slot, ...]) -> "Keyslots":
        self.prove(master)
        return self._signed(master, self.epoch + 1, slots)

    def _file(self, mac: bytes) -> SlotFile:
        return SlotFile(self.version, self.vault_id, self.epoch, self.slots, mac)

    def _chosen(self, only: str) -> tuple[Slot, ...]:
        return (self.slot(only),) if only else self.slots

    def _opened(self, slot: Slot, secret: bytes) -> Opening | None:
        if isinstance(slot, RotatableSlot):
            if master := unwrap(self.vault_id, secret, slot):
                self.prove(master)
                return Opening(master, slot, self.epoch)
        elif master := unwrap_symmetric(self.vault_id, secret, slot):
            self.prove(master)
            return Opening(master, slot, self.epoch, modernized(master, secret, slot))
        return None
