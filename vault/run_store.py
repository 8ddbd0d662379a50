"""What the vault keeps of runs of skills that aren't finished: the model's answers so far, each sealed."""

import time

from vault.classes import HighlySensitive
from vault.database import Connection, Database

__all__ = ["RunStore", "training_of"]

_TABLE, _COLUMN = "skill_run_answers", "answer"


def training_of(skill: str) -> str:
    """What unfinished trainings of a skill's adapter are kept under; no skill can have that name."""
    return f"train:{skill}"


class RunStore:
    """The vault's tables of unfinished runs.

    Args:
        database: Of the vault.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def answers(self, run: str) -> dict[str, HighlySensitive[bytes]]:
        """What was answered in a run so far, by the digests of what was asked; empty where there is no such run.

        Raises:
            DatabaseDamaged: an answer isn't what was sealed there.
        """
        rows = self._database.read(
            lambda c: c.execute(f"SELECT request, {_COLUMN} FROM {_TABLE} WHERE run = ?", (run,)).fetchall()
        )
        return {
            request: self._database.fields.open(_TABLE, f"{run}/{request}", _COLUMN, bytes(sealed))
            for request, sealed in rows
        }

    def keep(self, run: str, skill: str, request: str, answer: HighlySensitive[bytes]) -> None:
        """Keep an answer; the first one begins the run.

        Args:
            run: Digest that names the run.
            skill: The skill's name.
            request: Digest of what was asked.
            answer: What was answered.
        """
        self._database.write(lambda connection: self.put(connection, run, skill, request, answer))

    def put(
        self, connection: Connection, run: str, skill: str, request: str, answer: HighlySensitive[bytes]
    ) -> None:
        """Keep an answer, in a transaction that writes; arguments as in `keep`."""
        sealed = self._database.fields.seal(_TABLE, f"{run}/{request}", _COLUMN, answer)
        now = time.time_ns() // 1_000_000
        connection.execute(
            "INSERT INTO skill_runs VALUES (?1, ?2, ?3, ?3) ON CONFLICT (id) DO UPDATE SET updated_ms = ?3",
            (run, skill, now),
        )
        connection.execute(f"INSERT OR REPLACE INTO {_TABLE} VALUES (?, ?, ?)", (run, request, sealed))

    @staticmethod
    def remove(connection: Connection, run: str) -> None:
        """Remove what is kept of a run, in a transaction that writes."""
        connection.execute("DELETE FROM skill_runs WHERE id = ?", (run,))

    @staticmethod
    def remove_all(connection: Connection, skill: str) -> int:
        """Remove what is kept of every run of a skill, in a transaction that writes; how many there were."""
        return connection.execute("DELETE FROM skill_runs WHERE skill = ?", (skill,)).rowcount
