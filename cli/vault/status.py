"""`claw vault status`: where everything lies, how large it is, and what opens it."""

import argparse

import msgspec

from cli.console import Console, size

__all__ = ["configure", "describe", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print what can be said of the vault."""
    _status(console, as_json=arguments.json)
    return 0


def describe(console: Console) -> dict[str, object]:
    """What can be said of the vault without opening it."""
    from vault.errors import ClawError
    from vault.keyslots import Keyslots

    home = console.home
    found: dict[str, object] = {
        "folder": str(home.vault),
        "exists": home.vault.exists(),
        "slots": [],
        "bytes": 0,
    }
    if home.vault.exists():
        found["bytes"] = sum(file.stat().st_size for file in home.vault.iterdir() if file.is_file())
        try:
            slots = Keyslots.read(home.keyslots).slots
            found["slots"] = [str(msgspec.to_builtins(slot)["kind"]) for slot in slots]
        except ClawError as error:
            found["problem"] = error.message
        if not home.database.exists():
            found["problem"] = f"The database {home.database.name} is missing; restore it from a backup."
    return found


def _status(console: Console, *, as_json: bool) -> None:
    found = describe(console)
    if as_json:
        print(msgspec.json.encode(found).decode())
        return
    if not found["exists"]:
        print(f"There is no vault in {found['folder']} yet.")
        return
    slots = found["slots"]
    print(f"folder   {found['folder']}\nsize     {size(float(str(found['bytes'])))}")
    if isinstance(slots, list) and slots:
        print(f"opens by {', '.join(slots)}")
    if "problem" in found:
        print(f"PROBLEM  {found['problem']}")
