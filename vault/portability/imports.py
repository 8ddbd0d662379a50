"""Taking in what was exported, here or elsewhere: as one transaction, all of it or nothing."""

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from vault.classes import DataClass
from vault.connection import Connection
from vault.database import Database
from vault.errors import ImportRefused
from vault.inventory import TABLES
from vault.portability.chatgpt import read_conversation
from vault.portability.digests import Tally
from vault.portability.files import open_plain
from vault.portability.manifest import MANIFEST, Manifest, parse_manifest, table_file
from vault.portability.merge import Merged, Merger
from vault.portability.progress import Progress, Steps
from vault.portability.sources import conversation_elements
from vault.portability.staging import merge_staged, staging_database, tables_that_merge
from vault.portability.tables import MAX_LINE, Rows
from vault.portability.verify import verify_contents
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Imported", "import_conversations", "import_export", "import_path"]

_MAX_MANIFEST = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Imported:
    """What was taken in.

    Attributes:
        merged: What became of the conversations.
        skipped: Of foreign exports, what wasn't taken, by the reason.
        empty: Conversations with nothing in them to take.
    """

    merged: Merged
    skipped: Counter[str] = field(default_factory=Counter)
    empty: int = 0


def import_path(vault: "Vault", path: Path, *, progress: Progress | None = None) -> Imported:
    """Take in an export of ours (a folder), a `conversations.json`, or an export of ChatGPT.

    Args:
        vault: It is added to.
        path: The file or folder.
        progress: Told how far it is, from the database's thread.

    Raises:
        ImportRefused: it is none of these, or isn't whole; nothing was taken.
        VersionTooNew: a newer version of OpenClaw Core wrote it.
    """
    if (path / MANIFEST).exists():
        return import_export(vault, path, progress=progress)
    return import_conversations(vault, path, progress=progress)


def import_conversations(vault: "Vault", path: Path, *, progress: Progress | None = None) -> Imported:
    """Take in conversations in ChatGPT's form; as `import_path` says."""
    database, steps = vault.database, Steps(progress)
    source = f"import:{sanitize_line(path.resolve().name, 100)}"
    now_ms = time.time_ns() // 1_000_000

    def work(connection: Connection) -> Imported:
        merger = Merger(connection, database.fields)
        skipped: Counter[str] = Counter()
        empty = 0
        for place, element in conversation_elements(path, steps):
            try:
                reading = read_conversation(element, source, now_ms)
            except ImportRefused as error:
                raise ImportRefused(f"{place}: {error.message}.", hint="Nothing was taken.") from None
            skipped += reading.skipped
            if reading.conversation is None:
                empty += 1
            else:
                merger.add(reading.conversation)
        _record(vault, connection, merger.merged)
        return Imported(merger.merged, skipped, empty)

    with steps.end_with(database) as stop:
        return database.write(work, stop)


def import_export(vault: "Vault", folder: Path, *, progress: Progress | None = None) -> Imported:
    """Take in an export of ours; as `import_path` says.

    Into a vault without conversations they come with their numbers, so that the next export is the same again. What
    was erased there is remembered by such a vault alone: an export isn't sealed, so whoever had it in hand could
    name what is somebody's own, and keep a backup from bringing it back.
    """
    steps = Steps(progress)
    database = vault.database
    with staging_database(vault.home) as staged:
        with steps.end_with(staged) as stop:
            staged.write(lambda connection: _Folder(folder, connection, staged, steps).read(), stop)

        def work(connection: Connection) -> Imported:
            merger = Merger(connection, database.fields, believed=False)
            merge_staged(staged, merger, steps)
            _record(vault, connection, merger.merged)
            return Imported(merger.merged)

        with steps.end_with(database) as stop:
            return database.write(work, stop)


def _record(vault: "Vault", connection: Connection, merged: Merged) -> None:
    from vault.log.entries import Action, Entry

    entry = Entry(
        action=Action.IMPORT,
        purpose="taking in what was kept elsewhere",
        data_class=DataClass.HIGHLY_SENSITIVE,
        description=f"{merged.added:,} conversations, {merged.messages:,} messages, {merged.notes:,} notes",
        sensitive=True,
    )
    vault.log.record(connection, entry)


class _Folder:
    """Reads an export into a staging database."""

    def __init__(self, folder: Path, connection: Connection, staged: Database, steps: Steps) -> None:
        self._folder = folder
        self._connection = connection
        self._fields = staged.fields
        self._steps = steps

    def read(self) -> None:
        manifest = self._manifest()
        self._connection.execute("PRAGMA defer_foreign_keys=ON")
        for table in tables_that_merge():
            if table_file(table) in manifest.files:
                self._read_table(table, manifest)
            elif TABLES[table].since <= manifest.schema:
                raise ImportRefused(f"{MANIFEST} doesn't name {table_file(table)}.")
        verify_contents(self._connection)

    def _manifest(self) -> Manifest:
        with self._open(MANIFEST) as file:
            manifest = parse_manifest(file.read(_MAX_MANIFEST))
        known = {table_file(table) for table in TABLES}
        for name in manifest.files:
            if name.startswith("tables/") and name not in known:
                raise ImportRefused(f"{MANIFEST} names a table that isn't known here: {sanitize_line(name, 60)}.")
        return manifest

    def _read_table(self, table: str, manifest: Manifest) -> None:
        name, rows, tally = table_file(table), Rows(self._connection, table, self._fields), Tally()
        expected = manifest.files[name]
        with self._open(name) as file:
            while line := file.readline(MAX_LINE):
                tally.add(line)
                place = f"{name}, line {tally.rows}"
                if not line.endswith(b"\n"):
                    raise ImportRefused(f"{place}: it is cut off, or too long.", hint="Export again.")
                self._steps.tell(f"Reading {name}", file.tell(), expected.bytes)
                rows.insert(rows.parse(line, place), place)
        if tally.digest != expected:
            raise ImportRefused(
                f"{name} isn't the file that {MANIFEST} names: it was changed or cut off.", hint="Export again."
            )

    def _open(self, name: str) -> IO[bytes]:
        try:
            return open_plain(self._folder / name)
        except FileNotFoundError:
            raise ImportRefused(
                f"{name} is missing, though it belongs to an export.", hint="Export again."
            ) from None
        except OSError as error:
            raise ImportRefused(f"{self._folder / name} can't be read: {error.strerror}.") from error
