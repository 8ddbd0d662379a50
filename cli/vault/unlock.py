"""`claw vault unlock`: open the vault once, so that the commands after it need no question."""

import argparse
import sys
from typing import TYPE_CHECKING

from cli.console import Console
from cli.errors import UsageError
from cli.unlocking import LATCHED, Unlocking
from cli.vault.slot_prompts import PIN_FILE, ready_token, typed_shares
from vault.errors import KeychainError, NotFound

if TYPE_CHECKING:
    from vault.keyslots import Keyslots
    from vault.settings import VaultSettings
    from vault.store import Vault

__all__ = ["configure", "run"]

_MOST_SHARES_BYTES = 1 << 16
"""Many times what all shares of a set take."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--recovery", action="store_true", help="open it with recovery shares, typed here or one a line on stdin"
    )
    how.add_argument(
        "--hardware",
        nargs="?",
        const="",
        metavar="TOKEN",
        help=f"open it with a hardware token; its PIN is asked for, or read from the file that {PIN_FILE} names",
    )
    parser.epilog = (
        "Without an option: by the passphrase file that was named; else by the keychain, which after "
        "`claw vault lock` takes your yes; else by the passphrase. The key is then held in a process of its own "
        "until vault.auto_lock_minutes have passed without a command, the machine sleeps, or you lock the vault."
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Unlock.

    Raises:
        Locked: nothing opened the vault.
        VaultError: it is damaged, or the key can't be held here.
    """
    from vault.keyslots import Keyslots
    from vault.lock import LockLatch, LockLimits
    from vault.memory import harden_process

    harden_process()
    slots = Keyslots.read(console.home.keyslots)
    latch = LockLatch(console.home.data)
    if arguments.recovery:
        vault = _by_shares(slots, console)
    elif arguments.hardware is not None:
        vault = _by_token(slots, console, arguments.hardware)
    else:
        vault = _by_usual_ways(slots, console, locked=latch.engaged)
    with vault:
        latch.release()
        vault.hold(LockLimits.of(console.settings.vault))
        console.ready(vault)
    console.say(f"The vault is unlocked {_until(console.settings.vault)}.")
    return 0


def _by_usual_ways(slots: "Keyslots", console: Console, *, locked: bool) -> "Vault":
    unlocking = Unlocking(console, slots)
    if console.passphrase_file is not None:
        return unlocking.by_file()
    if not locked:
        vault, why = unlocking.unasked()
        return vault or unlocking.by_asking(why)
    if slots.has_keychain and console.confirm("Open it with the keychain?"):
        try:
            return unlocking.by_keychain()
        except KeychainError as error:
            return unlocking.by_asking(error.message)
    return unlocking.by_asking("" if console.can_ask_passphrase else LATCHED)


def _by_shares(slots: "Keyslots", console: Console) -> "Vault":
    from vault.attempts import FailedUnlocks
    from vault.slot_kinds import RecoverySlot
    from vault.store import Vault

    if not any(isinstance(slot, RecoverySlot) for slot in slots.slots):
        raise NotFound("This vault has no recovery shares.", hint="`claw vault slots` lists what it has.")
    shares = typed_shares(console) if console.can_ask else _piped_shares()
    with FailedUnlocks(console.home).counting():
        opening = slots.open_with_shares(shares)
    return Vault.open_by(console.home, opening, keychain=Unlocking(console, slots).keychain)


def _piped_shares() -> list[str]:
    data = sys.stdin.buffer.read(_MOST_SHARES_BYTES + 1)
    if len(data) > _MOST_SHARES_BYTES:
        raise UsageError("Standard input holds more than recovery shares.", hint="Give one share a line.")
    return [line.decode("utf-8", "replace") for line in data.split(b"\n") if line.strip()]


def _by_token(slots: "Keyslots", console: Console, label: str) -> "Vault":
    from vault.attempts import FailedUnlocks
    from vault.slot_kinds import HardwareSlot
    from vault.store import Vault

    labels = sorted({slot.token for slot in slots.slots if isinstance(slot, HardwareSlot)})
    if not labels:
        raise NotFound("This vault has no slot for a hardware token.", hint="`claw vault slots` lists what it has.")
    if not label and len(labels) > 1:
        raise UsageError("Several tokens open this vault.", hint=f"Name one: --hardware {labels[0]}")
    label = label or labels[0]
    token = ready_token(console, label)
    with FailedUnlocks(console.home).counting():
        opening = slots.open_with_hardware(token)
    return Vault.open_by(console.home, opening, keychain=Unlocking(console, slots).keychain)


def _until(settings: "VaultSettings") -> str:
    ends = ["you lock it"]
    if settings.lock_on_suspend:
        ends.insert(0, "the machine sleeps")
    if minutes := settings.auto_lock_minutes:
        ends.insert(0, f"{minutes} minute{'s' * (minutes != 1)} pass without a command")
    *others, last = ends
    return f"until {', '.join(others)} or {last}" if others else f"until {last}"
