"""Recomputing a log from its leaves, and naming the first thing that isn't what was written."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from tlog.merkle import HASH_BYTES, Frontier, Head, leaf_hash
from tlog.note import Checkpoint, Verifier
from vault.connection import Connection
from vault.log.checkpoint import opened
from vault.log.entries import Body, decode, opens
from vault.log.finding import damaged

__all__ = ["Leaf", "Progress", "Verified", "Walk", "verify_rows"]

Progress = Callable[[int, int], None]
"""Is told how many entries of how many are done."""

_EVERY = 1000


class Leaf(NamedTuple):
    """One entry of a log.

    Attributes:
        seq: Where it says that it stands.
        commitment: Data of the leaf.
        salt: Opens the commitment, together with the body; both are `None` once the entry's time is over.
        body: What the entry says.
    """

    seq: int
    commitment: bytes
    salt: bytes | None
    body: bytes | None


class Verified(NamedTuple):
    """A log that is whole.

    Attributes:
        origin: Names the log.
        head: Its size and root, as the device signed them.
        cleared: How many entries have gone because their time was over; their leaves are there.
    """

    origin: str
    head: Head
    cleared: int


class Walk:
    """Takes the leaves of a log in order, and recomputes its head.

    Args:
        remembered: Earlier heads that somebody kept.
        claim_at: What the entry at another place says that it is, if that can be told.

    Attributes:
        frontier: Of what was taken.
        cleared: How many had gone.
    """

    def __init__(
        self,
        remembered: Iterable[tuple[int, bytes]] = (),
        claim_at: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        self.frontier = Frontier()
        self.cleared = 0
        self._remembered = [Head(size, root) for size, root in remembered if size]
        self._claim_at = claim_at

    def take(self, leaf: Leaf) -> Body | None:
        """Take the next leaf.

        Returns:
            What it says, if it is still there.

        Raises:
            LogDamaged: it isn't what was logged in this place.
        """
        here = self.frontier.size
        if leaf.seq != here:
            raise damaged(_gap(here, leaf.seq))
        if len(leaf.commitment) != HASH_BYTES or (leaf.salt is None) != (leaf.body is None):
            raise damaged(f"Entry {here} was changed.")
        body = None
        if leaf.salt is not None and leaf.body is not None:
            body = self._opened(here, leaf.commitment, leaf.salt, leaf.body)
        else:
            self.cleared += 1
        self.frontier.append(leaf_hash(leaf.commitment))
        return body

    def check_remembered(self, *, at_end: bool = False) -> None:
        """Compare with the heads that were remembered.

        Raises:
            LogDamaged: the log had another head at that size, or never came to it.
        """
        here = self.frontier.size
        for head in self._remembered:
            if head.size == here and head.root != self.frontier.root:
                raise damaged(f"The first {here} entries aren't those whose head was remembered outside the log.")
            if at_end and head.size > here:
                raise damaged(f"The log was cut: {_are_there(here)}, {head.size} were remembered outside it.")

    def finish(self, note: str, verifier: Verifier) -> Verified:
        """Compare with the signed checkpoint, after the last leaf.

        Raises:
            LogDamaged: it isn't the checkpoint of these leaves.
        """
        head = self.frontier.head
        checkpoint = opened(note, verifier)
        if checkpoint.origin != verifier.name:
            raise damaged(f"The checkpoint is another log's: {checkpoint.origin}.")
        if checkpoint.head.size > head.size:
            raise damaged(f"The log was cut: {_are_there(head.size)}, the checkpoint says {checkpoint.head.size}.")
        if checkpoint.head.size < head.size:
            raise damaged(
                f"The checkpoint is older than the log: {_are_there(head.size)}, "
                f"the checkpoint says {checkpoint.head.size}."
            )
        if checkpoint != Checkpoint(verifier.name, head):
            raise damaged("The checkpoint was signed for other entries than those that are there.")
        self.check_remembered(at_end=True)
        return Verified(verifier.name, head, self.cleared)

    def _opened(self, here: int, commitment: bytes, salt: bytes, data: bytes) -> Body:
        if not opens(commitment, salt, data):
            raise damaged(f"Entry {here} was changed.")
        try:
            body = decode(data)
        except ValueError:
            raise damaged(f"Entry {here} can't be read: no version of this program wrote it.") from None
        if body.seq != here:
            if self._claim_at(body.seq) == here:
                raise damaged(f"Entries {here} and {body.seq} changed places.")
            raise damaged(f"Entry {here} says that it is entry {body.seq}.")
        return body


def verify_rows(
    connection: Connection,
    verifier: Callable[[], Verifier | None],
    remembered: Iterable[tuple[int, bytes]] = (),
    progress: Progress | None = None,
) -> Verified:
    """Verify the log in a database.

    Args:
        connection: In a transaction.
        verifier: Gives the device's key, if it has one; asked for after the entries.
        remembered: Earlier heads that somebody kept.
        progress: Is told how far it is.

    Raises:
        LogDamaged: it names the first thing that is wrong.
    """
    walk = Walk(remembered, lambda seq: _claim_at(connection, seq))
    kept: dict[int, int] = {}  # by `sensitive`: the first entry that is still there
    (total,) = connection.execute("SELECT coalesce(max(seq) + 1, 0) FROM log_entries").fetchone() or (0,)
    rows = connection.execute(
        "SELECT seq, commitment, salt, body, at_ms, sensitive, root FROM log_entries ORDER BY seq"
    )
    for *leaf, at_ms, sensitive, root in rows:
        body = walk.take(Leaf(*leaf))
        seq = walk.frontier.size - 1
        if body is None:
            # Entries of a kind go in the order in which they came, so a gap wasn't made by time.
            if sensitive in kept:
                raise damaged(f"Entry {seq} was emptied, though the older entry {kept[sensitive]} is still kept.")
            if at_ms is not None:
                raise damaged(f"Entry {seq} was emptied, though not by its retention.")
        else:
            kept.setdefault(sensitive, seq)
            if body.at_ms != at_ms:
                raise damaged(f"The time of entry {seq} was changed.")
            if body.entry.sensitive != sensitive:
                raise damaged(f"How long entry {seq} is kept was changed.")
        if root != walk.frontier.root:
            raise damaged(f"Entry {seq} isn't what was logged in its place: the tree's head there was another.")
        walk.check_remembered()
        if progress and walk.frontier.size % _EVERY == 0:
            progress(walk.frontier.size, total)
    return _finish(connection, walk, verifier)


def _finish(connection: Connection, walk: Walk, verifier: Callable[[], Verifier | None]) -> Verified:
    state = connection.execute("SELECT size, frontier, checkpoint FROM log_state").fetchone()
    key = verifier()
    if state is None and key is None and not walk.frontier.size:
        walk.check_remembered(at_end=True)
        return Verified("", walk.frontier.head, 0)  # nothing was ever logged
    if state is None:
        raise damaged(f"The log's checkpoint is missing; {_are_there(walk.frontier.size)}.")
    if key is None:
        raise damaged("The key that signs the log is missing.")
    size, frontier, checkpoint = state
    verified = walk.finish(checkpoint, key)
    if (size, frontier) != (walk.frontier.size, walk.frontier.to_bytes()):
        raise damaged("The log's frontier isn't that of its entries: the next entry would break the tree.")
    return verified


def _claim_at(connection: Connection, seq: int) -> int | None:
    row = connection.execute(
        "SELECT commitment, salt, body FROM log_entries WHERE seq = ? AND body IS NOT NULL AND salt IS NOT NULL",
        (seq,),
    ).fetchone()
    if row is None or not opens(*row):
        return None
    try:
        return decode(row[2]).seq
    except ValueError:
        return None


def _gap(expected: int, found: int) -> str:
    if found == expected + 1:
        return f"Entry {expected} is missing."
    if found > expected:
        return f"Entries {expected} to {found - 1} are missing."
    return f"Entry {found} stands where entry {expected} belongs."


def _are_there(count: int) -> str:
    return "1 entry is there" if count == 1 else f"{count} entries are there"
