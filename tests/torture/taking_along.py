"""Workloads of backups and exports."""

import hashlib
import tempfile
from pathlib import Path

from msgspec.structs import replace

from tests.torture.beginnings import CHEAP, PASSPHRASE, home_in, lived_in
from tests.torture.stage import Stage
from tests.torture.state import State
from vault.database import Database
from vault.errors import ImportRefused
from vault.portability.age_passphrase import Passphrase
from vault.portability.backup import back_up as write_backup
from vault.portability.export import export as write_export
from vault.portability.manifest import MANIFEST, parse_manifest
from vault.portability.restore import fill_from_backup, read_backup
from vault.store import Vault

__all__ = ["a_backup", "back_up", "export", "restore", "whole_backup", "whole_export"]

_KEY = Passphrase("a passphrase of a backup", work=1)


def back_up(stage: Stage) -> None:
    """A backup, and another in its place after something changed."""
    vault = stage.open()
    file = stage.root / "kept.backup"
    written = replace(stage.now, files=(file.name,))
    stage.reach(written, lambda: write_backup(vault, file, _KEY), atomic=False)
    stage.step(vault.conversations.start, "between", "")
    stage.gradually(write_backup, vault, file, _KEY, replace=True)
    stage.close()


def whole_backup(path: Path) -> None:
    """Read a backup to its end."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        database = Database.create(Path(folder) / "vault.db", bytes(32))
        try:
            read_backup(database, path, _KEY)
        finally:
            database.close()


def a_backup(root: Path) -> None:
    """No vault, but a backup of one."""
    lived_in(root / "other")
    with Vault.open_with_passphrase(home_in(root / "other"), PASSPHRASE) as vault:
        write_backup(vault, root / "kept.backup", _KEY)


def restore(stage: Stage) -> None:
    """A new vault made of it."""
    fill = fill_from_backup(stage.root / "kept.backup", _KEY)
    stage.reach(State({}, PASSPHRASE), lambda: Vault.create(stage.home, PASSPHRASE, cost=CHEAP, fill=fill))
    stage.step(stage.vault.conversations.start, "after", "")
    stage.close()


def export(stage: Stage) -> None:
    """Everything in open formats."""
    vault = stage.open()
    after = replace(stage.now, files=("exported",))
    stage.reach(after, lambda: write_export(vault, stage.root / "exported"), atomic=False)
    stage.close()


def whole_export(path: Path) -> None:
    """Compare every file with its manifest."""
    manifest = parse_manifest((path / MANIFEST).read_bytes())
    for name, digest in manifest.files.items():
        if hashlib.sha256((path / name).read_bytes()).hexdigest() != digest.sha256:
            raise ImportRefused(f"{name} isn't what the manifest says")
