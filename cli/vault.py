"""`claw vault`: make the vault, see how it is, check every page of it."""

import argparse

import msgspec

from cli.console import Console, size
from vault.errors import DatabaseDamaged, VaultExists

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="vault_verb", metavar="VERB", required=True)
    verbs.add_parser("init", help="make the vault")
    status = verbs.add_parser("status", help="where it lies, how large it is, and what opens it")
    status.add_argument("--json", action="store_true")
    verbs.add_parser("check", help="verify every page of it")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb."""
    match arguments.vault_verb:
        case "init":
            if console.home.vault.exists():
                raise VaultExists(f"A vault already lies in {console.home.vault}.", hint="`claw status` says more.")
            console.create_vault().close()
        case "status":
            _status(console, as_json=arguments.json)
        case "check":
            with console.open_vault() as vault:
                if errors := vault.integrity_errors():
                    raise DatabaseDamaged(
                        f"The vault is damaged: {errors[0]} ({len(errors)} findings).",
                        hint="Restore it from a backup, and check the disk.",
                    )
            console.say("Every page of the vault is whole.")
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
