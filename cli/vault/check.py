"""`claw vault check`: verify the whole vault, and name everything that is wrong with it."""

import argparse
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console
from cli.working import Working
from vault.errors import DatabaseDamaged, RolledBack
from vault.sanitize import sanitize

if TYPE_CHECKING:
    from vault.check import Checked

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Check everything.

    Raises:
        DatabaseDamaged: something isn't whole.
        RolledBack: it is whole, and not what was last written.
    """
    from vault.check import check_vault
    from vault.guard import ACCEPT

    with console.open_vault() as vault, Working(console, "checking") as progress:
        checked, alarm = check_vault(vault, progress), vault.alarm
    if arguments.json:
        print(msgspec.json.encode([_as_json(part) for part in checked]).decode())
    else:
        for part in checked:
            _print(part)
    if alarm and [part.part for part in checked if part.wrong] == ["anchor"]:
        raise RolledBack(alarm, hint=ACCEPT)
    if wrong := [finding for part in checked for finding in part.wrong]:
        raise DatabaseDamaged(
            f"The vault is damaged: {wrong[0].rstrip('.')}{f' ({len(wrong)} findings)' if len(wrong) > 1 else ''}.",
            hint="Nothing was changed. Restore it from a backup (`claw vault restore`), and check the disk.",
        )
    if not arguments.json:
        console.say("Everything in the vault is whole.")
    return 0


def _print(part: "Checked") -> None:
    if not part.wrong:
        print(f"ok     {part.part}{f': {part.seen}' if part.seen else ''}")
    for finding in part.wrong:
        print(f"WRONG  {part.part}: {sanitize(finding)}")


def _as_json(part: "Checked") -> dict[str, object]:
    return {"part": part.part, "ok": not part.wrong, "wrong": part.wrong, "seen": part.seen}
