"""What happens to calls, as typed events on a bus that the face and the transparency log listen to."""

from collections.abc import Callable

import msgspec

from vault.classes import DataClass

__all__ = ["Bus", "CallEvent", "Finished", "NeedsApproval", "Progressed", "Refused", "Started"]


class CallEvent(msgspec.Struct, frozen=True):
    """Something that happened to a call.

    Attributes:
        call: Numbers the calls of a process.
        tool: What was called.
    """

    call: int
    tool: str


class NeedsApproval(CallEvent, frozen=True):
    """The person is being asked.

    Attributes:
        action: What about.
    """

    action: str


class Started(CallEvent, frozen=True):
    """It was permitted, and is about to be done.

    Attributes:
        action: What.
        data_class: Of the strictest data that it reads.
        digest: Of its arguments.
        acts: Whether it does more than read and compute.
        how: What permitted it: a rule, or the person.
    """

    action: str
    data_class: DataClass
    digest: str
    acts: bool
    how: str


class Progressed(CallEvent, frozen=True):
    """It says how far it is.

    Attributes:
        note: In a few words; sanitized.
    """

    note: str


class Finished(CallEvent, frozen=True):
    """It came to its end.

    Attributes:
        failed: Whether it could not do what was asked.
        size: Characters of the result.
        seconds: How long it took.
    """

    failed: bool
    size: int
    seconds: float


class Refused(CallEvent, frozen=True):
    """It wasn't permitted, and nothing was done.

    Attributes:
        why: In a sentence.
        data_class: Of the strictest data that it would have read.
        digest: Of its arguments.
    """

    why: str
    data_class: DataClass
    digest: str


class Bus:
    """Tells everybody who listens, in the order in which they came, in the thread where it happens.

    An error of a listener's reaches whoever made the call: where the log can't be written, nothing is done.
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[CallEvent], None]] = []

    def listen(self, listener: Callable[[CallEvent], None]) -> Callable[[], None]:
        """Hear every event from now on; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, event: CallEvent) -> None:
        """Tell everybody."""
        for listener in tuple(self._listeners):
            listener(event)
