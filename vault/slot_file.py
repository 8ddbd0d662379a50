"""The bytes of `keyslots.json`, in its two versions.

Version 1 knew slots alone that wrap the master key under their secret. Version 2 has slots that a new master key
can be put into, and keeps a slot of version 1 as it is until somebody opens it.
"""

import contextlib
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from vault.durable import replace_file
from vault.errors import KeyslotsDamaged, NoVault, VaultError, VersionTooNew
from vault.keys import VaultId
from vault.slot_kinds import (
    TAG_BYTES,
    Base64,
    RotatableSlot,
    Slot,
    SymmetricSlot,
    check_lengths,
    decode,
    encode,
)
from vault.wrapping import FORMAT

__all__ = ["BACKUP_SUFFIX", "MAX_SLOTS", "VERSION", "SlotFile"]

VERSION = 2
MAX_SLOTS = 32
BACKUP_SUFFIX = ".backup"
_MAX_BYTES = 1 << 20

_Vault = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Epoch = Annotated[int, Meta(ge=1)]
_AtMost = Meta(max_length=MAX_SLOTS)


class _Version1(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    version: int
    vault: _Vault
    epoch: _Epoch
    slots: Annotated[list[SymmetricSlot], _AtMost]
    mac: Base64


class _Version2(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    version: int
    vault: _Vault
    epoch: _Epoch
    slots: Annotated[list[RotatableSlot], _AtMost]
    symmetric: Annotated[list[SymmetricSlot], _AtMost]
    mac: Base64


class SlotFile(NamedTuple):
    """What the file says.

    Attributes:
        version: 1 or 2.
        vault_id: The vault it opens.
        epoch: Counts its changes, from 1.
        slots: At least one; the symmetric ones last.
        mac: HMAC under the master key, over the file with no MAC in it.
    """

    version: int
    vault_id: VaultId
    epoch: int
    slots: tuple[Slot, ...]
    mac: bytes

    @classmethod
    def read(cls, path: Path) -> "SlotFile":
        """Read the file.

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
    def parse(cls, data: bytes, *, described: str, mend: str = "") -> "SlotFile":
        """Parse the file's bytes; errors as in `read`."""
        try:
            if len(data) > _MAX_BYTES:
                raise ValueError("it is too large")
            header = msgspec.json.decode(data, type=dict[str, object])
            if header.get("format") != FORMAT:
                raise ValueError("it names another format")
            version = header.get("version")
            if isinstance(version, int) and version > VERSION:
                raise VersionTooNew(
                    f"{described} was written by a newer version of OpenClaw Core.", hint="Update this one."
                )
            return _parse(data, version)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise KeyslotsDamaged(f"{described} is damaged: it doesn't parse as key slots.", hint=mend) from error

    def encoded(self) -> bytes:
        """The file's bytes."""
        symmetric = [slot for slot in self.slots if isinstance(slot, SymmetricSlot)]
        head = (FORMAT, self.version, self.vault_id, self.epoch)
        file: _Version1 | _Version2
        if self.version == 1:
            file = _Version1(*head, symmetric, encode(self.mac))
        else:
            rotatable = [slot for slot in self.slots if isinstance(slot, RotatableSlot)]
            file = _Version2(*head, rotatable, symmetric, encode(self.mac))
        return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"

    def write(self, path: Path) -> None:
        """Write the file, then its backup copy; both atomically.

        A copy that can't be written is left for the next opening, which mends it: what the file says is done.

        Raises:
            VaultError: the file could not be written; the old one or the new one is whole.
        """
        data = self.encoded()
        replace_file(path, data)
        with contextlib.suppress(VaultError):
            replace_file(path.with_name(path.name + BACKUP_SUFFIX), data)


def _parse(data: bytes, version: object) -> SlotFile:
    slots: tuple[Slot, ...]
    file: _Version1 | _Version2
    if version == 1:
        file = msgspec.json.decode(data, type=_Version1)
        slots = tuple(file.slots)
    else:
        file = msgspec.json.decode(data, type=_Version2)
        slots = (*file.slots, *file.symmetric)
    if file.version not in (1, VERSION):
        raise ValueError("there was never such a version")
    if not 1 <= len(slots) <= MAX_SLOTS:
        raise ValueError("it has no slots, or too many")
    if len({slot.id for slot in slots}) != len(slots):
        raise ValueError("two slots share an id")
    for slot in slots:
        check_lengths(slot)
    return SlotFile(file.version, VaultId(file.vault), file.epoch, slots, decode(file.mac, TAG_BYTES))
