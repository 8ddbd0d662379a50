"""`keyslots.json`: the master key, wrapped once per way of opening the vault.

Each slot wraps the same master key with AES-256-GCM under a key-encryption key of its own: a random one kept in
the OS keychain, or one stretched from a passphrase. The associated data bind vault, slot and parameters, so a
slot moved or altered opens nothing. The whole file carries an HMAC under the master key, checked after opening:
a slot added, removed or put back by somebody else is found.
"""

import base64
import hmac
import os
import secrets
import time
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta

from vault.durable import replace_file
from vault.errors import (
    KeychainError,
    KeyslotsDamaged,
    NoKeychain,
    NoVault,
    VaultError,
    VersionTooNew,
    WrongPassphrase,
)
from vault.keychain import Keychain
from vault.keys import KEY_BYTES, MasterKey, VaultId
from vault.passphrase import KdfCost, stretch

__all__ = ["BACKUP_SUFFIX", "KeychainSlot", "Keyslots", "PassphraseSlot"]

VERSION = 1
BACKUP_SUFFIX = ".backup"
_FORMAT = "openclaw-core/keyslots"
_MAX_BYTES = 1 << 20
_MAX_SLOTS = 32
_NONCE_BYTES = 12
_SALT_BYTES = 16

Base64 = Annotated[str, Meta(max_length=4096)]
Timestamp = Annotated[int, Meta(ge=0)]


class _Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every slot has: an id of its own, when it was made (seconds since 1970), and the wrapped key."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}\Z")]
    created: Timestamp
    nonce: Base64
    wrapped: Base64


class PassphraseSlot(_Slot, frozen=True, tag="passphrase"):
    """Opened by a passphrase, stretched with the salt and cost stored here."""

    salt: Base64
    cost: KdfCost


class KeychainSlot(_Slot, frozen=True, tag="keychain"):
    """Opened by the secret that the OS keychain keeps under `account`."""

    account: Annotated[str, Meta(max_length=200)]


Slot = PassphraseSlot | KeychainSlot
SlotKind = TypeVar("SlotKind", PassphraseSlot, KeychainSlot)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it lies on disk."""

    format: str
    version: int
    vault: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    epoch: Annotated[int, Meta(ge=1)]
    slots: Annotated[list[Slot], Meta(min_length=1, max_length=_MAX_SLOTS)]
    mac: Base64


class Keyslots:
    """The slots of one vault. Immutable: each change makes a new file whole.

    Attributes:
        vault_id: The vault they open.
        epoch: Counts the changes of the file, from 1.
        slots: At least one.
    """

    def __init__(self, vault_id: VaultId, epoch: int, slots: tuple[Slot, ...], mac: bytes) -> None:
        self.vault_id = vault_id
        self.epoch = epoch
        self.slots = slots
        self._mac = mac

    @classmethod
    def read(cls, path: Path) -> "Keyslots":
        """Read the file. What it says is proven only by opening a slot.

        Raises:
            NoVault: there is no such file, nor the folder of a vault.
            KeyslotsDamaged: it is missing from the vault's folder, or isn't a keyslots file.
            VersionTooNew: a newer version wrote it.
        """
        mend = f"Put a good copy in its place: cp '{path}{BACKUP_SUFFIX}' '{path}'"
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            if path.with_name(path.name + BACKUP_SUFFIX).exists():
                raise KeyslotsDamaged(f"{path} is missing.", hint=mend) from None
            if path.parent.exists():
                raise KeyslotsDamaged(
                    f"{path} is missing, and without it nothing opens the vault.", hint="Restore it from a backup."
                ) from None
            raise NoVault("There is no vault here yet.", hint="Start `claw`, or run `claw vault init`.") from None
        except OSError as error:
            raise KeyslotsDamaged(f"{path} can't be read: {error.strerror}.") from error
        return cls.parse(data, described=str(path), mend=mend)

    @classmethod
    def parse(cls, data: bytes, *, described: str, mend: str = "") -> "Keyslots":
        """Parse the file's bytes; errors as in `read`."""
        try:
            if len(data) > _MAX_BYTES:
                raise ValueError("it is too large")
            header = msgspec.json.decode(data, type=dict[str, object])
            if header.get("format") != _FORMAT:
                raise ValueError("it names another format")
            version = header.get("version")
            if isinstance(version, int) and version > VERSION:
                raise VersionTooNew(
                    f"{described} was written by a newer version of OpenClaw Core.", hint="Update this one."
                )
            file = msgspec.json.decode(data, type=_File)
            if file.version != VERSION:
                raise ValueError("there was never such a version")
            slots = tuple(file.slots)
            if len({slot.id for slot in slots}) != len(slots):
                raise ValueError("two slots share an id")
            for slot in slots:
                _decode(slot.nonce, _NONCE_BYTES)
                _decode(slot.wrapped, KEY_BYTES + 16)
                if isinstance(slot, PassphraseSlot):
                    _decode(slot.salt, _SALT_BYTES)
            return cls(VaultId(file.vault), file.epoch, slots, _decode(file.mac, 32))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise KeyslotsDamaged(f"{described} is damaged: it doesn't parse as key slots.", hint=mend) from error

    @classmethod
    def first(cls, master: MasterKey, passphrase: str, cost: KdfCost) -> "Keyslots":
        """The slots of a new vault: one passphrase."""
        return cls._sealed(master, 1, (_wrap_passphrase(master, passphrase, cost),))

    def open_with_passphrase(self, passphrase: str) -> MasterKey:
        """The master key, by any passphrase slot.

        Raises:
            WrongPassphrase: no slot opens with it.
            KeyslotsDamaged: a slot opened, but the file isn't the one this vault wrote.
        """
        for slot in self.slots:
            if isinstance(slot, PassphraseSlot):
                kek = stretch(passphrase, _decode(slot.salt, _SALT_BYTES), slot.cost)
                if master := self._unwrap(slot, kek):
                    return master
        if not any(isinstance(slot, PassphraseSlot) for slot in self.slots):
            raise WrongPassphrase("This vault has no passphrase slot.")
        raise WrongPassphrase(
            "The passphrase is wrong.",
            hint="Nothing was changed; try again. If you are sure of it, see whether keyslots.json differs from "
            f"keyslots.json{BACKUP_SUFFIX} beside it.",
        )

    def open_with_keychain(self, keychain: Keychain) -> MasterKey:
        """The master key, by the keychain slot.

        Raises:
            NoKeychain: this vault has no keychain slot, or the keychain doesn't hold its key.
            KeychainError: the keychain refused.
            KeyslotsDamaged: the slot's secret is there but doesn't open it.
        """
        found = False
        for slot in self.slots:
            if not isinstance(slot, KeychainSlot):
                continue
            secret = keychain.get(slot.account)
            if secret is None:
                continue
            found = True
            try:
                kek = _decode(secret, KEY_BYTES)
            except ValueError:
                continue
            if master := self._unwrap(slot, kek):
                return master
        if found:
            raise KeychainError(
                "The key in the keychain doesn't open this vault.",
                hint="Use the passphrase: the keychain's item may belong to an older copy.",
            )
        raise NoKeychain("The keychain holds no key for this vault.", hint="Use the passphrase.")

    @property
    def has_keychain(self) -> bool:
        """Whether one of the slots is a keychain slot."""
        return any(isinstance(slot, KeychainSlot) for slot in self.slots)

    def with_keychain(self, master: MasterKey, keychain: Keychain) -> "Keyslots":
        """These slots and one more, whose key is put into the keychain and read back.

        Raises:
            KeychainError: the keychain didn't keep it.
            VaultError: the file is full of slots.
        """
        if len(self.slots) >= _MAX_SLOTS:
            raise VaultError(f"This vault has {_MAX_SLOTS} slots already, and no file holds more.")
        slot_id = secrets.token_hex(4)
        account = f"vault {self.vault_id[:12]} slot {slot_id}"
        kek = secrets.token_bytes(KEY_BYTES)
        keychain.set(account, _encode(kek))
        if keychain.get(account) != _encode(kek):
            keychain.delete(account)
            raise KeychainError("The keychain did not keep what it was given.", hint="Use the passphrase.")
        nonce = os.urandom(_NONCE_BYTES)
        slot = KeychainSlot(id=slot_id, created=int(time.time()), nonce=_encode(nonce), wrapped="", account=account)
        return self._sealed(master, self.epoch + 1, (*self.slots, _wrap(master, kek, slot)))

    def write(self, path: Path) -> None:
        """Write the file, then its backup copy; both atomically.

        Raises:
            VaultError: neither or only the first could be written; the old file or the new one is whole.
        """
        data = self._encoded(self._mac)
        replace_file(path, data)
        replace_file(path.with_name(path.name + BACKUP_SUFFIX), data)

    @classmethod
    def _sealed(cls, master: MasterKey, epoch: int, slots: tuple[Slot, ...]) -> "Keyslots":
        draft = cls(master.vault_id, epoch, slots, b"")
        return cls(master.vault_id, epoch, slots, master.authenticate("keyslots", draft._encoded(b"")))

    def _encoded(self, mac: bytes) -> bytes:
        file = _File(_FORMAT, VERSION, self.vault_id, self.epoch, list(self.slots), _encode(mac))
        return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"

    def _unwrap(self, slot: Slot, kek: bytes) -> MasterKey | None:
        try:
            secret = AESGCM(kek).decrypt(
                _decode(slot.nonce, _NONCE_BYTES),
                _decode(slot.wrapped, KEY_BYTES + 16),
                _binding(self.vault_id, slot),
            )
        except InvalidTag:
            return None
        master = MasterKey(secret, self.vault_id)
        self.prove(master)
        return master

    def prove(self, master: MasterKey) -> None:
        """Check that these are the slots that the holder of the master key wrote.

        Raises:
            KeyslotsDamaged: somebody else changed them.
        """
        if not hmac.compare_digest(self._mac, master.authenticate("keyslots", self._encoded(b""))):
            raise KeyslotsDamaged(
                "keyslots.json was changed by something else than this vault.",
                hint=f"Compare it with keyslots.json{BACKUP_SUFFIX} beside it, and put the good copy back.",
            )


def _wrap_passphrase(master: MasterKey, passphrase: str, cost: KdfCost) -> PassphraseSlot:
    if not passphrase:
        raise VaultError("A passphrase can't be empty.")
    salt = os.urandom(_SALT_BYTES)
    slot = PassphraseSlot(
        id=secrets.token_hex(4),
        created=int(time.time()),
        nonce=_encode(os.urandom(_NONCE_BYTES)),
        wrapped="",
        salt=_encode(salt),
        cost=cost,
    )
    return _wrap(master, stretch(passphrase, salt, cost), slot)


def _wrap(master: MasterKey, kek: bytes, slot: SlotKind) -> SlotKind:
    wrapped = AESGCM(kek).encrypt(
        _decode(slot.nonce, _NONCE_BYTES), master.expose(), _binding(master.vault_id, slot)
    )
    return msgspec.structs.replace(slot, wrapped=_encode(wrapped))


def _binding(vault_id: VaultId, slot: Slot) -> bytes:
    """Associated data: everything the slot says of itself, and the vault it opens."""
    return msgspec.json.encode([_FORMAT, VERSION, vault_id, msgspec.structs.replace(slot, wrapped="")])


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str, length: int) -> bytes:
    data = base64.b64decode(text, validate=True)
    if len(data) != length:
        raise ValueError(f"{length} bytes were expected, not {len(data)}")
    return data
