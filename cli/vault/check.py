"""`claw vault check`: verify the whole vault."""

import argparse

from cli.console import Console
from vault.errors import DatabaseDamaged

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments: none."""


def run(arguments: argparse.Namespace, console: Console) -> int:  # noqa: ARG001  every sub-verb is called alike
    """Check every page.

    Raises:
        DatabaseDamaged: something isn't whole.
    """
    with console.open_vault() as vault:
        if errors := vault.integrity_errors():
            raise DatabaseDamaged(
                f"The vault is damaged: {errors[0]} ({len(errors)} findings).",
                hint="Restore it from a backup, and check the disk.",
            )
    console.say("Every page of the vault is whole.")
    return 0
