"""Vaults to take along: one that holds a row of everything, and what two of them hold in common."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.vault.federations import put_federation, take_part
from vault.adapter_store import AdapterKind, AdapterStore, TrainedAdapter
from vault.classes import DataClass, HighlySensitive
from vault.connection import Connection
from vault.example_store import ExampleKind, ExampleStore
from vault.home import Home
from vault.inventory import TABLES
from vault.log.entries import Action, Entry
from vault.messages import Attachment, Generation
from vault.model_store import ModelRecord
from vault.notifications import ManyFailedUnlocks, Notifications
from vault.portability.tables import Rows
from vault.store import Vault

CANARY = "canary-7f3d"
"""Stands in texts that must not be found where nothing lies in the clear."""


def furnish(vault: Vault) -> None:
    """Put a row of every kind into a vault: branches, files, provenance, a deletion that left a gap."""
    kept = vault.conversations
    gone = kept.start("gone", "")
    kept.append(gone.id, None, "user", "this leaves a gap in the numbers")
    session = kept.start(f"Übersicht \u202e ../../{CANARY}", "Answer briefly.\nIn two lines.")
    asked = kept.append(
        session.id, None, "user", f"{CANARY} question", attachments=[Attachment("notes.txt", f"{CANARY} file")]
    )
    kept.append(session.id, asked.id, "assistant", "the first answer")
    again = kept.append(session.id, asked.id, "assistant", "", status="streaming")
    sampling: dict[str, object] = {"temperature": 0.7, "seed": 3}
    made = Generation(
        "tiny", "ab" * 32, None, sampling, "stop", 5, 0, 2, 0.1, 0.2, 0.30000000000000004, 0.25, b"\1\0\0\0"
    )
    kept.finish(again.id, f"another {CANARY} answer \x00 with \x1b[31m controls", "complete", made)
    kept.delete(gone.id)
    kept.start("empty", "")
    vault.models.add(ModelRecord("tiny", "tiny.gguf", "ab" * 32, 7, "import", "llama", 8, 9, "Q4_1", "", 10))
    entry = Entry(action=Action.CHAT, purpose="a reply", data_class=DataClass.MEDIUM, description="1 message")
    vault.log.append(entry)

    def rest(connection: Connection) -> None:
        example = ExampleStore(vault.database).put(
            connection, "count", ExampleKind.ADDED, (f"{CANARY} in", f"{CANARY} out"), f"{CANARY}.txt"
        )
        trained = TrainedAdapter("count", "ab" * 32, AdapterKind.CORE, 16, 15_360, (example,), 3.27, 3.08)
        AdapterStore(vault.database).put(connection, trained, HighlySensitive(CANARY.encode() + b"\xff\0"))
        Notifications(vault.database).raise_(ManyFailedUnlocks(7, 1_700_000_000_000), connection)
        connection.execute("INSERT INTO retention VALUES ('sessions', 90)")
        connection.execute("INSERT INTO skills VALUES ('count', ?, 'from/here', 8, 1)", ("cd" * 32,))
        connection.execute("INSERT INTO skill_files VALUES ('count', 'SKILL.md', x'23c3a9')")
        connection.execute("INSERT INTO permissions VALUES ('files.read', 'file:/notes', 'medium', 'ask', 9)")
        connection.execute("INSERT INTO notes VALUES ('00ff00ff00ff00ff', 'milk, and é', 'person', 10)")
        connection.execute("INSERT INTO egress_days VALUES ('2026-11-20', 5, 7)")
        connection.execute("INSERT INTO learning_days VALUES ('2026-11-20', 90000, 415000)")
        connection.execute("INSERT INTO tombstones VALUES ('session', '0123456789', 1700000000000)")
        put_federation(vault.database, connection, f"{CANARY:-<32}".encode())

    vault.database.write(rest)
    take_part(vault.database)


def rows_of(vault: Vault, *tables: str) -> dict[str, list[bytes]]:
    """Every row of these tables, or of all that can be read as rows, as they are exported."""

    def read(connection: Connection) -> dict[str, list[bytes]]:
        wanted = tables or [name for name in TABLES if name != "messages_text"]
        return {name: list(Rows(connection, name, vault.database.fields).lines()) for name in wanted}

    return vault.database.read(read)


def before_the_log_tells_of_it(rows: dict[str, list[bytes]], entries: int) -> dict[str, list[bytes]]:
    """Rows without what the log says of their being taken along: all but so many entries, and no head."""
    rest = {name: lines for name, lines in rows.items() if name != "log_state"}
    return {**rest, "log_entries": rows["log_entries"][:entries]}


def files_of(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def reopened(home: Home) -> Vault:
    return Vault.open_with_passphrase(home, PASSPHRASE)


def twin_of(home: Home, folder: Path) -> Home:
    """A copy of a closed vault's home: the same vault at the same moment."""
    shutil.copytree(home.data, folder)
    return Home.locate({"CLAW_HOME": str(folder)})


@pytest.fixture
def furnished(home: Home) -> Iterator[Vault]:
    """An open vault in `home` that holds a row of every kind."""
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        furnish(vault)
        yield vault


@pytest.fixture
def elsewhere(tmp_path: Path) -> Home:
    """Another home, without a vault."""
    return Home.locate({"CLAW_HOME": str(tmp_path / "elsewhere")})


@pytest.fixture
def other(elsewhere: Home) -> Iterator[Vault]:
    """An open vault without anything in it, in another home."""
    with Vault.create(elsewhere, PASSPHRASE, cost=CHEAP) as vault:
        yield vault
