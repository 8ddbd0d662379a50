"""A database of its own for rows that came from elsewhere, until they are known to hold together."""

import contextlib
import secrets
import shutil
from collections.abc import Iterator

from vault.connection import Connection
from vault.database import Database
from vault.durable import at_work_in, make_private_folder
from vault.home import Home
from vault.inventory import TABLES, Kind, Travels
from vault.keys import KEY_BYTES
from vault.portability.merge import Merger
from vault.portability.progress import Steps, Walk, size_of
from vault.portability.tables import Field, Rows
from vault.portability.trees import Conversation, ConversationRows, Trees

__all__ = ["merge_staged", "staging_database", "tables_that_merge"]

_IN_TREES = (Kind.CONVERSATIONS, Kind.ATTACHMENTS)


@contextlib.contextmanager
def staging_database(home: Home) -> Iterator[Database]:
    """An empty database, encrypted under a key that nobody keeps; gone when the block ends.

    Args:
        home: In whose folder it lies, named as everything there that isn't finished (`vault.leftovers`).
    """
    folder = home.data / f".import.{secrets.token_hex(6)}.new"
    make_private_folder(folder)
    try:
        with at_work_in(folder):
            database = Database.create(folder / home.database.name, secrets.token_bytes(KEY_BYTES))
            try:
                yield database
            finally:
                database.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tables_that_merge() -> list[str]:
    """The tables whose rows another vault can take."""
    return [name for name, table in TABLES.items() if table.merges and table.travels is not Travels.NOWHERE]


def merge_staged(staged: Database, merger: Merger, steps: Steps) -> None:
    """Add what lies in a staging database.

    Args:
        staged: It.
        merger: Of the vault; this is called in its database's thread.
        steps: Told how far it is.
    """

    def get(session_id: str) -> Conversation | None:
        return staged.read(lambda c: Trees(c, staged.fields).get(session_id))

    def rows(session_id: str) -> ConversationRows:
        return staged.read(lambda c: Trees(c, staged.fields).rows(session_id))

    def keyed(connection: Connection, table: str) -> list[dict[str, Field]]:
        return list(Rows(connection, table, staged.fields).values())

    ids = staged.read(lambda c: Trees(c, staged.fields).ids())
    walk = Walk("Merging", len(ids), staged.read(size_of), steps)
    for session_id in ids:
        walk.step()
        if merger.untouched:
            merger.add_rows(rows(session_id))
        elif conversation := get(session_id):
            merger.add(conversation)
    for table in tables_that_merge():
        if TABLES[table].kind not in _IN_TREES:
            merger.add_keyed(table, staged.read(lambda c, table=table: keyed(c, table)))  # type: ignore[misc]
