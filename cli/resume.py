"""`claw resume`: end a pause."""

import argparse

from cli.console import Console
from cli.pause import tell_log
from vault.pause import PauseLatch

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments: none."""
    parser.epilog = "A vault that was locked stays locked."


def run(arguments: argparse.Namespace, console: Console) -> int:  # noqa: ARG001  every verb is called alike
    """End the pause.

    Raises:
        VaultError: the file can't be changed; everything stays paused then.
    """
    if PauseLatch(console.home).release("claw resume"):
        console.say("Resumed.")
        tell_log(console)
    else:
        console.say("Nothing was paused.")
    return 0
