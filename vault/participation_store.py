"""What the vault keeps of taking part: in which rounds, what was sent in them, and what came of their releases."""

import time
from typing import NamedTuple

import msgspec

from vault.database import Connection, Database, Row
from vault.errors import VaultError

__all__ = ["JudgedRelease", "Participation", "ParticipationStore", "Took"]

_COLUMNS = "federation, task, round, consent, release, began_ms, cohort, sent_ms, bytes, sha256, outcome"
_RELEASE = (
    "federation, task, number, sha256, cohort, survivors, seen_ms, loss_before, loss_after, decision, adapter"
)


class Participation(msgspec.Struct, frozen=True):
    """A round that this device took part in, or began to.

    Attributes:
        federation: Id of the federation, in hex.
        task: Digest of the task, in hex.
        round: Its number.
        consent: The version of the consent that allowed it.
        release: The number of the release that it began with.
        began_ms: When, in milliseconds since 1970.
        cohort: Devices of the round; 0 while that isn't known.
        sent_ms: When the update was about to leave; from then on it counts. `None`: nothing of it left.
        bytes: Of the masked update.
        sha256: Its digest, in hex.
        outcome: What came of it, in words; empty while it goes on.
    """

    federation: str
    task: str
    round: int
    consent: int
    release: int
    began_ms: int
    cohort: int = 0
    sent_ms: int | None = None
    bytes: int = 0
    sha256: str = ""
    outcome: str = ""


class JudgedRelease(msgspec.Struct, frozen=True):
    """A release that was verified, and judged on examples of one's own.

    Attributes:
        federation: Id of the federation, in hex.
        task: Digest of the task, in hex.
        number: Of the release.
        sha256: Of its numbers, in hex.
        cohort: Devices that began its round.
        survivors: Devices whose updates are in it.
        seen_ms: When it was judged.
        loss_before: On held-out examples, with what was in use; `None` where there were none.
        loss_after: With the release.
        decision: `accepted`, `refused`, or `waiting` for the person.
        adapter: Its id among the vault's adapters; `None` where it was removed.
    """

    federation: str
    task: str
    number: int
    sha256: str
    cohort: int
    survivors: int
    seen_ms: int
    loss_before: float | None
    loss_after: float | None
    decision: str
    adapter: str | None


class Took(NamedTuple):
    """How often a device has sent updates of a task.

    Attributes:
        federation: Id of the federation, in hex.
        task: Digest of the task, in hex.
        times: How often.
    """

    federation: str
    task: str
    times: int


class ParticipationStore:
    """The vault's tables of rounds and releases.

    Args:
        database: Of the vault.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, federation: str | None = None, task: str | None = None) -> list[Participation]:
        """Every round, the newest first; of one federation and task, or of all."""
        query = (
            f"SELECT {_COLUMNS} FROM participations WHERE (?1 IS NULL OR federation = ?1) "
            "AND (?2 IS NULL OR task = ?2) ORDER BY began_ms DESC, round DESC"
        )
        rows = self._database.read(lambda c: c.execute(query, (federation, task)).fetchall())
        return [Participation(*row) for row in rows]

    def begin(self, round_: Participation) -> None:
        """Keep that a round was begun.

        Raises:
            VaultError: this device was in that round before: it is in none twice.
        """

        def work(connection: Connection) -> None:
            values = msgspec.structs.astuple(round_)
            done = connection.execute(
                f"INSERT INTO participations ({_COLUMNS}) VALUES (?{', ?' * (len(values) - 1)}) "
                "ON CONFLICT DO NOTHING",
                values,
            )
            if done.rowcount != 1:
                raise VaultError(f"This device was in round {round_.round} before, and is in none twice.")

        self._database.write(work)

    def sending(self, round_: Participation, cohort: int, size: int, sha256: str, most: int) -> int:
        """Count an update that is about to leave; durable when this returns.

        Args:
            round_: In which.
            cohort: Devices of the round.
            size: Bytes of the masked update.
            sha256: Its digest, in hex.
            most: As often as the plan allows.

        Returns:
            How often this device has taken part in the task, with this time.

        Raises:
            VaultError: it took part as often as it may, or this one was counted before; nothing may be sent.
        """

        def work(connection: Connection) -> int:
            count = _times(connection, round_.federation, round_.task)
            if count >= most:
                raise VaultError("This device has taken part as often as the plan allows; nothing was sent.")
            changed = connection.execute(
                "UPDATE participations SET cohort = ?, sent_ms = ?, bytes = ?, sha256 = ? "
                "WHERE federation = ? AND task = ? AND round = ? AND sent_ms IS NULL AND outcome = ''",
                (
                    cohort,
                    time.time_ns() // 1_000_000,
                    size,
                    sha256,
                    round_.federation,
                    round_.task,
                    round_.round,
                ),
            )
            if changed.rowcount != 1:
                raise VaultError(f"The update of round {round_.round} was counted before; it isn't sent again.")
            return count + 1

        return self._database.write(work)

    def end(self, round_: Participation, outcome: str) -> None:
        """Keep what came of a round."""
        statement = "UPDATE participations SET outcome = ? WHERE federation = ? AND task = ? AND round = ?"
        values = outcome[:500], round_.federation, round_.task, round_.round
        self._database.write(lambda c: c.execute(statement, values).rowcount)

    def end_unfinished(self, outcome: str) -> int:
        """Keep what came of all rounds that were going on when their process ended; how many there were."""
        return self._database.write(
            lambda c: c.execute("UPDATE participations SET outcome = ? WHERE outcome = ''", (outcome,)).rowcount
        )

    def times(self, federation: str, task: str) -> int:
        """How often this device has sent an update of a task, or was about to."""
        return self._database.read(lambda c: _times(c, federation, task))

    def since(self, since_ms: int) -> list[Took]:
        """How often updates of each task were sent since a time, in milliseconds since 1970."""
        query = (
            "SELECT federation, task, count(*) FROM participations WHERE sent_ms >= ? "
            "GROUP BY federation, task ORDER BY federation, task"
        )
        return [Took(*row) for row in self._database.read(lambda c: c.execute(query, (since_ms,)).fetchall())]

    def judged(self, connection: Connection, release: JudgedRelease) -> None:
        """Keep what was found of a release, in a transaction that writes."""
        values = msgspec.structs.astuple(release)
        connection.execute(
            f"INSERT OR REPLACE INTO federation_releases ({_RELEASE}) VALUES (?{', ?' * (len(values) - 1)})",
            values,
        )

    def releases(self, federation: str | None = None, task: str | None = None) -> list[JudgedRelease]:
        """Every release that was judged, the newest first."""
        query = (
            f"SELECT {_RELEASE} FROM federation_releases WHERE (?1 IS NULL OR federation = ?1) "
            "AND (?2 IS NULL OR task = ?2) ORDER BY seen_ms DESC, number DESC"
        )
        rows = self._database.read(lambda c: c.execute(query, (federation, task)).fetchall())
        return [_release(row) for row in rows]


def _times(connection: Connection, federation: str, task: str) -> int:
    query = "SELECT count(*) FROM participations WHERE federation = ? AND task = ? AND sent_ms IS NOT NULL"
    row = connection.execute(query, (federation, task)).fetchone()
    return int(row[0]) if row else 0


def _release(row: Row) -> JudgedRelease:
    return JudgedRelease(*row)
