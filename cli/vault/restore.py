"""`claw vault restore`: a vault made of a backup, or a backup's contents added to the vault that is there."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, counted
from vault.errors import VaultExists

if TYPE_CHECKING:
    from vault.portability.age import Opener

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    from cli.vault.backup_keys import add_passphrase_file

    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--merge", action="store_true", help="add what isn't there to the vault that is there")
    parser.add_argument("--identity", type=Path, metavar="FILE", help="the identity file of age that opens it")
    add_passphrase_file(parser)
    parser.add_argument("--json", action="store_true")
    parser.epilog = (
        "All that is put in place is verified before. A vault made of the backup gets a passphrase of its own, and "
        "the log of the device that was backed up. With --merge, the vault keeps its own log, and what was erased "
        "since stays away."
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Restore."""
    from cli.vault.backup_keys import opener
    from vault.memory import harden_process

    harden_process()  # what opens the backup is a secret like what opens the vault
    if not arguments.merge and console.home.vault.exists():
        raise VaultExists(
            f"A vault already lies in {console.home.vault}; it was not touched.",
            hint="--merge adds what it doesn't hold. CLAW_HOME names another place for a new one.",
        )
    file: Path = arguments.file
    if arguments.merge:
        return _merge(arguments, console)
    opens = opener(console, file, arguments.identity, arguments.backup_passphrase_file)
    return _restore(file, opens, console, as_json=arguments.json)


def _restore(file: Path, opens: "Opener", console: Console, *, as_json: bool) -> int:
    from cli.model_progress import showing_progress
    from vault.database import Database
    from vault.portability.restore import fill_from_backup
    from vault.portability.stream import Contents

    restored: list[Contents] = []
    with showing_progress(console) as display:

        def fill(database: Database) -> None:
            restored.append(fill_from_backup(file, opens, display)(database))
            display.close()

        console.create_vault(fill).close()
    tables = {name: digest.rows for name, digest in restored[-1].tables.items()}
    if as_json:
        print(msgspec.json.encode({"made_ms": restored[-1].made_ms, "rows": tables}).decode())
    else:
        console.say(
            f"Restored: {counted(tables['sessions'], 'conversation')} with "
            f"{counted(tables['messages'], 'message')}, and the rest of "
            f"{sum(tables.values()):,} records. `claw model list` says which weights are to be pulled again."
        )
    return 0


def _merge(arguments: argparse.Namespace, console: Console) -> int:
    from cli.model_progress import showing_progress
    from cli.vault.backup_keys import opener
    from cli.vault.merged import say_merged
    from vault.portability.restore import merge_backup

    with console.open_vault() as vault:
        opens = opener(console, arguments.file, arguments.identity, arguments.backup_passphrase_file)
        with showing_progress(console) as display:
            merged = merge_backup(vault, arguments.file, opens, display)
    say_merged(console, merged, as_json=arguments.json)
    return 0
