"""The errors of the vault, and the root that every error of the device shares.

ClawError                     something a person can act on; carries the exit code of the command
└── VaultError                exit 1
    ├── HomeNotWritable       the data folder can't be made or written
    ├── SettingsError         exit 2: config.toml is wrong
    ├── NoVault               exit 3: there is none yet
    ├── VaultExists           asked to make one where one is
    ├── Locked                exit 3
    │   ├── WrongPassphrase
    │   └── PassphraseMissing
    ├── KeychainError         exit 3: the OS keychain can't be used
    │   ├── NoKeychain
    │   └── KeychainLocked
    ├── PassphraseFileRefused exit 3: it is missing, open to others, empty or too large
    ├── KeyslotsDamaged       exit 6
    ├── KeysRenewed           another process rotated the keys while the vault was being opened: try again
    ├── DatabaseDamaged       exit 6
    │   ├── PlaintextDatabase
    │   └── RolledBack        the vault is older than its anchor says, or a part of it is: read-only
    ├── LogDamaged            exit 6: the transparency log isn't the one that was written
    ├── SecretKept            a value that must never be stored was about to be
    ├── RecoveryRefused       exit 3: recovery shares that don't open this vault
    │   └── SharesMissing     none was given: nothing was tried
    ├── HardwareError         exit 3: the hardware token can't be used
    │   └── WrongPin
    ├── LastSlot              the last way into the vault can't be taken away
    ├── Paused                exit 7: everything is paused
    ├── BackupRefused         exit 6: a backup that isn't whole, or isn't one
    ├── ImportRefused         exit 2: a folder or file that can't be imported, or a backup that can't be read
    ├── VersionTooNew
    ├── DiskFull
    ├── InUse                 another program holds the database for longer than anybody waits
    ├── NoteRefused           a note that is empty or too long, or one too many
    ├── NotFound              exit 2: no such session, message or model
    ├── FrameError            a peer process broke the framing
    └── EgressError           something that should leave or arrive didn't
        ├── EgressRefused     our own rules forbid it
        │   ├── ConsentMissing  exit 4: nobody agreed to it
        │   └── OverBudget    exit 5: more than this device may send in a day
        └── VerificationFailed  exit 6: the bytes aren't those that were promised
"""

from typing import ClassVar

__all__ = [
    "BackupRefused",
    "ClawError",
    "ConsentMissing",
    "DatabaseDamaged",
    "DiskFull",
    "EgressError",
    "EgressRefused",
    "FrameError",
    "HardwareError",
    "HomeNotWritable",
    "ImportRefused",
    "InUse",
    "KeychainError",
    "KeychainLocked",
    "KeysRenewed",
    "KeyslotsDamaged",
    "LastSlot",
    "Locked",
    "LogDamaged",
    "NoKeychain",
    "NoVault",
    "NotFound",
    "NoteRefused",
    "OverBudget",
    "PassphraseFileRefused",
    "PassphraseMissing",
    "Paused",
    "PlaintextDatabase",
    "RecoveryRefused",
    "RolledBack",
    "SecretKept",
    "SettingsError",
    "SharesMissing",
    "VaultError",
    "VaultExists",
    "VerificationFailed",
    "VersionTooNew",
    "WrongPassphrase",
    "WrongPin",
]


class ClawError(Exception):
    """An error whose text is meant for a person.

    Args:
        message: What happened, in one sentence, without private text.
        hint: What to do next; shown on a line of its own.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class VaultError(ClawError):
    """Root of everything the vault raises."""


class HomeNotWritable(VaultError):
    """The folder that holds the person's data can't be made or written."""


class SettingsError(VaultError):
    """`config.toml`, or a value meant for it, is wrong."""

    exit_code = 2


class NoVault(VaultError):
    """There is no vault in this home yet."""

    exit_code = 3


class VaultExists(VaultError):
    """A vault was to be made where one already is."""


class Locked(VaultError):
    """The vault is there but no key opened it."""

    exit_code = 3


class WrongPassphrase(Locked):
    """No passphrase slot opens with the passphrase given."""


class PassphraseMissing(Locked):
    """A passphrase is needed and there is nobody, and no file, to ask."""


class KeychainError(VaultError):
    """The OS keychain can't be used."""

    exit_code = 3


class NoKeychain(KeychainError):
    """No keychain of an accepted kind answers in this session."""


class KeychainLocked(KeychainError):
    """The keychain is there but locked."""


class PassphraseFileRefused(VaultError):
    """A passphrase file is missing, readable by others, empty or too large."""

    exit_code = 3


class KeysRenewed(VaultError):
    """The key that was to open the vault is of before a rotation that came in between."""


class KeyslotsDamaged(VaultError):
    """`keyslots.json` can't be read, or isn't the one this vault wrote."""

    exit_code = 6


class DatabaseDamaged(VaultError):
    """The database file is missing, damaged, or not this vault's."""

    exit_code = 6


class PlaintextDatabase(DatabaseDamaged):
    """An unencrypted SQLite file lies where the vault's database should be."""


class RolledBack(DatabaseDamaged):
    """The vault, or a part of it, is older than what was last written; it opens for reading alone."""


class LogDamaged(VaultError):
    """The transparency log was changed by something else than this vault."""

    exit_code = 6


class SecretKept(VaultError):
    """A value that may live in memory alone, or only encrypted, was about to be stored as it is."""


class RecoveryRefused(VaultError):
    """Recovery shares are wrong, too few, or another vault's."""

    exit_code = 3


class SharesMissing(RecoveryRefused):
    """Recovery shares are needed and none was given: nothing was tried."""


class HardwareError(VaultError):
    """The hardware token is missing, locked, or refuses."""

    exit_code = 3


class WrongPin(HardwareError):
    """The hardware token doesn't take the PIN given."""


class LastSlot(VaultError):
    """The last independent way into the vault was to be removed."""


class Paused(VaultError):
    """Everything is paused until the person resumes it."""

    exit_code = 7


class BackupRefused(VaultError):
    """A backup is cut off, altered, of another key, or no backup at all."""

    exit_code = 6


class ImportRefused(VaultError):
    """What was to be imported isn't something that can be, or a backup can't be read; nothing was taken."""

    exit_code = 2


class VersionTooNew(VaultError):
    """A file was written by a newer version than this one."""


class DiskFull(VaultError):
    """The disk has no room for what was to be written."""


class InUse(VaultError):
    """Another program holds the vault's database for longer than anybody waits."""


class NoteRefused(VaultError):
    """A note that is empty or too long, or one too many."""


class NotFound(VaultError):
    """No session, message or model goes by that name."""

    exit_code = 2


class FrameError(VaultError):
    """A process of ours sent bytes that are no frame of the protocol."""


class EgressError(VaultError):
    """A transfer through the one door out did not succeed."""


class EgressRefused(EgressError):
    """The door's own rules forbid the transfer."""


class ConsentMissing(EgressRefused):
    """Nobody has agreed to what was to be sent."""

    exit_code = 4


class OverBudget(EgressRefused):
    """The day's budget of bytes that may leave this device is spent."""

    exit_code = 5


class VerificationFailed(EgressError):
    """What arrived isn't what was promised."""

    exit_code = 6
