"""`claw vault init`: make the vault."""

import argparse

from cli.console import Console
from vault.errors import VaultExists

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments: none."""


def run(arguments: argparse.Namespace, console: Console) -> int:  # noqa: ARG001  every sub-verb is called alike
    """Make the vault, unless there is one."""
    if console.home.vault.exists():
        raise VaultExists(f"A vault already lies in {console.home.vault}.", hint="`claw status` says more.")
    console.create_vault().close()
    return 0
