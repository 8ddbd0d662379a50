"""Taking messages out of their trees with everything that hangs on them: what deleting and erasing share."""

from collections.abc import Iterable, Sequence

from vault.connection import Connection

__all__ = ["below", "delete_messages", "delete_session"]


def below(connection: Connection, message_id: str) -> list[str]:
    """A message and everything said after it, the farthest first."""
    rows = connection.execute(
        """
        WITH RECURSIVE below (mid, depth) AS (
            SELECT ?, 0
            UNION ALL
            SELECT m.id, depth + 1 FROM below JOIN messages m ON m.parent_id = below.mid
        )
        SELECT mid FROM below ORDER BY depth DESC
        """,
        (message_id,),
    )
    return [row[0] for row in rows]


def delete_messages(connection: Connection, place: Sequence[str | None], messages: Iterable[str]) -> None:
    """Remove messages, the farthest from the root first; a head among them moves to where they hung.

    Args:
        connection: In a transaction that writes.
        place: The session's id, and the id of the message that the first of them answers.
        messages: As `below` gives them.
    """
    # From the root, the cascade would nest once per message, and SQLite ends it at a thousand.
    for message_id in messages:
        connection.execute("DELETE FROM messages WHERE id = ?", (message_id,))
    session_id, parent_id = place
    connection.execute(
        "UPDATE sessions SET head = ? WHERE id = ? "
        "AND (head IS NULL OR NOT EXISTS (SELECT 1 FROM messages WHERE messages.id = head))",
        (parent_id, session_id),
    )


def delete_session(connection: Connection, session_id: str) -> None:
    """Remove a session with all its messages, attachments, provenance and index entries."""
    rows = connection.execute(
        "SELECT id FROM messages WHERE session_id = ? ORDER BY n DESC", (session_id,)
    ).fetchall()
    delete_messages(connection, (session_id, None), (row[0] for row in rows))
    connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
