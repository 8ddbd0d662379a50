"""What the log says of anything that is taken out of the vault: before its first byte is written, and at its end.

Each departure has two entries, as each request through the door has. Where the second is missing, the process ended
in between, and what was written by then may lie somewhere.
"""

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from vault.classes import DataClass
from vault.connection import Connection
from vault.errors import RolledBack, VaultError

if TYPE_CHECKING:
    from vault.log.entries import Action, Status
    from vault.store import Vault

__all__ = ["Departure", "Taken"]


class Taken(NamedTuple):
    """What was taken out.

    Attributes:
        description: Kinds and numbers, never content.
        rows: How many.
        bytes: How many, as they were written.
        sha256: Of the file, in hex; empty where there are many.
    """

    description: str
    rows: int
    bytes: int
    sha256: str = ""


class Departure:
    """Something that is taken out of a vault, in a `with` block that is left early when it can't be.

    A vault that is open for reading alone takes no entry. What it holds can be taken out all the same, for there
    may be no other copy of it; `Vault.alarm` says that it wasn't logged.

    Args:
        vault: It is taken out of.
        action: How.
        purpose: What for.
        data_class: Of the strictest data in it.
        encryption: What protects it; empty when nothing does.
    """

    def __init__(
        self,
        vault: "Vault",
        action: "Action",
        purpose: str,
        *,
        data_class: DataClass = DataClass.HIGHLY_SENSITIVE,
        encryption: str = "",
    ) -> None:
        self._vault = vault
        self._action = action
        self._purpose = purpose
        self._data_class = data_class
        self._encryption = encryption
        self._about: int | None = None
        self._description = ""

    def prepare(self, description: str) -> None:
        """Log it, durably, before the first byte of it is written.

        Args:
            description: Kinds and numbers, as far as they are known by now.

        Raises:
            VaultError: it can't be logged, though the vault is open for writing.
        """
        from vault.log.entries import Status

        self._description = description
        self._about = self._record(Status.PREPARED, Taken(description, 0, 0))

    def finish(self, taken: Taken) -> None:
        """Log the end of it, before it appears: better one in the log that isn't there than the other way round.

        Much of it is worth a notification, too.

        Raises:
            VaultError: it can't be logged, though the vault is open for writing.
        """
        from vault.log.entries import Status

        self._record(Status.DONE, taken)

    def _record(self, status: "Status", taken: Taken) -> int | None:
        from vault.log.entries import Entry
        from vault.notifications import LARGE_EXPORT_BYTES, LargeExport

        entry = Entry(
            action=self._action,
            purpose=self._purpose,
            data_class=self._data_class,
            description=taken.description,
            bytes=taken.bytes,
            encryption=self._encryption,
            status=status,
            payload_sha256=taken.sha256,
            about=self._about,
            sensitive=True,
        )

        def work(connection: Connection) -> int:
            if taken.bytes >= LARGE_EXPORT_BYTES:
                told = LargeExport(bytes=taken.bytes, rows=taken.rows)
                self._vault.notifications.raise_(told, connection)
            return self._vault.log.record(connection, entry)

        try:
            return self._vault.database.write(work)
        except RolledBack:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from vault.log.entries import Status

        if error is not None and self._about is not None:
            # Where that can't be logged, the vault being locked, say, it stays prepared: parts of it may be left.
            with contextlib.suppress(VaultError):
                self._record(
                    Status.REFUSED, Taken(f"{self._description}; broken off here, nothing of it kept", 0, 0)
                )
