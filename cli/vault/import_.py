"""`claw vault import`: take in an export of ours, a `conversations.json`, or an export of ChatGPT."""

import argparse
from pathlib import Path

from cli.console import Console

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument(
        "path", type=Path, metavar="FILE", help="our export's folder, a conversations.json, or ChatGPT's archive"
    )
    parser.add_argument("--json", action="store_true")
    parser.epilog = "All of it is taken, or nothing. What is here already is left as it is."


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Take it in, and say what became of it."""
    from cli.model_progress import showing_progress
    from cli.vault.merged import say_merged
    from vault.portability.imports import import_path

    with console.open_vault() as vault, showing_progress(console) as display:
        taken = import_path(vault, arguments.path, progress=display)
    say_merged(console, taken.merged, taken.skipped, taken.empty, as_json=arguments.json)
    return 0
