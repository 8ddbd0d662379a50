"""`claw vault backup`: everything, encrypted, in one file."""

import argparse
import shlex
from pathlib import Path

import msgspec

from cli.console import Console, counted, size

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    from cli.vault.backup_keys import add_passphrase_file

    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--recipient",
        action="append",
        default=[],
        metavar="age1…",
        help="encrypt it to this recipient of age, instead of by a passphrase; may be given several times",
    )
    add_passphrase_file(parser)
    parser.add_argument("--replace", action="store_true", help="put it in the place of a backup that is there")
    parser.add_argument("--json", action="store_true")
    parser.epilog = (
        "The file is one of age (age-encryption.org), its contents are JSON lines: `age -d FILE` shows them "
        "without this program. It holds everything but the keys of the vault and the weights of models."
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the backup."""
    from cli.model_progress import showing_progress
    from cli.unlogged import say_if_unlogged
    from cli.vault.backup_keys import sealer
    from vault.portability.backup import back_up

    with console.open_vault() as vault:
        encrypts = sealer(console, arguments.recipient, arguments.backup_passphrase_file)
        with showing_progress(console) as display:
            done = back_up(vault, arguments.file, encrypts, replace=arguments.replace, progress=display)
        say_if_unlogged(vault, console)
    if arguments.json:
        print(msgspec.json.encode({"file": str(arguments.file), **done._asdict()}).decode())
    else:
        console.say(f"{counted(done.rows, 'record')}, encrypted in {arguments.file} ({size(done.bytes)}).")
        file = shlex.quote(str(arguments.file.absolute()))
        console.say(f"Try it: CLAW_HOME=$(mktemp -d) claw vault restore {file} makes a vault of it elsewhere.")
    return 0
