"""What the vault keeps of skills: which a person agreed to, and their files as they were then."""

import msgspec

from vault.database import Connection, Database, Row
from vault.errors import NotFound

__all__ = ["SkillRecord", "SkillStore"]


class SkillRecord(msgspec.Struct, frozen=True):
    """A skill that a person agreed to.

    Attributes:
        name: Of the skill.
        digest: Of all its files, as they were agreed to; lower-case hex.
        source: Where it came from.
        approved_ms: When that was, in milliseconds since 1970.
        enabled: Whether it may be used.
    """

    name: str
    digest: str
    source: str
    approved_ms: int
    enabled: bool


class SkillStore:
    """The vault's tables of skills. What changes them is done in the transactions of `skills.library`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[SkillRecord]:
        """Every skill, by name."""
        rows = self._database.read(lambda c: c.execute("SELECT * FROM skills ORDER BY name").fetchall())
        return [_record(row) for row in rows]

    def get(self, name: str) -> SkillRecord:
        """One skill.

        Raises:
            NotFound: there is no such skill.
        """
        row = self._database.read(lambda c: c.execute("SELECT * FROM skills WHERE name = ?", (name,)).fetchone())
        if row is None:
            raise _unknown(name)
        return _record(row)

    def files(self, name: str) -> dict[str, bytes]:
        """The files of a skill, by their names in it; none where there is no such skill."""
        rows = self._database.read(
            lambda c: c.execute("SELECT name, data FROM skill_files WHERE skill = ?", (name,)).fetchall()
        )
        return {row[0]: bytes(row[1]) for row in rows}

    @staticmethod
    def put(connection: Connection, record: SkillRecord, files: dict[str, bytes]) -> None:
        """Keep a skill in the place of the one of its name, in a transaction that writes."""
        connection.execute("DELETE FROM skills WHERE name = ?", (record.name,))
        connection.execute("INSERT INTO skills VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(record))
        for name, data in files.items():
            connection.execute("INSERT INTO skill_files VALUES (?, ?, ?)", (record.name, name, data))

    @staticmethod
    def enable(connection: Connection, name: str, *, enabled: bool) -> None:
        """Let a skill be used or not, in a transaction that writes.

        Raises:
            NotFound: there is no such skill.
        """
        if not connection.execute("UPDATE skills SET enabled = ? WHERE name = ?", (enabled, name)).rowcount:
            raise _unknown(name)

    @staticmethod
    def remove(connection: Connection, name: str) -> None:
        """Remove a skill with its files, in a transaction that writes.

        Raises:
            NotFound: there is no such skill.
        """
        if not connection.execute("DELETE FROM skills WHERE name = ?", (name,)).rowcount:
            raise _unknown(name)


def _record(row: Row) -> SkillRecord:
    name, digest, source, approved_ms, enabled = row
    return SkillRecord(name, digest, source, approved_ms, bool(enabled))


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no skill {name!r}.", hint="`claw skill list` shows those there are.")
