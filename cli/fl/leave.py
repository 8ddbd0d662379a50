"""`claw fl leave`: withdraw everything that was agreed to of a federation, and forget this device's key there."""

import argparse

from cli.console import Console, counted
from cli.errors import UsageError

__all__ = ["configure", "run"]

_EPILOG = """\
What was summed before stays in the sums: nobody can take one device's part out
of them. What your skills learned from releases stays, until you delete it
(`claw skill adapters`). The federation knows the device's public key and when it
took part; its operator can erase that (`claw-orchestrator device erase`).
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument(
        "federation", nargs="?", metavar="FEDERATION", help="its name, or its id; the only one if not given"
    )
    parser.add_argument(
        "--forget",
        action="store_true",
        help="remove, too, what you agreed to and took part in; what that cost in privacy is forgotten with it",
    )
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Ask, leave."""
    from fl_client.participation.membership import Membership
    from vault.federation_store import find_federation

    with console.open_vault() as vault:
        membership = Membership(vault)
        federation = find_federation(membership.store.all(), arguments.federation)
        if not arguments.yes:
            if not console.can_ask:
                raise UsageError("Nobody can be asked whether you want that.", hint="To leave unasked: --yes")
            if not console.confirm(f"Leave {federation.name}, and forget this device's key there?"):
                console.say("Nothing was changed.")
                return 1
        held = membership.leave(federation, forget=arguments.forget)
    console.say(f"{counted(held, 'consent')} withdrawn. This device doesn't belong to {federation.name} any more.")
    return 0
