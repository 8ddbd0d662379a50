"""Calls in the transparency log: one entry each, or a beginning and its end where something is changed.

What writes, runs or sends is entered before it is done, so that no crash leaves it untold. Arguments and results
are never in it: a digest names the arguments, and the rest is kinds and numbers.
"""

from typing import TYPE_CHECKING

from skills.permissions.events import CallEvent, Finished, Refused, Started
from vault.log.entries import Action, Entry, Status

if TYPE_CHECKING:
    from vault.log.transparency import TransparencyLog

__all__ = ["CallRecord"]

_PURPOSE = "what the assistant was asked to do"


class CallRecord:
    """Listens to the bus, and enters every call.

    Args:
        log: Where.
    """

    def __init__(self, log: "TransparencyLog") -> None:
        self._log = log
        self._begun: dict[int, tuple[Started, int | None]] = {}

    def hear(self, event: CallEvent) -> None:
        """Enter what the log is to tell of an event."""
        match event:
            case Started():
                seq = self._log.append(_begun(event)) if event.acts else None
                self._begun[event.call] = event, seq
            case Finished() if event.call in self._begun:
                started, seq = self._begun.pop(event.call)
                self._log.append(_finished(started, event, seq))
            case Refused():
                self._log.append(_refused(event))


def _begun(event: Started) -> Entry:
    return Entry(
        action=Action.TOOL,
        purpose=_PURPOSE,
        data_class=event.data_class,
        description=f"{event.tool}, permitted by {event.how}",
        status=Status.PREPARED,
        payload_sha256=event.digest,
    )


def _finished(started: Started, event: Finished, seq: int | None) -> Entry:
    outcome = "failed" if event.failed else f"done: {event.size:,} characters came back"
    return Entry(
        action=Action.TOOL,
        purpose=_PURPOSE,
        data_class=started.data_class,
        description=f"{started.tool}, permitted by {started.how}; {outcome}",
        status=Status.DONE,
        payload_sha256=started.digest,
        about=seq,
    )


def _refused(event: Refused) -> Entry:
    return Entry(
        action=Action.TOOL,
        purpose=_PURPOSE,
        data_class=event.data_class,
        description=f"{event.tool} was refused",
        status=Status.REFUSED,
        payload_sha256=event.digest,
    )
