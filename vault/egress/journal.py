"""What the transparency log and the day's budget are told of everything that passes the door.

Each request has two entries: one is committed before its first byte leaves, the other says what became of it. Where
the second is missing, the process ended in between, or didn't end its request in the time that a vault being locked
gives it; the bytes count as sent.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from vault.budget import Budget, Spent
from vault.classes import DataClass
from vault.closing import Closing
from vault.connection import Connection
from vault.database import Database
from vault.errors import OverBudget
from vault.log.entries import Action, Entry, Status
from vault.log.transparency import TransparencyLog

__all__ = ["Departure", "EgressJournal", "Journal", "Outcome", "Prepared"]


@dataclass(frozen=True, slots=True)
class Departure:
    """A request that is about to leave.

    Attributes:
        purpose: What it is for.
        destination: Host and path; never a query, which may hold a signature.
        bytes: Of the request: its head and its body, without what TLS and TCP add.
        data_class: Of the strictest data in it.
        description: Of what leaves, in kinds and numbers.
        consent: What allows it.
        encryption: What protects it on the way.
        payload_sha256: Digest of its body, in hex; empty when it has none.
    """

    purpose: str
    destination: str
    bytes: int
    data_class: DataClass
    description: str
    consent: str
    encryption: str
    payload_sha256: str = ""


class Prepared(NamedTuple):
    """A departure that was logged.

    Attributes:
        departure: What is about to leave.
        seq: Its entry.
        day: For which it counts.
    """

    departure: Departure
    seq: int
    day: str


class Outcome(NamedTuple):
    """What became of a departure.

    Attributes:
        status: `SENT` when it left, `ACKNOWLEDGED` when the destination answered, `REFUSED` when nothing left.
        sent: Bytes that left.
        received: Bytes that came back.
        note: A few words on it.
    """

    status: Status
    sent: int
    received: int
    note: str


class Journal(Protocol):
    """Takes down what passes the door. Where it fails, nothing is sent."""

    @property
    def closing(self) -> Closing:
        """Tells when nothing can be taken down any more, and waits for what is under way."""
        ...

    def prepare(self, departure: Departure) -> Prepared:
        """Take down what is about to leave, durably.

        Raises:
            OverBudget: the day's budget doesn't allow it.
            VaultError: it can't be taken down.
        """
        ...

    def complete(self, prepared: Prepared, outcome: Outcome) -> None:
        """Take down what became of it."""
        ...

    def refuse(self, departure: Departure, why: str) -> None:
        """Take down what our own rules stopped."""
        ...


class EgressJournal:
    """The journal that a vault keeps.

    Args:
        database: Holds the log and the count of each day.
        log: The transparency log.
        budget: Of the day.
        closing: Of the vault.
    """

    def __init__(self, database: Database, log: TransparencyLog, budget: Budget, closing: Closing) -> None:
        self.closing = closing
        self._database = database
        self._log = log
        self._budget = budget

    def prepare(self, departure: Departure) -> Prepared:
        """Log a departure and count its bytes, in one transaction.

        Raises:
            OverBudget: the day's budget doesn't allow it; the refusal is logged.
            VaultError: the log can't be written.
        """

        def work(connection: Connection) -> Prepared:
            day = self._budget.reserve(connection, departure.bytes)
            seq = self._log.record(connection, _entry(departure, Status.PREPARED, departure.bytes))
            return Prepared(departure, seq, day)

        try:
            return self._database.write(work)
        except OverBudget:
            self.refuse(departure, "over the day's budget")
            raise

    def complete(self, prepared: Prepared, outcome: Outcome) -> None:
        """Log what became of a departure and correct the count, in one transaction.

        Raises:
            VaultError: the log can't be written.
        """
        departure, seq, day = prepared
        note = f"{outcome.note}; {outcome.received:,} bytes came back"

        def work(connection: Connection) -> None:
            self._budget.settle(connection, day, departure.bytes, outcome.sent, outcome.received)
            self._log.record(connection, _entry(departure, outcome.status, outcome.sent, note, seq))

        self._database.write(work)

    def refuse(self, departure: Departure, why: str) -> None:
        """Log what our own rules stopped.

        Raises:
            VaultError: the log can't be written.
        """
        self._log.append(_entry(departure, Status.REFUSED, 0, f"refused here: {why}"))

    def sent_today(self) -> Spent:
        """What has passed the door today."""
        return self._database.read(self._budget.spent)


def _entry(departure: Departure, status: Status, count: int, note: str = "", about: int | None = None) -> Entry:
    return Entry(
        action=Action.NETWORK,
        purpose=departure.purpose,
        data_class=departure.data_class,
        description="; ".join(part for part in (departure.description, note) if part),
        destination=departure.destination,
        bytes=count,
        encryption=departure.encryption,
        status=status,
        consent=departure.consent,
        payload_sha256=departure.payload_sha256,
        about=about,
    )
