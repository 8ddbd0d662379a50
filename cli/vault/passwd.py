"""`claw vault passwd`: another passphrase in the place of the one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import Console
from cli.errors import UsageError
from vault.errors import NotFound

if TYPE_CHECKING:
    from vault.keyslots import Keyslots

__all__ = ["OLD_COPIES", "configure", "run"]

OLD_COPIES = "Old copies of keyslots.json, in your own backups say, open as before until `claw vault rotate`."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("slot", nargs="?", metavar="ID", help="the slot, where the vault has several passphrases")
    parser.add_argument(
        "--new-passphrase-file", type=Path, metavar="FILE", help="a 0600 file that holds the new passphrase"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Change the passphrase.

    Raises:
        NotFound: the vault has no such slot.
        PassphraseMissing: there is no new passphrase, and nobody to ask.
        VaultError: it is too short, or the slots can't be written; the old passphrase stays.
    """
    from cli.vault.slot_prompts import new_passphrase

    with console.open_vault() as vault:
        slot_id = arguments.slot or _only_passphrase(vault.slots.read())
        passphrase = new_passphrase(console, arguments.new_passphrase_file)
        vault.slots.change_passphrase(slot_id, passphrase)
    console.say(f"The vault opens by the new passphrase, and by the old one no more.\n{OLD_COPIES}")
    return 0


def _only_passphrase(slots: "Keyslots") -> str:
    from vault.slot_kinds import kind_of

    ids = [slot.id for slot in slots.slots if kind_of(slot) == "passphrase"]
    if not ids:
        raise NotFound("This vault has no passphrase.", hint="Add one: claw vault slots add passphrase")
    if len(ids) > 1:
        raise UsageError("The vault has several passphrases.", hint=f"Name the slot of one: {', '.join(ids)}")
    return ids[0]
