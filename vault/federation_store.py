"""What the vault keeps of federations: who they are, this device's key in each, and how far their log was seen."""

import time

import msgspec

from tlog.merkle import EMPTY_ROOT
from vault.classes import HighlySensitive
from vault.database import Connection, Database, Row
from vault.errors import NotFound, VaultError

__all__ = ["FederationRecord", "FederationStore", "find_federation"]

_TABLE = "federations"
_RECORD = "id, name, address, pins, registrar, log, certificate, log_size, log_root, joined_ms"
_PIN_BYTES = 32
_AT_ONCE = 256


class FederationRecord(msgspec.Struct, frozen=True):
    """A federation, as its invite named it.

    Attributes:
        id: Digest of its two keys, in hex.
        name: For a person.
        address: Of its orchestrator.
        pins: Of the keys that the orchestrator may have, one or two.
        registrar: The key that vouches for devices.
        log: The key that signs the log of releases.
        certificate: The registrar's, over this device's identity; empty until it is admitted.
        log_size: Of the log of releases, as it was seen last.
        log_root: Of the log's tree then.
        joined_ms: When this device asked to join, in milliseconds since 1970.
    """

    id: str
    name: str
    address: str
    pins: tuple[bytes, ...]
    registrar: bytes
    log: bytes
    certificate: bytes = b""
    log_size: int = 0
    log_root: bytes = EMPTY_ROOT
    joined_ms: int = 0


class FederationStore:
    """The vault's table of federations.

    Args:
        database: Of the vault.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[FederationRecord]:
        """Every federation, by name."""
        rows = self._database.read(
            lambda c: c.execute(f"SELECT {_RECORD} FROM {_TABLE} ORDER BY name, id").fetchall()
        )
        return [_record(row) for row in rows]

    def get(self, federation: str) -> FederationRecord:
        """The federation of an id.

        Raises:
            NotFound: this device doesn't belong to it.
        """
        return self._database.read(lambda c: _get(c, federation))

    def put(
        self,
        connection: Connection,
        record: FederationRecord,
        identity: HighlySensitive[bytes],
        invite: HighlySensitive[bytes],
    ) -> None:
        """Keep a federation that this device asks to join, in a transaction that writes.

        Args:
            connection: Of that transaction.
            record: What the invite says.
            identity: This device's Ed25519 private key there, 32 bytes.
            invite: Its secret, 32 bytes.
        """
        fields = self._database.fields
        values = (
            record.id,
            record.name,
            record.address,
            b"".join(record.pins),
            record.registrar,
            record.log,
            fields.seal(_TABLE, record.id, "identity", identity),
            fields.seal(_TABLE, record.id, "invite", invite),
            None,
            0,
            0,
            EMPTY_ROOT,
            "",
            time.time_ns() // 1_000_000,
        )
        connection.execute(f"INSERT INTO {_TABLE} VALUES (?{', ?' * (len(values) - 1)})", values)

    def identity(self, federation: str) -> HighlySensitive[bytes]:
        """This device's private key in a federation, 32 bytes.

        Raises:
            NotFound: it doesn't belong to it.
            DatabaseDamaged: it was altered.
        """
        return self._sealed(federation, "identity")

    def invite(self, federation: str) -> HighlySensitive[bytes]:
        """The secret of the invite by which this device asked to join, 32 bytes.

        Raises:
            NotFound: it is a member already, or never asked.
            DatabaseDamaged: it was altered.
        """
        return self._sealed(federation, "invite")

    def _sealed(self, federation: str, column: str) -> HighlySensitive[bytes]:
        query = f"SELECT {column} FROM {_TABLE} WHERE id = ?"
        row = self._database.read(lambda c: c.execute(query, (federation,)).fetchone())
        if row is None or row[0] is None:
            raise NotFound("This device has no such key.", hint="`claw fl status` shows what it belongs to.")
        return self._database.fields.open(_TABLE, federation, column, bytes(row[0]))

    @staticmethod
    def admit(connection: Connection, federation: str, certificate: bytes) -> None:
        """This device belongs to a federation; the invite's secret goes. In a transaction that writes."""
        connection.execute(
            f"UPDATE {_TABLE} SET certificate = ?, invite = NULL WHERE id = ?", (certificate, federation)
        )

    def counters(self, federation: str) -> range:
        """Numbers for the next requests, higher than all before; durable, so that none is given out twice.

        Nor by a vault that was restored from a backup: they are never below the time.

        Raises:
            NotFound: this device left the federation.
        """

        def work(connection: Connection) -> range:
            statement = f"UPDATE {_TABLE} SET counter = max(counter, ?) + ? WHERE id = ? RETURNING counter"
            now_ms = time.time_ns() // 1_000_000
            row = connection.execute(statement, (now_ms, _AT_ONCE, federation)).fetchone()
            if row is None:
                raise NotFound("This device left the federation.")
            return range(row[0] - _AT_ONCE + 1, row[0] + 1)

        return self._database.write(work)

    def saw_log(self, seen: FederationRecord, size: int, root: bytes, checkpoint: str) -> None:
        """Remember a newer head of a federation's log.

        Args:
            seen: As it was when the newer one was found to go on from it.
            size: Of the newer one.
            root: Of the newer one.
            checkpoint: That says so.

        Raises:
            VaultError: another process saw another one meanwhile; look again.
        """

        def work(connection: Connection) -> None:
            changed = connection.execute(
                f"UPDATE {_TABLE} SET log_size = ?, log_root = ?, checkpoint = ? "
                "WHERE id = ? AND log_size = ? AND log_root = ?",
                (size, root, checkpoint, seen.id, seen.log_size, seen.log_root),
            )
            if changed.rowcount != 1:
                raise VaultError("The log of releases was looked at by another process meanwhile. Try again.")

        self._database.write(work)

    @staticmethod
    def remove(connection: Connection, federation: str) -> bool:
        """Forget a federation and this device's key in it, in a transaction that writes; whether it was there."""
        return bool(connection.execute(f"DELETE FROM {_TABLE} WHERE id = ?", (federation,)).rowcount)


def find_federation(records: list[FederationRecord], wanted: str | None) -> FederationRecord:
    """The federation that a person means: by its name, or the beginning of its id; the only one if not named.

    Raises:
        NotFound: there is none, or more than one.
    """
    if wanted is None:
        found = records
    else:
        found = [one for one in records if one.name.casefold() == wanted.casefold() or one.id == wanted]
        found = found or [one for one in records if len(wanted) >= 4 and one.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not records:
        raise NotFound("This device belongs to no federation.", hint="To join one: claw fl join INVITE")
    names = ", ".join(f"{one.name} ({one.id[:8]})" for one in (found or records))
    raise NotFound(
        f"There is no federation {wanted!r}." if not found else "There is more than one federation.",
        hint=f"Say which: {names}.",
    )


def _get(connection: Connection, federation: str) -> FederationRecord:
    row = connection.execute(f"SELECT {_RECORD} FROM {_TABLE} WHERE id = ?", (federation,)).fetchone()
    if row is None:
        raise NotFound("This device doesn't belong to that federation.", hint="`claw fl status` shows its own.")
    return _record(row)


def _record(row: Row) -> FederationRecord:
    id_, name, address, pins, registrar, log, certificate, size, root, joined = row
    cut = tuple(bytes(pins)[start : start + _PIN_BYTES] for start in range(0, len(pins), _PIN_BYTES))
    return FederationRecord(
        id_, name, address, cut, bytes(registrar), bytes(log), bytes(certificate or b""), size, bytes(root), joined
    )
