"""What a person is told when something was taken out of a vault that takes no entry of it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.console import Console
    from vault.store import Vault

__all__ = ["say_if_unlogged"]


def say_if_unlogged(vault: "Vault", console: "Console") -> None:
    """Say that a departure couldn't be logged, where the vault is open for reading alone."""
    if vault.alarm:
        console.say("That could not be logged: the vault is open for reading alone.")
