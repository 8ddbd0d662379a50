"""`claw vault lock`: nobody opens the vault any more before its owner has unlocked it; and how that stands now."""

import argparse
import math

import msgspec

from cli.console import Console

__all__ = ["LockState", "configure", "lock_line", "lock_state", "run"]


class LockState(msgspec.Struct, frozen=True):
    """Whether the vault opens without a question.

    Attributes:
        locked: The person locked it, and has not unlocked it since.
        held: A process holds its key for later commands.
        left_s: Seconds until that lets it go if no command comes; `None` for no such limit.
    """

    locked: bool
    held: bool = False
    left_s: float | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments: none."""
    parser.epilog = (
        "The held key is wiped, and every `claw` that has the vault open closes it within a second. Until you "
        "unlock it, the keychain doesn't open it: that takes the passphrase, recovery shares, the hardware token, "
        "or your yes to `claw vault unlock`. By itself the vault locks after vault.auto_lock_minutes without use "
        "and when the machine sleeps; then the keychain, where there is such a slot, still opens it unasked."
    )


def run(arguments: argparse.Namespace, console: Console) -> int:  # noqa: ARG001  every sub-verb is called alike
    """Lock.

    Raises:
        NoVault: there is none.
        VaultError: it can't be locked for good; the held key is wiped all the same.
    """
    from vault.errors import NoVault
    from vault.lock import lock_vault

    if not console.home.vault.exists():
        raise NoVault("There is no vault here yet.", hint="Start `claw`, or run `claw vault init`.")
    lock_vault(console.home)
    console.say("The vault is locked. `claw vault unlock` opens it again.")
    return 0


def lock_state(console: Console) -> LockState:
    """How it stands, without opening anything or keeping a key longer."""
    from vault.holder import KeyHolder
    from vault.lock import LockLatch

    if LockLatch(console.home.data).engaged:
        return LockState(locked=True)
    held = KeyHolder(console.home).status()
    return LockState(locked=False, held=held is not None, left_s=held.left_s if held else None)


def lock_line(state: LockState) -> str:
    """The same in a few words."""
    if state.locked:
        return "locked by you; `claw vault unlock` opens it"
    if not state.held:
        return "locked: the next command opens it anew"
    if state.left_s is None:
        return "unlocked until you lock it"
    minutes = math.ceil(state.left_s / 60)
    return f"unlocked for {minutes} more minute{'s' * (minutes != 1)}"
