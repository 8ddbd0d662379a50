"""The vaults that workloads begin with."""

import importlib.resources
import shutil
from pathlib import Path

import sqlcipher3

from tests.fixtures.slots import Notebook
from tests.fixtures.slots import version_1 as slots_of_version_1
from vault.home import Home
from vault.keys import MasterKey, new_vault_id
from vault.messages import Attachment
from vault.passphrase import KdfCost
from vault.store import Vault

__all__ = [
    "CHEAP",
    "PASSPHRASE",
    "home_in",
    "killed",
    "lived_in",
    "nothing",
    "version_1",
    "version_1_killed",
]

PASSPHRASE = "a passphrase under torture"
CHEAP = KdfCost(memory_kib=8, iterations=1, lanes=1)
EPOCH_MS = 1_800_000_000_000
"""When workloads begin."""

_NEARLY_FULL = 4120 * 960
_WORDS = "the quick brown fox jumps over the lazy dog and is not amused "


def home_in(root: Path) -> Home:
    """The home of the vault in a workload's folder."""
    return Home.locate({"CLAW_HOME": str(root / "home")})


def nothing(root: Path) -> None:
    """No vault yet."""


def lived_in(root: Path) -> None:
    """A closed vault with some conversations in it."""
    with Vault.create(home_in(root), PASSPHRASE, cost=CHEAP) as vault:
        _live(vault, 4)


def killed(root: Path) -> None:
    """The vault of a process that was killed: part of what it wrote is in the write-ahead log alone."""
    lived_in(root)
    with Vault.open_with_passphrase(home_in(root), PASSPHRASE) as vault:
        _live(vault, 2)
        _copy_open(root)
    _take_copy(root)


def nearly_full_log(root: Path) -> None:
    """The vault of a process that was killed just before its write-ahead log would have been folded in."""
    lived_in(root)
    with Vault.open_with_passphrase(home_in(root), PASSPHRASE) as vault:
        session = vault.conversations.sessions()[0]
        log = home_in(root).vault / "vault.db-wal"
        while not log.exists() or log.stat().st_size < _NEARLY_FULL:
            vault.conversations.rename(session.id, "renamed")
        _copy_open(root)
    _take_copy(root)


def put_back(root: Path) -> None:
    """A vault whose database is an older one."""
    lived_in(root)
    home = home_in(root)
    old = home.database.read_bytes()
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        _live(vault, 1)
    home.database.write_bytes(old)


def version_1(root: Path) -> None:
    """A closed vault of the first version, as `openclaw-core` 0.1 left it."""
    _make_version_1(root).close()


def version_1_killed(root: Path) -> None:
    """The same of a process that was killed."""
    connection = _make_version_1(root)
    _copy_open(root)
    connection.close()
    _take_copy(root)


def _live(vault: Vault, sessions: int) -> None:
    for number in range(sessions):
        session = vault.conversations.start(f"before {number}", "Be brief.")
        question = vault.conversations.append(
            session.id, None, "user", _WORDS * 9, attachments=[Attachment("notes.txt", _WORDS * 60)]
        )
        vault.conversations.append(session.id, question.id, "assistant", _WORDS * 20)


def _make_version_1(root: Path) -> "sqlcipher3.Connection":
    home = home_in(root)
    home.vault.mkdir(parents=True, mode=0o700)
    master = MasterKey.generate(new_vault_id())
    slots_of_version_1(master, Notebook(), PASSPHRASE).write(home.keyslots)
    connection = sqlcipher3.connect(str(home.database), isolation_level=None)
    connection.set_key(f"x'{master.derive('database').hex()}'")
    connection.execute("PRAGMA journal_mode=WAL")
    script = importlib.resources.files("vault") / "schema" / "0001_conversations.sql"
    connection.executescript(f"BEGIN; {script.read_text()} PRAGMA user_version=1; COMMIT;")
    for number in range(4):
        session, message = f"s{number}", f"m{number}"
        for table, row in (
            (
                "sessions (id, title, system_prompt, created_ms, updated_ms, head)",
                (session, "old", "", 1, 1, message),
            ),
            (
                "messages (id, session_id, role, text, status, created_ms)",
                (message, session, "user", _WORDS * 30, "complete", 1),
            ),
            ("attachments (message_id, name, text)", (message, "notes.txt", _WORDS * 60)),
        ):
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    return connection


def _copy_open(root: Path) -> None:
    shutil.copytree(root / "home", root / "copy", ignore=shutil.ignore_patterns("*-shm"))


def _take_copy(root: Path) -> None:
    shutil.rmtree(root / "home")
    (root / "copy").rename(root / "home")
