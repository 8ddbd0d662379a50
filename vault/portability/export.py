"""Everything in open formats, in a folder that needs no program of ours to be read. It isn't encrypted."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from vault.connection import Connection
from vault.fields import FieldCipher
from vault.inventory import TABLES, Travels
from vault.migrations import newest_version
from vault.portability.chatgpt import write_conversations
from vault.portability.departure import Departure, Taken
from vault.portability.digests import Digest, Tally
from vault.portability.files import StagedFolder, check_not_ours, staged_folder
from vault.portability.manifest import MANIFEST, Manifest, table_file
from vault.portability.markdown import as_markdown, file_name
from vault.portability.progress import Progress, Steps, Walk, size_of
from vault.portability.readme import readme
from vault.portability.tables import Rows
from vault.portability.trees import Conversation, Trees

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Exported", "export", "tables_in_exports"]


class Exported(NamedTuple):
    """What was written.

    Attributes:
        conversations: How many.
        rows: Of all tables.
        bytes: Of all files.
    """

    conversations: int
    rows: int
    bytes: int


def tables_in_exports() -> list[str]:
    """The tables that are exported in the clear."""
    return [name for name, table in TABLES.items() if table.travels is Travels.EVERYWHERE]


def export(vault: "Vault", folder: Path, *, progress: Progress | None = None) -> Exported:
    """Write an export. The same vault gives the same bytes each time, but for its log, which tells of each.

    Args:
        vault: To be exported.
        folder: Where to; nothing or an empty folder lies there.
        progress: Told how far it is, from the database's thread.

    Raises:
        VaultError: there is something already, or it can't be written; nothing of it is left.
        DiskFull: likewise.
    """
    from vault.log.entries import Action

    check_not_ours(folder, vault.home)
    database, steps = vault.database, Steps(progress)
    departure = Departure(vault, Action.EXPORT, "a copy in open formats, not encrypted")
    with departure, staged_folder(folder) as staged:
        departure.prepare("everything")
        with steps.end_with(database) as stop:
            done = database.read(lambda c: _Export(c, database.fields, staged, steps).write(), stop)
        departure.finish(Taken(f"everything: {done.rows:,} records", done.rows, done.bytes))
    return done


class _Export:
    def __init__(self, connection: Connection, fields: FieldCipher, staged: StagedFolder, steps: Steps) -> None:
        self._staged = staged
        self._files: dict[str, Digest] = {}
        self._tables = [Rows(connection, name, fields) for name in tables_in_exports()]
        self._trees = Trees(connection, fields)
        rows = {table.table: table.count() for table in self._tables}
        self._rows = sum(rows.values())
        self._conversations = rows["sessions"]
        self._walk = Walk("Exporting", self._rows + 2 * self._conversations, size_of(connection), steps)

    def write(self) -> Exported:
        for table in self._tables:
            self._write(table_file(table.table), table.lines())
        self._write("conversations.json", write_conversations(self._trees.all()))
        for conversation in self._trees.all():
            self._write_markdown(conversation)
        self._write("README.md", readme(tables_in_exports()).encode().splitlines(keepends=True))
        manifest = Manifest(
            app=version("openclaw-core"), schema=newest_version(), files=dict(sorted(self._files.items()))
        )
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
        with self._staged.file(MANIFEST) as file:
            file.write(text)
        total = sum(digest.bytes for digest in self._files.values()) + len(text)
        return Exported(self._conversations, self._rows, total)

    def _write_markdown(self, conversation: Conversation) -> None:
        lines = as_markdown(conversation).encode().splitlines(keepends=True)
        self._write(f"conversations/{file_name(conversation)}", lines)

    def _write(self, name: str, pieces: Iterable[bytes]) -> None:
        tally = Tally()
        with self._staged.file(name) as file:
            for piece in pieces:
                self._walk.step()
                tally.add(piece)
                file.write(piece)
        self._files[name] = tally.digest
