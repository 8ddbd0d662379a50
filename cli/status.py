"""`claw status`: what is where, what opens it, which model answers. Nothing is unlocked for it."""

import argparse

import msgspec

from cli.console import Console, columns, size

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the status."""
    from importlib.metadata import version

    from cli.vault.lock import lock_line, lock_state
    from cli.vault.status import describe

    home, settings = console.home, console.settings
    vault, lock = describe(console), lock_state(console)
    weights = sorted(file for file in home.models.glob("*.gguf")) if home.models.is_dir() else []
    found = {
        "version": version("openclaw-core"),
        "data": str(home.data),
        "config": str(home.config_file),
        "vault": vault,
        "lock": lock,
        "model": settings.model.default,
        "models": {
            "folder": str(home.models),
            "files": len(weights),
            "bytes": sum(f.stat().st_size for f in weights),
        },
        "learning": "off",
    }
    taken = size(sum(file.stat().st_size for file in weights))
    if arguments.json:
        print(msgspec.json.encode(found).decode())
        return 0
    slots = vault["slots"]
    opens = ", ".join(slots) if isinstance(slots, list) and slots else "nothing"
    vault_line = (
        f"{size(float(str(vault['bytes'])))}, opens by {opens}" if vault["exists"] else "none yet: run `claw`"
    )
    if "problem" in vault:
        vault_line = f"PROBLEM: {vault['problem']}"
    print(
        columns(
            [
                ("data", str(home.data)),
                ("settings", f"{home.config_file}{'' if home.config_file.exists() else ' (all defaults)'}"),
                ("vault", vault_line),
                *([("lock", lock_line(lock))] if vault["exists"] else []),
                ("model", settings.model.default),
                ("models", f"{len(weights)} beside the one that comes with the program, {taken}"),
                ("network", "used by `claw model pull` alone"),
                ("learning", "off (this version can't learn with others)"),
            ]
        )
    )
    return 0
