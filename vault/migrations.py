"""The schema's migrations, `vault/schema/NNNN_name.sql`: each run once, in one transaction with its number."""

import contextlib
import importlib.resources
import re
from collections.abc import Callable
from pathlib import Path

import sqlcipher3

from vault.connection import Connection
from vault.errors import VersionTooNew

__all__ = ["FIRST_ANCHORED", "migrate", "migrations", "newest_version", "schema_version"]

APPLICATION_ID = 0x4F434C57  # "OCLW"

FIRST_ANCHORED = 2
"""The first version of the schema that has a rollback anchor."""


def migrations() -> list[tuple[int, str]]:
    """Number and text of each, in order."""
    folder = importlib.resources.files("vault") / "schema"
    found = []
    for entry in folder.iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            found.append((int(match[1]), entry.read_text(encoding="utf-8")))
    return sorted(found)


def newest_version() -> int:
    """The version of the schema that this code works with."""
    return migrations()[-1][0]


def schema_version(connection: Connection, path: Path) -> int:
    """The version of a database's schema; 0 for a new one.

    Raises:
        VersionTooNew: a newer version of OpenClaw Core wrote it.
    """
    row = connection.execute("PRAGMA user_version").fetchone()
    version = int(row[0]) if row else 0
    newest = newest_version()
    if version > newest:
        raise VersionTooNew(
            f"{path} was written by a newer version of OpenClaw Core (schema {version}; this one knows {newest}).",
            hint="Update OpenClaw Core. Nothing was changed.",
        )
    return version


def migrate(connection: Connection, path: Path, before: Callable[[], bytes] = bytes) -> None:
    """Run the migrations that this database hasn't seen.

    Args:
        connection: For writing.
        path: The database, for messages.
        before: What a transaction is to hold of the state before it.

    Raises:
        VersionTooNew: as `schema_version` says.
    """
    version = schema_version(connection, path)
    for number, script in migrations():
        if number <= version:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have migrated while this one waited for the lock.
            row = connection.execute("PRAGMA user_version").fetchone()
            if row and int(row[0]) >= number:
                connection.execute("ROLLBACK")
                continue
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={number}")
            if number >= FIRST_ANCHORED:
                connection.execute("UPDATE vault_state SET epoch = epoch + 1, before = ?", (before(),))
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlcipher3.Error):
                connection.execute("ROLLBACK")
            raise


def _statements(script: str) -> list[str]:
    """Split a migration into statements (`executescript` would commit the transaction around it)."""
    import sqlite3

    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    if pending.strip():
        raise ValueError("a migration ends inside a statement")
    return statements
