"""The transparency log of one device, in its vault: appended to by the transactions that it tells of."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tlog.merkle import Frontier, Head, consistency_proof, inclusion_proof, leaf_hash, verify_inclusion
from tlog.note import Checkpoint, Signer, Verifier
from vault.classes import HighlySensitive, TopSecret
from vault.connection import Connection, Row
from vault.database import Database
from vault.errors import LogDamaged, NotFound, VaultError
from vault.log.checkpoint import SEED_BYTES, signer_of
from vault.log.entries import SALT_BYTES, Body, Entry, StoredEntry, commit, decode, encode
from vault.log.export import Out, write_export
from vault.log.finding import damaged
from vault.log.verify import Progress, Verified, verify_rows

__all__ = ["SIGNING_KEY", "InclusionProof", "TransparencyLog"]

SIGNING_KEY = "device-signing-key"
"""Its row in `secrets`."""

_KINDS = (True, False)
_MOST_ENTRIES = 2**63 - 1
"""SQLite counts no further. No log gets there: one that says so was altered."""


class InclusionProof(NamedTuple):
    """Shows that an entry is part of the log, to whoever has a head of it.

    Attributes:
        seq: Index of the leaf.
        leaf: Its hash.
        path: From the leaf to the root.
        head: Of the log.
    """

    seq: int
    leaf: bytes
    path: list[bytes]
    head: Head


class TransparencyLog:
    """The log. Its methods may be called from any thread, those that take a connection from the database's.

    Args:
        database: That holds it.
        now_ms: The time, in milliseconds since 1970.
    """

    def __init__(
        self, database: Database, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._signer: Signer | None = None
        self._signer_sealed = b""

    def forget(self) -> None:
        """Let go of the key that signs."""
        self._signer, self._signer_sealed = None, b""

    def append(self, entry: Entry) -> int:
        """Log something by itself; returns the entry's seq."""
        return self._database.write(lambda connection: self.record(connection, entry))

    def record(self, connection: Connection, entry: Entry) -> int:
        """Log something in the transaction that does it, so that neither is there without the other.

        Args:
            connection: In a transaction that writes.
            entry: What is done.

        Returns:
            The entry's seq.

        Raises:
            LogDamaged: the log isn't in a state that can be gone on from.
            ValueError: the entry has texts that are too long, negative numbers or the like.
        """
        frontier = _frontier(connection)
        signer = self._load_signer(connection)
        if signer is None:
            if frontier.size:
                raise damaged("The key that signs the log is missing.")
            signer = self._make_signer(connection)
        seq = frontier.size
        at_ms = self._now_ms()
        body = encode(Body(seq, at_ms, entry))
        salt = os.urandom(SALT_BYTES)
        commitment = commit(salt, body)
        frontier.append(leaf_hash(commitment))
        head = frontier.head
        connection.execute(
            """
            INSERT INTO log_entries (seq, at_ms, sensitive, commitment, root, salt, body)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            (seq, at_ms, entry.sensitive, commitment, head.root, salt, body),
        )
        connection.execute(
            "INSERT OR REPLACE INTO log_state (only, size, frontier, checkpoint) VALUES (1, ?, ?, ?)",
            (head.size, frontier.to_bytes(), signer.sign(str(Checkpoint(signer.verifier.name, head)))),
        )
        return seq

    def expire(self, connection: Connection, before_ms: int, sensitive: bool | None = None) -> int:
        """Clear what entries say whose time is over; their leaves stay, and with them every proof.

        Entries go in the order in which they came: one that is still to be kept keeps those behind it, whatever
        the clock said then. Those from the future have no time that could be trusted and go with their elders.

        Args:
            connection: In a transaction that writes.
            before_ms: Older ones go.
            sensitive: Of which kind; both when `None`.

        Returns:
            How many were cleared.
        """
        cleared = 0
        for kind in _KINDS if sensitive is None else (sensitive,):
            cleared += connection.execute(
                """
                UPDATE log_entries SET at_ms = NULL, salt = NULL, body = NULL
                WHERE sensitive = ?1 AND body IS NOT NULL AND seq <= (
                    SELECT max(seq) FROM log_entries WHERE sensitive = ?1 AND at_ms < ?2 AND seq < coalesce(
                        (SELECT min(seq) FROM log_entries WHERE sensitive = ?1 AND at_ms >= ?2 AND at_ms <= ?3),
                        (SELECT max(seq) + 1 FROM log_entries)))
                """,
                (kind, before_ms, self._now_ms()),
            ).rowcount
        return cleared

    def entries(
        self, limit: int | None = None, *, since_ms: int | None = None, matching: str = ""
    ) -> list[StoredEntry]:
        """What the log says, the newest entry first.

        Args:
            limit: How many at most.
            since_ms: None older than this, and none whose time is over.
            matching: Only those that say this somewhere, in whatever case.
        """
        wanted = matching.casefold()

        def work(connection: Connection) -> list[StoredEntry]:
            found: list[StoredEntry] = []
            since, bound = ("WHERE at_ms >= ?", (since_ms,)) if since_ms is not None else ("", ())
            for row in connection.execute(
                f"SELECT seq, at_ms, body FROM log_entries {since} ORDER BY seq DESC", bound
            ):
                if limit is not None and len(found) >= limit:
                    break
                stored = _stored(row)
                if not wanted or _says(stored.entry, wanted):
                    found.append(stored)
            return found

        return self._database.read(work)

    def entry(self, seq: int) -> StoredEntry:
        """One entry.

        Raises:
            NotFound: there is none of that number.
        """
        row = self._database.read(
            lambda c: c.execute("SELECT seq, at_ms, body FROM log_entries WHERE seq = ?", (seq,)).fetchone()
        )
        if row is None:
            raise NotFound(f"There is no entry {seq} in the log.", hint="`claw log list` shows what there is.")
        return _stored(row)

    def checkpoint(self) -> str:
        """The newest head, signed: a note that any tool of the C2SP family reads. Empty when nothing was logged."""
        row = self._database.read(lambda c: c.execute("SELECT checkpoint FROM log_state").fetchone())
        return str(row[0]) if row else ""

    def verifier(self) -> Verifier | None:
        """Checks this device's signatures; `None` when nothing was logged."""
        return self._database.read(self._verifier)

    def inclusion_proof(self, seq: int) -> InclusionProof:
        """Prove that an entry is part of the log.

        Raises:
            NotFound: there is none of that number.
            LogDamaged: it isn't part of the log whose head was kept.
        """
        leaves, head = self._leaves()
        if not 0 <= seq < len(leaves):
            raise NotFound(f"There is no entry {seq} in the log.", hint="`claw log list` shows what there is.")
        proof = InclusionProof(seq, leaves[seq], inclusion_proof(leaves, seq), head)
        if not verify_inclusion(proof.leaf, seq, proof.path, head):
            raise LogDamaged(
                "The entries that are there aren't those of the log's head.", hint="`claw log verify` says more."
            )
        return proof

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """Prove that the log's first `old_size` entries are still the same, to whoever kept their head.

        Raises:
            NotFound: the log was never that long.
        """
        leaves, _ = self._leaves()
        if not 0 <= old_size <= len(leaves):
            raise NotFound(f"The log has {len(leaves)} entries, and never had {old_size}.")
        return consistency_proof(leaves, old_size)

    def verify(self, remembered: Iterable[tuple[int, bytes]] = (), *, progress: Progress | None = None) -> Verified:
        """Recompute everything, and compare it with what the rollback anchor and others remember of it.

        Args:
            remembered: Heads (size, root) that were kept elsewhere; the log must begin with each of them.
            progress: Is told how far it is, from the database's thread.

        Raises:
            LogDamaged: it names the first thing that is wrong; the person is notified as well.
            DatabaseDamaged: the signing key was altered.
        """
        anchored = self._database.newest()
        heads = [*remembered, *([anchored.log] if anchored else [])]
        try:
            return self._database.read(lambda c: verify_rows(c, lambda: self._verifier(c), heads, progress))
        except LogDamaged:
            with contextlib.suppress(VaultError):  # it may be open for reading alone
                self._notify()
            raise

    def verify_alone(self, connection: Connection) -> Verified:
        """Recompute everything in a transaction, before anything is remembered of the log.

        Raises:
            LogDamaged: it names the first thing that is wrong.
        """
        return verify_rows(connection, lambda: self._verifier(connection))

    def export(self, out: Out) -> int:
        """Write the log out in the clear, for other tools to verify; to note that is the caller's.

        Args:
            out: Where to; written to in the database's thread.

        Returns:
            How many entries were written.

        Raises:
            NotFound: nothing was logged yet.
            OSError: it can't be written.
        """

        def work(connection: Connection) -> int:
            state = connection.execute("SELECT checkpoint FROM log_state").fetchone()
            verifier = self._verifier(connection)
            if state is None or verifier is None:
                raise NotFound("Nothing was logged yet.")
            rows = connection.execute("SELECT seq, commitment, salt, body FROM log_entries ORDER BY seq")
            return write_export(out, str(verifier), state[0], rows)

        return self._database.read(work)

    def _leaves(self) -> tuple[list[bytes], Head]:
        def work(connection: Connection) -> tuple[list[bytes], Head]:
            rows = connection.execute("SELECT commitment FROM log_entries ORDER BY seq")
            return [leaf_hash(row[0]) for row in rows], _frontier(connection).head

        return self._database.read(work)

    def _notify(self) -> None:
        from vault.notifications import LogVerificationFailed, Notifications

        told = Notifications(self._database)
        if not any(isinstance(notification.event, LogVerificationFailed) for notification in told.unseen()):
            told.raise_(LogVerificationFailed())

    def _verifier(self, connection: Connection) -> Verifier | None:
        signer = self._load_signer(connection)
        return signer.verifier if signer else None

    def _load_signer(self, connection: Connection) -> Signer | None:
        row = connection.execute("SELECT value FROM secrets WHERE name = ?", (SIGNING_KEY,)).fetchone()
        if row is None:
            return None
        # Compared each time: the transaction that made the key may have been undone, or the key sealed anew.
        if self._signer is None or row[0] != self._signer_sealed:
            seed = self._database.fields.open("secrets", SIGNING_KEY, "value", row[0])
            self._signer, self._signer_sealed = signer_of(TopSecret(seed.reveal())), row[0]
        return self._signer

    def _make_signer(self, connection: Connection) -> Signer:
        seed = os.urandom(SEED_BYTES)
        sealed = self._database.fields.seal("secrets", SIGNING_KEY, "value", HighlySensitive(seed))
        connection.execute("INSERT INTO secrets (name, value) VALUES (?, ?)", (SIGNING_KEY, sealed))
        return signer_of(TopSecret(seed))


def _frontier(connection: Connection) -> Frontier:
    row = connection.execute("SELECT size, frontier FROM log_state").fetchone()
    try:
        frontier = Frontier.from_bytes(*row) if row else Frontier()
    except ValueError:
        raise damaged("The log's frontier isn't one of its size.") from None
    if frontier.size >= _MOST_ENTRIES:
        raise damaged(f"The log says that it has {frontier.size} entries, and none could be added.")
    return frontier


def _stored(row: Row) -> StoredEntry:
    seq, at_ms, data = row
    if data is None:
        return StoredEntry(seq, None, None)
    try:
        return StoredEntry(seq, at_ms, decode(data).entry)
    except ValueError:
        return StoredEntry(seq, at_ms, None, unreadable=True)


def _says(entry: Entry | None, wanted: str) -> bool:
    return entry is not None and any(
        wanted in text.casefold() for text in (entry.action, entry.purpose, entry.description, entry.destination)
    )
