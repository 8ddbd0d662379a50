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
    ├── DatabaseDamaged       exit 6
    │   └── PlaintextDatabase
    ├── VersionTooNew
    ├── DiskFull
    ├── NotFound              exit 2: no such session, message or model
    ├── FrameError            a peer process broke the framing
    └── EgressError           something that should leave or arrive didn't
        ├── EgressRefused     our own rules forbid it
        └── VerificationFailed  exit 6: the bytes aren't those that were promised
"""

from typing import ClassVar

__all__ = [
    "ClawError",
    "DatabaseDamaged",
    "DiskFull",
    "EgressError",
    "EgressRefused",
    "FrameError",
    "HomeNotWritable",
    "KeychainError",
    "KeychainLocked",
    "KeyslotsDamaged",
    "Locked",
    "NoKeychain",
    "NoVault",
    "NotFound",
    "PassphraseFileRefused",
    "PassphraseMissing",
    "PlaintextDatabase",
    "SettingsError",
    "VaultError",
    "VaultExists",
    "VerificationFailed",
    "VersionTooNew",
    "WrongPassphrase",
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


class KeyslotsDamaged(VaultError):
    """`keyslots.json` can't be read, or isn't the one this vault wrote."""

    exit_code = 6


class DatabaseDamaged(VaultError):
    """The database file is missing, damaged, or not this vault's."""

    exit_code = 6


class PlaintextDatabase(DatabaseDamaged):
    """An unencrypted SQLite file lies where the vault's database should be."""


class VersionTooNew(VaultError):
    """A file was written by a newer version than this one."""


class DiskFull(VaultError):
    """The disk has no room for what was to be written."""


class NotFound(VaultError):
    """No session, message or model goes by that name."""

    exit_code = 2


class FrameError(VaultError):
    """A process of ours sent bytes that are no frame of the protocol."""


class EgressError(VaultError):
    """A transfer through the one door out did not succeed."""


class EgressRefused(EgressError):
    """The door's own rules forbid the transfer."""


class VerificationFailed(EgressError):
    """What arrived isn't what was promised."""

    exit_code = 6
