"""Whether rows that came from elsewhere hold together: looked at before anything of them is put in place."""

import sqlcipher3

from vault.connection import Connection
from vault.errors import ImportRefused

__all__ = ["verify_contents"]

_UPROOTED = """
    WITH RECURSIVE reached (id) AS (
        SELECT id FROM messages WHERE parent_id IS NULL
        UNION ALL
        SELECT m.id FROM reached JOIN messages m ON m.parent_id = reached.id
    )
    SELECT (SELECT count(*) FROM messages) - (SELECT count(*) FROM reached)
"""
_ELSEWHERE = """
    SELECT count(*) FROM messages m JOIN messages p ON p.id = m.parent_id WHERE p.session_id != m.session_id
"""
_HEAD_ELSEWHERE = """
    SELECT count(*) FROM sessions s LEFT JOIN messages m ON m.id = s.head
    WHERE s.head IS NOT NULL AND m.session_id IS NOT s.id
"""
_FILE_OF_ANOTHER = "SELECT count(*) FROM models WHERE file != name || '.gguf'"


def verify_contents(connection: Connection) -> None:
    """Check what the schema can't: references, trees, whose file a model has, and the search index.

    Args:
        connection: In a transaction that writes, after the last row.

    Raises:
        ImportRefused: something doesn't hold together.
    """
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    if broken:
        raise ImportRefused(f"A row of {broken[0]} belongs to one of {broken[2]} that isn't there.")
    if _number(connection, _UPROOTED):
        raise ImportRefused("A conversation's messages answer one another in a circle.")
    if _number(connection, _ELSEWHERE) or _number(connection, _HEAD_ELSEWHERE):
        raise ImportRefused("A conversation goes on from a message that isn't its own.")
    if _number(connection, _FILE_OF_ANOTHER):  # which would go when this one is removed
        raise ImportRefused("A model's registration names the file of another one.")
    try:
        connection.execute("INSERT INTO messages_text (messages_text, rank) VALUES ('integrity-check', 1)")
    except sqlcipher3.DatabaseError:
        raise ImportRefused("The search index doesn't fit the messages.") from None


def _number(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
