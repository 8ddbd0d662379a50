"""What the vault keeps of consents: what a person agreed to, in the words that they were shown, and until when."""

import time
from enum import StrEnum

import msgspec

from vault.database import Connection, Database, Row
from vault.errors import NotFound

__all__ = ["Consent", "ConsentStore", "Installs"]

_COLUMNS = "version, federation, name, task, task_name, message, source, text, installs, given_ms, withdrawn_ms"


class Installs(StrEnum):
    """What is done with a release of a task, once it was verified and judged."""

    BETTER = "better"
    """It is used if it is better on one's own held-out examples than what is in use."""
    ASK = "ask"
    """It waits until the person decides."""


class Consent(msgspec.Struct, frozen=True):
    """One consent.

    Attributes:
        version: Counts the consents of this vault; the transparency log names it with all that it allowed.
        federation: Id of the federation, in hex.
        name: Of the federation.
        task: Digest of the task, in hex; empty where it is about belonging to the federation alone.
        task_name: Of the task; empty likewise.
        message: The task itself, as the federation encodes it.
        source: The data that it is about, such as `examples:meeting-summarizer`; empty for none.
        text: What was shown, and agreed to.
        installs: What is done with releases.
        given_ms: When, in milliseconds since 1970.
        withdrawn_ms: When it was withdrawn; `None` while it holds.
    """

    version: int
    federation: str
    name: str
    task: str
    task_name: str
    message: bytes
    source: str
    text: str
    installs: Installs
    given_ms: int
    withdrawn_ms: int | None = None

    @property
    def label(self) -> str:
        """As the transparency log names it."""
        return f"consent {self.version}"


class ConsentStore:
    """The vault's table of consents. A row is never changed, but for the time of its end.

    Args:
        database: Of the vault.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Consent]:
        """Every consent, the newest first, those that were withdrawn among them."""
        query = f"SELECT {_COLUMNS} FROM consents ORDER BY version DESC"
        return [_consent(row) for row in self._database.read(lambda c: c.execute(query).fetchall())]

    def get(self, version: int) -> Consent:
        """One consent.

        Raises:
            NotFound: there is none of that version.
        """
        query = f"SELECT {_COLUMNS} FROM consents WHERE version = ?"
        row = self._database.read(lambda c: c.execute(query, (version,)).fetchone())
        if row is None:
            raise NotFound(f"There is no consent {version}.", hint="`claw consent history` shows them all.")
        return _consent(row)

    def held(self, federation: str | None = None) -> list[Consent]:
        """The consents that hold, of one federation or of all."""
        query = (
            f"SELECT {_COLUMNS} FROM consents WHERE withdrawn_ms IS NULL AND (?1 IS NULL OR federation = ?1) "
            "ORDER BY version"
        )
        rows = self._database.read(lambda c: c.execute(query, (federation,)).fetchall())
        return [_consent(row) for row in rows]

    def holds(self, version: int) -> bool:
        """Whether a consent holds still."""
        query = "SELECT 1 FROM consents WHERE version = ? AND withdrawn_ms IS NULL"
        return self._database.read(lambda c: c.execute(query, (version,)).fetchone()) is not None

    @staticmethod
    def give(connection: Connection, consent: Consent) -> int:
        """Keep a consent in the place of the one about the same task, in a transaction that writes.

        Args:
            connection: Of that transaction.
            consent: Its version and times are set here.

        Returns:
            Its version.
        """
        now = time.time_ns() // 1_000_000
        connection.execute(
            "UPDATE consents SET withdrawn_ms = ? WHERE federation = ? AND task_name = ? AND withdrawn_ms IS NULL",
            (now, consent.federation, consent.task_name),
        )
        given = msgspec.structs.replace(consent, given_ms=now, withdrawn_ms=None)
        values = msgspec.structs.astuple(given)[1:]
        row = connection.execute(
            f"INSERT INTO consents ({_COLUMNS.partition(', ')[2]}) VALUES (?{', ?' * (len(values) - 1)}) "
            "RETURNING version",
            values,
        ).fetchone()
        assert row is not None
        return int(row[0])

    @staticmethod
    def withdraw(connection: Connection, version: int) -> bool:
        """End a consent, in a transaction that writes; whether it held."""
        changed = connection.execute(
            "UPDATE consents SET withdrawn_ms = ? WHERE version = ? AND withdrawn_ms IS NULL",
            (time.time_ns() // 1_000_000, version),
        )
        return bool(changed.rowcount)


def _consent(row: Row) -> Consent:
    version, federation, name, task, task_name, message, source, text, installs, given, withdrawn = row
    return Consent(
        version,
        federation,
        name,
        task,
        task_name,
        bytes(message),
        source,
        text,
        Installs(installs),
        given,
        withdrawn,
    )
