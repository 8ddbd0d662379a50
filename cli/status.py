"""`claw status`: what is where, what opens it, which model answers, what confines programs. Nothing is unlocked."""

import argparse
import fcntl
import os
from pathlib import Path

import msgspec

from cli.console import Console, columns, size
from vault.sanitize import sanitize_line

__all__ = ["configure", "run"]

LOCK = "learning.lock"
"""Of `fl_client.participation.desk`, which takes long to load."""


class _Sandbox(msgspec.Struct, frozen=True):
    """What programs of skills are run behind, as a trial shows that was just made.

    Attributes:
        tier: Its name; `None` when nothing works, and nothing is run.
        failed: Of each stronger one, why it isn't used.
    """

    tier: str | None
    failed: dict[str, str]


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
    sandbox = _sandbox()
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
        "sandbox": sandbox,
        "learning": "on" if _takes_part(home.data / LOCK) else "off",
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
                ("sandbox", _sandbox_line(sandbox)),
                (
                    "network",
                    "used by `claw model pull`, for pages of hosts that your rules name, and as you consent",
                ),
                ("learning", f"{found['learning']} right now; `claw fl status` says what you agreed to"),
            ]
        )
    )
    return 0


def _takes_part(lock: Path) -> bool:
    """Whether a process takes part in a federation: it holds the lock."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _sandbox() -> _Sandbox:
    """Tried anew each time: what worked yesterday says little after an upgrade, or in another session."""
    from skills.sandbox.tiers import until_one_works

    attempts = until_one_works()
    works = next((walls.name for walls, wrong in attempts if not wrong), None)
    return _Sandbox(works, {walls.name: wrong for walls, wrong in attempts if wrong})


def _sandbox_line(sandbox: _Sandbox) -> str:
    failed = sanitize_line("; ".join(f"{name}: {wrong}" for name, wrong in sandbox.failed.items()))
    if sandbox.tier is None:
        return f"none works here, so no skill runs a program ({failed or 'neither Linux nor macOS'})"
    return f"programs run behind {sandbox.tier}" + (f" ({failed})" if failed else "")
