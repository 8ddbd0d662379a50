"""How a command comes to an open vault: by the file that was named, by what needs no question, or by asking.

In this order: the passphrase file; the key that is held since the vault was last unlocked; the keychain; the
person. After `claw vault lock` neither the held key nor the keychain opens it before the person has unlocked it.
"""

import contextlib
import time
from functools import cached_property
from typing import TYPE_CHECKING

from vault.errors import (
    KeychainError,
    KeyslotsDamaged,
    KeysRenewed,
    Locked,
    PassphraseMissing,
    VaultError,
    WrongPassphrase,
)
from vault.lock import LockLatch, LockLimits

if TYPE_CHECKING:
    from cli.console import Console
    from vault.keychain import Keychain
    from vault.keyslots import Keyslots
    from vault.store import Vault

__all__ = ["LATCHED", "Unlocking", "hold_if_possible"]

LATCHED = "You locked it with `claw vault lock`."
_TRIES = 3
_RENEWED_WITHIN_S = 5.0
_ASK_AGAIN_S = 0.1


class Unlocking:
    """The opening of one vault.

    Args:
        console: The run of the command.
        slots: The vault's.
    """

    def __init__(self, console: "Console", slots: "Keyslots") -> None:
        self._console = console
        self._home = console.home
        self._slots = slots
        self._latch = LockLatch(console.home.data)

    def open(self, *, ask: bool = True) -> "Vault":
        """Open the vault for a command.

        Args:
            ask: Ask the person where nothing else opens it.

        Raises:
            Locked: nothing opened it.
            VaultError: it is damaged, or can't be read.
        """
        if self._console.passphrase_file is not None:
            return self.by_file()
        vault, why = self.unasked()
        if vault is not None:
            return vault
        if not ask:
            raise Locked(why or "The vault is locked.", hint="`claw vault unlock` opens it.")
        vault = self.by_asking(why)
        self._latch.release()
        hold_if_possible(vault, self._console)
        return vault

    @cached_property
    def keychain(self) -> "Keychain | None":
        """The desktop's keychain, if this vault uses it and it answers: it remembers the newest state."""
        from vault.keychain import SystemKeychain

        if self._slots.has_keychain:
            with contextlib.suppress(KeychainError):
                return SystemKeychain()
        return None

    def by_file(self) -> "Vault":
        """Open it by the passphrase file that was named.

        Raises:
            PassphraseFileRefused: the file can't be used.
            WrongPassphrase: what it says opens nothing.
        """
        from vault.attempts import FailedUnlocks
        from vault.passphrase import read_passphrase_file
        from vault.store import Vault

        assert self._console.passphrase_file is not None
        try:
            passphrase = read_passphrase_file(self._console.passphrase_file)
            with FailedUnlocks(self._home).counting():
                return Vault.open_with_passphrase(self._home, passphrase, keychain=self.keychain)
        except WrongPassphrase as error:
            raise WrongPassphrase(
                f"The passphrase in {self._console.passphrase_file} doesn't open this vault.",
                hint=f"Name the right file, or none: then you are asked. {error.hint}".rstrip(),
            ) from None

    def by_keychain(self) -> "Vault":
        """Open it by the keychain.

        Raises:
            KeychainError: there is none, or it doesn't open it.
        """
        from vault.keychain import SystemKeychain
        from vault.store import Vault

        return Vault.open_with_keychain(self._home, SystemKeychain())

    def by_asking(self, why: str) -> "Vault":
        """Open it by a passphrase that somebody types.

        Args:
            why: Why nothing else did, as a sentence; may be empty.

        Raises:
            PassphraseMissing: there is nobody to ask, or they leave.
            WrongPassphrase: they don't know it.
            Locked: this vault has no passphrase.
        """
        from vault.attempts import FailedUnlocks
        from vault.slot_kinds import kind_of
        from vault.store import Vault

        console = self._console
        if not any(kind_of(slot) == "passphrase" for slot in self._slots.slots):
            raise Locked(
                f"{why} The vault is locked, and has no passphrase.".strip(),
                hint="Open it with `claw vault unlock --recovery` or `claw vault unlock --hardware`.",
            )
        if not console.can_ask_passphrase:
            first = "Run `claw vault unlock` in a terminal" if why == LATCHED else "Unlock the keychain"
            raise PassphraseMissing(
                f"{why} The vault is locked, and nobody can be asked for its passphrase.".strip(),
                hint=f"{first}, or name a file: --passphrase-file FILE or CLAW_PASSPHRASE_FILE.",
            )
        if why:
            console.say(why)
        for left in range(_TRIES - 1, -1, -1):
            try:
                passphrase = console.typed_secret("Passphrase: ")
                with FailedUnlocks(self._home).counting():
                    return Vault.open_with_passphrase(self._home, passphrase, keychain=self.keychain)
            except WrongPassphrase as error:
                if not left:
                    raise
                console.say(error.message)
        raise AssertionError("unreachable")

    def unasked(self) -> "tuple[Vault | None, str]":
        """Open it by what needs no question; where nothing does, why, as a sentence that may be empty."""
        if self._latch.engaged:
            return None, LATCHED
        vault, why = self._by_holder(), ""
        if vault is None and self._slots.has_keychain:
            try:
                vault = self.by_keychain()
            except KeychainError as error:
                why = error.message
        if vault is not None and self._latch.stamp() is not None:  # locked while we opened it
            vault.close()
            return None, LATCHED
        return vault, why

    def _by_holder(self) -> "Vault | None":
        from vault.holder import KeyHolder
        from vault.store import Vault

        holder = KeyHolder(self._home)
        give_up: float | None = None
        while give_up is None or time.monotonic() < give_up:
            try:
                master = holder.key(self._slots.vault_id)
            except VaultError as error:  # somebody else answered: worth knowing, no reason to leave the person out
                self._console.say(f"{error.message} {error.hint}")
                return None
            if master is None and give_up is None:
                return None
            if master is not None:
                try:
                    return Vault.open_with_master(
                        self._home, master, "holder", keychain=self.keychain, slots_epoch=self._slots.epoch
                    )
                except KeysRenewed:  # whoever renewed them is about to have the new one held
                    give_up = give_up or time.monotonic() + _RENEWED_WITHIN_S
                except KeyslotsDamaged:  # other slots than this key's: to be told by what opens them
                    with contextlib.suppress(VaultError):
                        holder.end()
                    return None
            time.sleep(_ASK_AGAIN_S)
        return None


def hold_if_possible(vault: "Vault", console: "Console") -> None:
    """Have the key held for later commands, if the settings say so; say so where that fails, and go on."""
    from vault.holder import KeyHolder

    if console.settings.vault.hold_key and KeyHolder.POSSIBLE:
        try:
            vault.hold(LockLimits.of(console.settings.vault))
        except VaultError as error:
            console.say(f"The next command will ask for the passphrase again. {error.message}")
