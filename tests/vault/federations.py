"""Rows of a federation: one that a device joined, what was agreed to, and what came of it."""

from vault.classes import HighlySensitive
from vault.connection import Connection
from vault.consent_store import Consent, ConsentStore, Installs
from vault.database import Database
from vault.federation_store import FederationRecord, FederationStore
from vault.participation_store import JudgedRelease, Participation, ParticipationStore

__all__ = ["CONSENT", "FEDERATION", "TASK", "put_federation", "take_part"]

TASK = "7a" * 32
FEDERATION = FederationRecord(
    "fe" * 32, "Our group", "https://orchestrator.example:8470", (bytes(32), b"\1" * 32), b"\2" * 32, b"\3" * 32
)
CONSENT = Consent(
    0,
    FEDERATION.id,
    FEDERATION.name,
    TASK,
    "minutes",
    b"the task",
    "examples:meeting-summarizer",
    "What was shown.\nAnd agreed to.",
    Installs.BETTER,
    0,
)


def put_federation(database: Database, connection: Connection, secret: bytes = bytes(32)) -> None:
    """A federation that a device asked to join; its key, and its invite's secret, are the one given."""
    sealed = HighlySensitive(secret)
    FederationStore(database).put(connection, FEDERATION, sealed, sealed)


def take_part(database: Database, round_: int = 3) -> None:
    """Consent, a round in which an update was sent, and its release."""
    store = ParticipationStore(database)
    version = database.write(lambda connection: ConsentStore.give(connection, CONSENT))
    one = Participation(FEDERATION.id, TASK, round_, version, round_ - 1, 1_700_000_000_000)
    store.begin(one)
    store.sending(one, 20, 1234, "ab" * 32, most=100)
    store.end(one, "summed")
    release = JudgedRelease(
        FEDERATION.id, TASK, round_, "cd" * 32, 20, 18, 1_700_000_000_001, 3.2, None, "waiting", None
    )
    database.write(lambda connection: store.judged(connection, release))
