"""`claw vault export`: everything in open formats, for a person to read and other programs to take."""

import argparse
from pathlib import Path

import msgspec

from cli.console import Console, counted, size
from cli.errors import UsageError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder that isn't there yet, or is empty")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--json", action="store_true")
    parser.epilog = "It is NOT encrypted. To keep a copy, `claw vault backup` is the safer way."


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Warn, ask, and write."""
    from cli.model_progress import showing_progress
    from cli.unlogged import say_if_unlogged
    from vault.portability.export import export

    if not arguments.yes:
        if not console.can_ask:
            raise UsageError(
                "Nobody can be asked whether everything may be written in the clear.",
                hint="To do it unasked: --yes",
            )
        console.say(
            f"Everything you said and attached will lie in {arguments.folder}, NOT ENCRYPTED:\n"
            "whoever can read that folder, or a copy of it, reads all of it."
        )
        if not console.confirm("Write it?"):
            console.say("Nothing was written.")
            return 1
    with console.open_vault() as vault:
        with showing_progress(console) as display:
            done = export(vault, arguments.folder, progress=display)
        say_if_unlogged(vault, console)
    if arguments.json:
        print(msgspec.json.encode({"folder": str(arguments.folder), **done._asdict()}).decode())
    else:
        console.say(
            f"{counted(done.conversations, 'conversation')} and all else ({size(done.bytes)}) lie in the clear in "
            f"{arguments.folder}.\nIts README.md says what is what. Delete it when you are done."
        )
    return 0
