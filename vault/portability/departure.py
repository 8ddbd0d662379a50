"""What is noted before something is taken out of the vault: in the log and, if it is much, as a notification."""

from typing import TYPE_CHECKING, NamedTuple

from vault.classes import DataClass
from vault.connection import Connection

if TYPE_CHECKING:
    from vault.log.entries import Action
    from vault.store import Vault

__all__ = ["Departure", "record_departure"]


class Departure(NamedTuple):
    """What was taken out.

    Attributes:
        purpose: What for.
        rows: How many.
        bytes: How many, as they were written.
        sha256: Of the file, in hex; empty where there are many.
        encryption: What protects it; empty when nothing does.
        what: Of which the rows are.
    """

    purpose: str
    rows: int
    bytes: int
    sha256: str = ""
    encryption: str = ""
    what: str = "everything"


def record_departure(vault: "Vault", action: "Action", departure: Departure) -> None:
    """Note it, before it appears: better one in the log that isn't there than one there that isn't in the log.

    Args:
        vault: It was taken out of.
        action: How.
        departure: What.
    """
    from vault.log.entries import Entry
    from vault.notifications import LARGE_EXPORT_BYTES, LargeExport

    entry = Entry(
        action=action,
        purpose=departure.purpose,
        data_class=DataClass.HIGHLY_SENSITIVE,
        description=f"{departure.what}: {departure.rows:,} records",
        bytes=departure.bytes,
        encryption=departure.encryption,
        payload_sha256=departure.sha256,
        sensitive=True,
    )

    def record(connection: Connection) -> None:
        vault.log.record(connection, entry)
        if departure.bytes >= LARGE_EXPORT_BYTES:
            told = LargeExport(bytes=departure.bytes, rows=departure.rows)
            vault.notifications.raise_(told, connection)

    vault.database.write(record)
