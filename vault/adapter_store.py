"""What the vault keeps of trained adapters: their weights, sealed, and what they were learned from."""

import hashlib
import math
import re
import secrets
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from vault.classes import HighlySensitive
from vault.connection import SqlValue
from vault.database import Connection, Database, Row
from vault.errors import DatabaseDamaged, NotFound, VaultError
from vault.example_store import is_skill_name

__all__ = [
    "MOST_BYTES",
    "PART_BYTES",
    "AdapterKind",
    "AdapterRecord",
    "AdapterStore",
    "TrainedAdapter",
    "adapters_learned_from",
    "find_adapters",
    "remove_adapters",
]

MOST_BYTES = 64 * 2**20
"""Of one adapter's GGUF file."""
PART_BYTES = 8 * 2**20
"""Of the pieces that it is sealed in: what is taken along has no row that is longer."""

_TABLE, _PARTS = "skill_adapters", "skill_adapter_parts"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 10
_SHA256 = re.compile("[0-9a-f]{64}")
_RECORD = (
    "id, skill, base_sha256, version, active, sha256, bytes, kind, rank, parameters, examples, loss_before, "
    "loss_after, created_ms, origin"
)


class AdapterKind(StrEnum):
    """Which of its numbers were trained."""

    FFA = "ffa"
    """B of each pair; A is frozen, made from a seed."""
    CORE = "core"
    """The square core between two frozen factors of the weight itself."""


class TrainedAdapter(msgspec.Struct, frozen=True):
    """What is known of an adapter when its training ends.

    Attributes:
        skill: The name of the skill that it is for.
        base_sha256: Digest of the model's file that it belongs to, in hex.
        kind: Which of its numbers were trained.
        rank: Of its matrices.
        parameters: How many numbers were trained.
        learned_from: The ids of the examples that it learned from.
        loss_before: Of the model alone on held-out examples, in nats a token; `None` where none were held out.
        loss_after: Of the model with it.
        origin: The federation's release that it is; empty where it was trained here.
    """

    skill: str
    base_sha256: str
    kind: AdapterKind
    rank: int
    parameters: int
    learned_from: tuple[str, ...]
    loss_before: float | None = None
    loss_after: float | None = None
    origin: str = ""


class AdapterRecord(msgspec.Struct, frozen=True):
    """What can be said of an adapter without opening it; other attributes as in `TrainedAdapter`.

    Attributes:
        id: Ten letters and digits.
        version: 1, 2, … for each skill and model.
        active: Whether it is the one that is used.
        sha256: Digest of its GGUF file, in hex.
        bytes: Of that file.
        examples: How many examples it learned from.
        created_ms: When it was kept, in milliseconds since 1970.
    """

    id: str
    skill: str
    base_sha256: str
    version: int
    active: bool
    sha256: str
    bytes: int
    kind: AdapterKind
    rank: int
    parameters: int
    examples: int
    loss_before: float | None
    loss_after: float | None
    created_ms: int
    origin: str = ""


class AdapterStore:
    """The vault's tables of adapters. What changes them is done in the transactions of whoever trains, or decides.

    Args:
        database: Of the vault.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def records(self, skill: str | None = None) -> list[AdapterRecord]:
        """Every adapter of a skill, or of all of them, by skill, model and version."""
        condition = "?1 IS NULL OR skill = ?1"
        return list(self._database.read(lambda c: find_adapters(c, condition, skill)))

    def active(self, skill: str, base_sha256: str) -> AdapterRecord | None:
        """The adapter that a skill uses with a model; `None` where it uses none."""
        condition = "skill = ? AND base_sha256 = ? AND active = 1"
        return next(iter(self._database.read(lambda c: find_adapters(c, condition, skill, base_sha256))), None)

    def get(self, adapter_id: str) -> AdapterRecord:
        """One adapter.

        Raises:
            NotFound: there is none of that id.
        """
        return self._database.read(lambda c: _get(c, adapter_id))

    def content(self, adapter_id: str) -> HighlySensitive[bytes]:
        """The GGUF file of an adapter.

        Raises:
            NotFound: there is none of that id.
            DatabaseDamaged: it isn't what was kept.
        """

        def read(connection: Connection) -> tuple[AdapterRecord, list[Row]]:
            query = f"SELECT part, data FROM {_PARTS} WHERE adapter = ? ORDER BY part LIMIT ?"
            most = MOST_BYTES // PART_BYTES
            return _get(connection, adapter_id), connection.execute(query, (adapter_id, most)).fetchall()

        record, rows = self._database.read(read)
        back = (
            f"Go back to another one: claw skill adapters rollback {record.skill}; "
            f"or remove it, and train again: claw skill adapters delete {adapter_id}"
        )
        try:
            data = b"".join(
                self._database.fields.open(_PARTS, f"{adapter_id}/{part}", "data", bytes(sealed)).reveal()
                for part, sealed in rows
            )
        except DatabaseDamaged as error:
            raise DatabaseDamaged(error.message, hint=back) from None
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise DatabaseDamaged(f"Parts of the adapter {adapter_id} are missing.", hint=back)
        return HighlySensitive(data)

    def put(
        self, connection: Connection, trained: TrainedAdapter, content: HighlySensitive[bytes], *, use: bool = True
    ) -> str:
        """Keep an adapter as the newest version, in a transaction that writes.

        Args:
            connection: Of that transaction.
            trained: What is known of it.
            content: Its GGUF file, of at most `MOST_BYTES`.
            use: Whether it is used from now on, in the place of the one that is.

        Returns:
            Its id.

        Raises:
            NotFound: an example that it learned from was removed meanwhile: then it mustn't be kept.
            VaultError: the file is empty or too large, or what is said of it makes no sense.
        """
        _check(trained)
        data = content.reveal()
        if not 1 <= len(data) <= MOST_BYTES:
            raise VaultError(
                f"An adapter of {len(data):,} bytes isn't kept: {MOST_BYTES >> 20} MiB is the most.",
                hint="Train it with a lower rank.",
            )
        sources = _sources(connection, trained.learned_from)
        place = trained.skill, trained.base_sha256
        row = connection.execute(
            f"SELECT coalesce(max(version), 0) FROM {_TABLE} WHERE skill = ? AND base_sha256 = ?", place
        ).fetchone()
        if use:
            self.deactivate(connection, *place)
        record = AdapterRecord(
            id="".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH)),
            skill=trained.skill,
            base_sha256=trained.base_sha256,
            version=1 + (row[0] if row else 0),
            active=use,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            kind=trained.kind,
            rank=trained.rank,
            parameters=trained.parameters,
            examples=len(sources),
            loss_before=trained.loss_before,
            loss_after=trained.loss_after,
            created_ms=time.time_ns() // 1_000_000,
            origin=trained.origin,
        )
        values = msgspec.structs.astuple(record)
        connection.execute(f"INSERT INTO {_TABLE} ({_RECORD}) VALUES (?{', ?' * (len(values) - 1)})", values)
        for part, start in enumerate(range(0, len(data), PART_BYTES)):
            piece = HighlySensitive(data[start : start + PART_BYTES])
            sealed = self._database.fields.seal(_PARTS, f"{record.id}/{part}", "data", piece)
            connection.execute(f"INSERT INTO {_PARTS} VALUES (?, ?, ?)", (record.id, part, sealed))
        for example_id, source in sources.items():
            connection.execute(
                "INSERT INTO skill_adapter_examples VALUES (?, ?, ?)", (record.id, example_id, source)
            )
        return record.id

    @staticmethod
    def activate(connection: Connection, adapter_id: str) -> AdapterRecord:
        """Use an adapter in the place of the one that is used, in a transaction that writes.

        Raises:
            NotFound: there is none of that id.
        """
        record = _get(connection, adapter_id)
        AdapterStore.deactivate(connection, record.skill, record.base_sha256)
        connection.execute(f"UPDATE {_TABLE} SET active = 1 WHERE id = ?", (adapter_id,))
        return msgspec.structs.replace(record, active=True)

    @staticmethod
    def deactivate(connection: Connection, skill: str, base_sha256: str) -> bool:
        """Use no adapter with a skill and a model, in a transaction that writes; whether one was used."""
        statement = f"UPDATE {_TABLE} SET active = 0 WHERE skill = ? AND base_sha256 = ? AND active = 1"
        return bool(connection.execute(statement, (skill, base_sha256)).rowcount)

    @staticmethod
    def roll_back(connection: Connection, active: AdapterRecord) -> AdapterRecord | None:
        """Use the version below the one that is used, in a transaction that writes; `None` where there is none.

        One that was found to be no better than the model alone is passed over.
        """
        AdapterStore.deactivate(connection, active.skill, active.base_sha256)
        condition = (
            "skill = ? AND base_sha256 = ? AND version < ? "
            "AND (loss_before IS NULL OR loss_after IS NULL OR loss_after < loss_before)"
        )
        below = find_adapters(connection, condition, active.skill, active.base_sha256, active.version)
        return AdapterStore.activate(connection, below[-1].id) if below else None

    @staticmethod
    def remove(connection: Connection, ids: Iterable[str]) -> int:
        """Remove adapters, in a transaction that writes; how many were there."""
        return remove_adapters(connection, ids)


def find_adapters(connection: Connection, condition: str, *values: SqlValue) -> tuple[AdapterRecord, ...]:
    """The adapters for which an SQL condition holds, by skill, model and version."""
    query = f"SELECT {_RECORD} FROM {_TABLE} WHERE {condition} ORDER BY skill, base_sha256, version"
    return tuple(_record(row) for row in connection.execute(query, values).fetchall())


def adapters_learned_from(
    connection: Connection, examples: Sequence[str], source: str = ""
) -> tuple[AdapterRecord, ...]:
    """The adapters that learned from one of these examples, or from one, gone or not, that came from a source.

    Args:
        connection: To the database.
        examples: By their ids.
        source: The name of a file; empty for none.
    """
    given = msgspec.json.encode(list(examples)).decode()
    condition = (
        "id IN (SELECT adapter FROM skill_adapter_examples WHERE example IN (SELECT value FROM json_each(?1)) "
        "OR (?2 <> '' AND source IN (?2, 'import:' || ?2)))"
    )
    return find_adapters(connection, condition, given, source)


def remove_adapters(connection: Connection, ids: Iterable[str]) -> int:
    """Remove adapters with all that belongs to them, in a transaction that writes; how many were there."""
    return sum(connection.execute(f"DELETE FROM {_TABLE} WHERE id = ?", (each,)).rowcount for each in ids)


def _check(trained: TrainedAdapter) -> None:
    losses = [loss for loss in (trained.loss_before, trained.loss_after) if loss is not None]
    if not (
        is_skill_name(trained.skill)
        and _SHA256.fullmatch(trained.base_sha256)
        and trained.rank >= 1
        and trained.parameters >= 1
        and all(map(math.isfinite, losses))
    ):
        raise VaultError("What is said of the adapter makes no sense; it isn't kept.")


def _sources(connection: Connection, examples: Iterable[str]) -> dict[str, str]:
    """Where each example came from."""
    found: dict[str, str] = {}
    for example_id in examples:
        row = connection.execute("SELECT source FROM skill_examples WHERE id = ?", (example_id,)).fetchone()
        if row is None:
            raise NotFound(
                "An example that the adapter learned from was removed meanwhile; the adapter isn't kept.",
                hint="Train again, without it.",
            )
        found[example_id] = row[0]
    return found


def _get(connection: Connection, adapter_id: str) -> AdapterRecord:
    found = find_adapters(connection, "id = ?", adapter_id)
    if not found:
        raise NotFound(
            f"There is no adapter {adapter_id!r}.", hint="`claw skill adapters list` shows those there are."
        )
    return found[0]


def _record(row: Row) -> AdapterRecord:
    adapter_id, skill, base, version, active, sha256, size, kind, *rest = row
    return AdapterRecord(adapter_id, skill, base, version, bool(active), sha256, size, AdapterKind(kind), *rest)
