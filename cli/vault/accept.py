"""`claw vault accept`: take the vault as it lies there, though it isn't what was last written."""

import argparse

from cli.console import Console
from cli.errors import UsageError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.epilog = (
        "For when you put older files there yourself. If you didn't, somebody else did, or the disk lost writes: "
        "restore your newest backup instead."
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Show the alarm, ask, and open the vault for writing again."""
    with console.open_vault() as vault:
        if not vault.alarm:
            console.say("The vault is the one that was last written; there is nothing to accept.")
            return 0
        if not arguments.yes:
            if not console.can_ask:
                raise UsageError(
                    "Nobody can be asked whether the vault is to be taken as it is.",
                    hint="To take it unasked: --yes",
                )
            if not console.confirm("Take it as it is? Whatever is missing stays missing."):
                console.say("Nothing was changed.")
                return 1
        vault.accept().close()
    console.say("The vault is open for writing again. That you accepted it stands in its log.")
    return 0
