"""`claw vault`: one small module per sub-verb."""

import argparse
import importlib

from cli.console import Console

__all__ = ["SUBVERBS", "configure", "run"]

SUBVERBS: dict[str, str] = {
    "init": "make the vault",
    "status": "where everything lies, how large it is, and what opens it",
    "check": "verify all of it",
}
"""The sub-verbs and what each does; the module of one is `cli.vault.<sub-verb>`."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="vault_verb", metavar="VERB", required=True)
    for name, summary in SUBVERBS.items():
        child = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        importlib.import_module(f"cli.vault.{name}").configure(child)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb."""
    return int(importlib.import_module(f"cli.vault.{arguments.vault_verb}").run(arguments, console))
