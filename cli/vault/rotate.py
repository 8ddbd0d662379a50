"""`claw vault rotate`: a new master key, and everything encrypted anew under it."""

import argparse
import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cli.console import Console
from cli.unlocking import Unlocking

if TYPE_CHECKING:
    from vault.log.entries import Entry, Status
    from vault.store import Vault

__all__ = ["configure", "rotate_if_due", "run"]

_DAY_MS = 86_400_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments: none."""
    parser.epilog = (
        "Passphrase, keychain, recovery shares and hardware token stay as they are. "
        "It needs as much free room as the vault takes."
    )


def run(arguments: argparse.Namespace, console: Console) -> int:  # noqa: ARG001  every sub-verb is called alike
    """Rotate the keys.

    Raises:
        VaultError: it can't be done now; the vault is as it was.
    """
    rotate(console.open_vault(), console).close()
    console.say("The vault has new keys. Everything that opened it before still does.")
    return 0


def rotate_if_due(vault: "Vault", console: Console) -> "Vault":
    """Rotate where `vault.rotate_days` says that it's time; the vault to go on with."""
    days = console.settings.vault.rotate_days
    if not days or vault.alarm or vault.rotated_ms > time.time_ns() // 1_000_000 - days * _DAY_MS:
        return vault
    console.say(f"The vault's keys are older than {days} days (vault.rotate_days); rotating them.")
    return rotate(vault, console)


def rotate(vault: "Vault", console: Console) -> "Vault":
    """Rotate the keys of an open vault, which is closed by it; the same vault, open under its new key.

    Raises:
        VaultError: it can't be done now; the vault is as it was.
    """
    from vault.classes import DataClass
    from vault.errors import VaultError
    from vault.holder.client import KeyHolder
    from vault.lock import LockLimits
    from vault.log.entries import Action, Entry, Status
    from vault.store import Vault

    def entry(status: Status, about: int | None = None) -> Entry:
        return Entry(
            action=Action.ROTATE,
            purpose="key rotation",
            data_class=DataClass.TOP_SECRET,
            description="master key and database key",
            status=status,
            about=about,
            sensitive=True,
        )

    keychain, made_ms = vault.keychain, vault.rotated_ms
    begun: int | None = None
    try:
        with vault:
            begun = vault.log.append(entry(Status.PREPARED))
            fresh = vault.rotate(lambda step: console.say(f"  {step} …"))
    except BaseException:
        if begun is not None and not vault.watch.locked:
            about = begun
            _log_outcome(console, made_ms, lambda status: entry(status, about))
        raise
    holder = KeyHolder(console.home)
    if holder.status() is not None:  # what it holds is the old key
        try:
            holder.start(fresh, LockLimits.of(console.settings.vault))
        except VaultError as error:
            console.say(f"The next command will ask for the passphrase again. {error.message}")
    renewed = Vault.open_with_master(console.home, fresh, "rotation", keychain=keychain)
    try:
        renewed.log.append(entry(Status.DONE, about=begun))
    except BaseException:
        renewed.close()
        raise
    return renewed


def _log_outcome(console: Console, made_ms: int, entry: "Callable[[Status], Entry]") -> None:
    """Log what became of a rotation that was broken off, which has closed the vault.

    Where nothing opens it unasked it stays prepared, as after a crash: nobody is asked for a passphrase for this.
    """
    from vault.errors import VaultError
    from vault.keyslots import Keyslots
    from vault.log.entries import Status

    with contextlib.suppress(VaultError):
        unlocking = Unlocking(console, Keyslots.read(console.home.keyslots))
        with unlocking.open(ask=False) as vault:
            # Broken off at the very end it may be done all the same: the opening then put the new files in place.
            vault.log.append(entry(Status.REFUSED if vault.rotated_ms == made_ms else Status.DONE))
