"""A federation's log of releases, as this device has seen it: it only ever goes on, for everybody the same.

The head that was seen last is kept in the vault with its signed checkpoint. A log that doesn't go on from there was
rewritten, or this device is shown another one than the others: then two signed checkpoints contradict each other,
and nothing more is believed.
"""

import contextlib
from collections.abc import Iterator

from federation.errors import Malformed, Refused
from federation.messages import Message, encode
from federation.releases import ORIGIN, check_included, head_of, next_head
from fl_client.errors import NotBelieved
from fl_client.participation.link import Link
from tlog.merkle import Head
from tlog.note import Verifier, origin_of
from vault.federation_store import FederationRecord, FederationStore

__all__ = ["SeenLog", "believed"]

_EVIDENCE = "Nothing more is sent to it. Compare the head that `claw fl status` shows with others' who take part."


class SeenLog:
    """The log of one federation.

    Args:
        link: To its orchestrator.
        store: Keeps the head that was seen last.
        federation: Its id, in hex.

    Attributes:
        head: That was seen last.
    """

    def __init__(self, link: Link, store: FederationStore, federation: str) -> None:
        record = store.get(federation)
        self._link = link
        self._store = store
        self._federation = federation
        self._verifier = Verifier(origin_of(ORIGIN, record.log), record.log)
        self.head = _head(record)

    async def advance(self) -> Head:
        """Look for a newer head, and remember it.

        Raises:
            NotBelieved: the log was cut or rewritten, or its checkpoint isn't signed by its key.
            VaultError: another process looked at it meanwhile.
        """
        record = self._store.get(self._federation)
        seen, note = _head(record), await self._link.checkpoint()
        with believed(record.name):
            told = head_of(note, self._verifier)
        path = await self._link.consistency(seen.size, told.size) if 0 < seen.size < told.size else []
        with believed(record.name):
            self.head = next_head(seen, note, path, self._verifier)
        if self.head != seen:
            self._store.saw_log(record, self.head.size, self.head.root, note)
        return self.head

    async def check(self, message: Message, place: int) -> None:
        """See that a message stands in the log.

        Raises:
            NotBelieved: it doesn't.
        """
        if not 0 <= place < self.head.size:
            raise NotBelieved("What the orchestrator says isn't in the log of releases.", hint=_EVIDENCE)
        leaf = await self._link.leaf(place, self.head.size)
        with believed("The federation"):
            if leaf.message != encode(message):
                raise Refused("Something else stands in the log of releases in its place.")
            check_included(message, place, leaf.path, self.head)


@contextlib.contextmanager
def believed(who: str) -> Iterator[None]:
    """Turn what the federation's language refuses into an error for a person.

    Raises:
        NotBelieved: it was refused.
    """
    try:
        yield
    except (Refused, Malformed) as error:
        raise NotBelieved(f"{who} isn't believed. {error.message}", hint=_EVIDENCE) from None


def _head(record: FederationRecord) -> Head:
    return Head(record.log_size, record.log_root)
