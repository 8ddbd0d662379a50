"""`claw pause`: nothing is sent and nothing learns until `claw resume`, also after a restart. Needs no key."""

import argparse

from cli.console import Console
from vault.errors import NoVault, VaultError
from vault.pause import PauseLatch

__all__ = ["configure", "run", "tell_log"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--lock", action="store_true", help="lock the vault as well")
    parser.epilog = "What is under way stops within a second; what has arrived of a download is kept."


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Pause, and lock if that is wanted too, whether or not the other could be done.

    Raises:
        VaultError: the pause can't be written down, so that nothing is paused; or the vault can't be locked.
    """
    locks = arguments.lock and console.home.vault.exists()
    try:
        _pause(console)
    finally:
        if locks:
            from cli.vault import lock

            lock.run(arguments, console)
    if not locks:
        # A vault that is to be locked isn't opened for its log: whoever holds it just then would put off the lock.
        tell_log(console)
    return 0


def _pause(console: Console) -> None:
    if PauseLatch(console.home).engage("claw pause"):
        console.say("Paused: nothing is sent, and nothing learns. `claw resume` ends it.")
    else:
        console.say("It was paused already. `claw resume` ends it.")


def tell_log(console: Console) -> None:
    """Have the transparency log take it down now, if the vault opens without a question."""
    try:
        console.open_vault(ask=False).close()
    except NoVault:
        return
    except VaultError as error:
        console.say(f"It will be logged when the vault next opens. {error.message}")
