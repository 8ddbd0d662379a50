"""Vaults to attack, with the copies of their files that an attacker kept; and whether it is noticed."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Literal, NamedTuple

from tests.fixtures.slots import Notebook
from tests.torture.beginnings import CHEAP, PASSPHRASE, home_in
from tests.torture.state import Rows, observe, wrong
from vault.errors import ClawError
from vault.home import Home
from vault.keyslots import Keyslots
from vault.messages import Attachment
from vault.store import Vault

__all__ = ["Attack", "Files", "Finding", "Scene", "noticed", "scenes"]

Finding = Literal["at open", "by check", "nothing changed", "missed"]
"""Refused or alarmed when opened; found by `claw vault check`; nothing is changed by it; it went unnoticed."""

Files = dict[str, bytes]
"""Content by name of the files in a vault's folder."""


class Scene(NamedTuple):
    """A vault to attack.

    Attributes:
        name: `"closed"`; `"killed"`: part of it is in the write-ahead log alone; `"keychain"`: closed, and its
            anchor mirrored in a keychain.
        root: Where it lies.
        files: What lies there.
        earlier: What lay there at earlier times, oldest first; while the vault was open as well.
        rows: What it holds now.
        slots: The epoch of its key slots.
        keychain: Where its anchor is mirrored.
    """

    name: str
    root: Path
    files: Files
    earlier: list[Files]
    rows: Rows
    slots: int
    keychain: Notebook | None


class Attack(NamedTuple):
    """One attack.

    Attributes:
        kind: For the table.
        detail: What exactly.
        files: Files in the vault's folder that are written, or removed where there is `None`.
        edit: What is done by somebody who has the key of the database, but not those of the fields and the log.
    """

    kind: str
    detail: str
    files: dict[str, bytes | None]
    edit: Callable[[Vault], object] | None = None


def scenes(folder: Path) -> list[Scene]:
    """A vault in each situation."""
    return [_closed(folder / "without", None), _killed(folder / "killed"), _closed(folder / "with", Notebook())]


def _closed(folder: Path, keychain: Notebook | None) -> Scene:
    """A vault that was closed three times."""
    home = home_in(folder)
    kept: list[Files] = []
    Vault.create(home, PASSPHRASE, cost=CHEAP).close()
    for number in range(3):
        with _opened(home, keychain) as vault:
            vault.slots.add_keychain(Notebook())
            _write(vault, 10 * number)
            kept.append(_files(home))
            _write(vault, 10 * number + 1)
            rows = observe(vault)
        kept.append(_files(home))
    name = "keychain" if keychain else "closed"
    return Scene(name, folder, kept.pop(), kept, rows, Keyslots.read(home.keyslots).epoch, keychain)


def _killed(folder: Path) -> Scene:
    """The same, opened once more by a process that was killed."""
    closed = _closed(folder / "alive", None)
    home = home_in(closed.root)
    with _opened(home, None) as vault:
        _write(vault, 30)
        earlier = [*closed.earlier, closed.files, _files(home)]
        vault.slots.add_keychain(Notebook())
        _write(vault, 31)
        rows, slots = observe(vault), Keyslots.read(home.keyslots).epoch
        shutil.copytree(closed.root, folder / "dead", ignore=shutil.ignore_patterns("*-shm"))
        return Scene("killed", folder / "dead", _files(home), earlier, rows, slots, None)


def _opened(home: Home, keychain: Notebook | None) -> Vault:
    return Vault.open_by(home, Keyslots.read(home.keyslots).open_with_passphrase(PASSPHRASE), keychain=keychain)


def _files(home: Home) -> Files:
    return {path.name: path.read_bytes() for path in home.vault.iterdir() if not path.name.endswith("-shm")}


def _write(vault: Vault, number: int) -> None:
    for part in range(3):
        session = vault.conversations.start(f"{number}.{part}", "Be brief.")
        files = [Attachment(f"{number}.{part}.txt", f"{number} {part} attached " * 40)]
        vault.conversations.append(session.id, None, "user", f"{number} {part} said " * 40, attachments=files)
    for session in vault.conversations.sessions()[4:5]:
        vault.conversations.delete(session.id)


def noticed(scene: Scene, attack: Attack, folder: Path) -> Finding:
    """Commit an attack on a copy, then open and check that as its owner would.

    Args:
        scene: The vault.
        attack: The attack.
        folder: One that may be made and removed.
    """
    shutil.copytree(scene.root, folder)
    home, keychain = home_in(folder), deepcopy(scene.keychain)
    try:
        for name, content in attack.files.items():
            path = home.vault / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.write_bytes(content)
        if attack.edit is not None:
            with _opened(home, keychain) as vault:
                attack.edit(vault)
        return _found(home, keychain, scene)
    finally:
        shutil.rmtree(folder)


def _found(home: Home, keychain: Notebook | None, scene: Scene) -> Finding:
    try:
        vault = _opened(home, keychain)
    except ClawError:
        return "at open"
    with vault:
        if vault.alarm:
            return "at open"
        if wrong(vault):
            return "by check"
        same = observe(vault) == scene.rows and Keyslots.read(home.keyslots).epoch == scene.slots
        return "nothing changed" if same else "missed"
