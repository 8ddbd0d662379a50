"""`claw doctor`: checks every component for real, and says how to mend what is broken."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from cli.console import Console, size
from vault.errors import ClawError, NoVault
from vault.sanitize import sanitize

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["configure", "run"]


State = Literal["ok", "note", "broken"]
Seen = tuple[State, str, str]
Check = Callable[[Console], Iterator[Seen]]


class Finding(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        component: What was checked.
        state: `ok`, `note` (works, but worth knowing), or `broken`.
        text: What was seen.
        mend: What to do, where something can be done.
    """

    component: str
    state: State
    text: str
    mend: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run every check; 1 when something is broken."""
    findings = []
    for component, check in _CHECKS.items():
        for finding in _run(component, check, console):
            findings.append(finding)
            if not arguments.json:
                mark = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}[finding.state]
                print(f"{mark}  {component}: {sanitize(finding.text)}", flush=True)
                if finding.mend:
                    print(f"        {sanitize(finding.mend)}")
    if arguments.json:
        print(msgspec.json.encode(findings).decode())
    return 1 if any(finding.state == "broken" for finding in findings) else 0


def _run(component: str, check: Check, console: Console) -> Iterator[Finding]:
    try:
        for state, text, mend in check(console):
            yield Finding(component, state, text, mend)
    except ClawError as error:
        yield Finding(component, "broken", error.message, error.hint)
    except ImportError as error:
        yield Finding(component, "broken", f"a part is missing: {error}", "Install OpenClaw Core again: make chat")
    except OSError as error:
        mend = "See that the folder named, or that for temporary files, can be written and has room."
        yield Finding(component, "broken", f"the system refused: {error}", mend)


def _python(_console: Console) -> Iterator[Seen]:
    yield "ok", f"{sys.version.split()[0]} in {sys.prefix}", ""


def _home(console: Console) -> Iterator[Seen]:
    from vault.durable import storage_error

    home = console.home.data
    if not home.exists():
        yield "note", f"{home} isn't there yet", "It is made when you first run `claw`."
        return
    try:
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise storage_error(error, home) from error
    free = shutil.disk_usage(home).free
    if home.stat().st_mode & 0o077:
        yield "broken", f"{home} can be entered by others", f"chmod 700 '{home}'"
    elif free < 500 * 2**20:
        yield "note", f"{home}: only {size(free)} free", "Free some room before pulling a model."
    else:
        yield "ok", f"{home}, private, {size(free)} free", ""


def _settings(console: Console) -> Iterator[Seen]:
    _ = console.settings
    path = console.home.config_file
    yield "ok", f"{path}" if path.exists() else "all defaults", ""


def _encryption(_console: Console) -> Iterator[Seen]:
    from vault.database import Database

    with tempfile.TemporaryDirectory(prefix="claw-doctor-") as folder:
        path = Path(folder) / "probe.db"
        database = Database.create(path, os.urandom(32))
        version = database.read(lambda c: c.execute("PRAGMA cipher_version").fetchone())
        errors = database.integrity_errors()
        database.close()
        encrypted = not path.read_bytes().startswith(b"SQLite format 3\x00")
    if encrypted and not errors and version:
        yield "ok", f"SQLCipher {version[0]} wrote and verified an encrypted file", ""
    else:
        yield (
            "broken",
            "a test database was not encrypted as it should be",
            "pip install --force-reinstall sqlcipher3",
        )


def _keychain(_console: Console) -> Iterator[Seen]:
    from vault.errors import KeychainError
    from vault.keychain import SystemKeychain

    try:
        yield "ok", f"{SystemKeychain().name} answers", ""
    except KeychainError as error:
        yield "note", error.message, error.hint


def _vault(console: Console) -> Iterator[Seen]:
    from vault.errors import PassphraseMissing
    from vault.keyslots import Keyslots

    try:
        slots = Keyslots.read(console.home.keyslots)
    except NoVault as error:
        yield "note", error.message, error.hint
        return
    yield "ok", f"{len(slots.slots)} key slot{'s' if len(slots.slots) > 1 else ''} in {console.home.keyslots}", ""
    try:
        with console.open_vault() as vault:
            errors = vault.integrity_errors()
            opened = vault.opened_by
            chosen = list(_chosen_model(console, vault))
    except PassphraseMissing as error:
        yield "note", "locked, so its pages were not checked", error.hint
        return
    if errors:
        yield (
            "broken",
            f"{len(errors)} damaged places: {errors[0]}",
            "Restore it from a backup, and check the disk.",
        )
    else:
        by = "the key that is held" if opened == "holder" else f"its {opened} slot"
        yield "ok", f"opened by {by}; every page is whole", ""
    yield from chosen


def _chosen_model(console: Console, vault: "Vault") -> Iterator[Seen]:
    """The model that answers, if it is one of the vault's; the embedded one is checked by `_model`."""
    from agent.models.catalogue import Catalogue
    from agent.models.embedded import EMBEDDED_NAME

    name = console.settings.model.default
    if name == EMBEDDED_NAME:
        return
    try:
        Catalogue(console.home, vault.models).verify(name)
    except ClawError as error:
        yield "broken", error.message, error.hint
    else:
        yield "ok", f"{name}, which answers: digest as registered", ""


def _model(console: Console) -> Iterator[Seen]:
    from agent.assistant import new_sampling
    from agent.inference import Inference
    from agent.models.catalogue import Catalogue
    from agent.models.embedded import EMBEDDED_NAME
    from agent.worker.protocol import ChatMessage, Finished

    settings = console.settings
    with (
        Catalogue(console.home, None).open_verified(EMBEDDED_NAME) as weights,
        Inference(weights, settings.inference) as inference,
    ):
        yield "ok", f"{weights.record.name}: digest as published, {size(weights.record.bytes)}", ""
        ready = inference.ready()
        sampling = new_sampling(settings.sampling, temperature=0, max_tokens=16, seed=1)
        events = inference.generate([ChatMessage("user", "Say hello.")], sampling, reserve=16)
        for event in events:
            if isinstance(event, Finished):
                speed = event.tokens_per_second or 0
                yield "ok", f"answers at {speed:.0f} tokens a second, window {ready.context:,} tokens", ""
        if ready.confinement == "none":
            yield "note", "the worker is not confined", "claw config set inference.confinement required"
        else:
            yield "ok", f"the worker has no network and no files ({ready.confinement})", ""


def _sandbox(_console: Console) -> Iterator[Seen]:
    from skills.sandbox.tiers import MEND, tried

    attempts = tried()
    works = next((attempt.walls for attempt in attempts if not attempt.wrong), None)
    failed = "; ".join(f"{attempt.walls.name}: {attempt.wrong}" for attempt in attempts if attempt.wrong)
    if works is None:
        yield "note", f"none works here, so no skill runs a program ({failed or 'neither Linux nor macOS'})", MEND
    elif failed:
        yield "note", f"programs run behind {works.name} ({failed})", MEND
    else:
        yield "ok", f"programs run behind {works.name}", ""


_CHECKS: dict[str, Check] = {
    "python": _python,
    "home": _home,
    "settings": _settings,
    "encryption": _encryption,
    "keychain": _keychain,
    "vault": _vault,
    "model": _model,
    "sandbox": _sandbox,
}
