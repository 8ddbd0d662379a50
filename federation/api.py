"""What an orchestrator answers in JSON. Bytes are base64 there; messages of the protocol are bytes in it.

`docs/openapi.json` has the addresses. Vectors and the messages of a round travel as they are, not as JSON.
"""

from typing import Annotated

import msgspec

from federation.messages import Digest, Key, Signature
from federation.task import Name

__all__ = [
    "Admitted",
    "AskToJoin",
    "CheckInReply",
    "Consistency",
    "Failure",
    "Joined",
    "Leaf",
    "ReleaseInfo",
    "State",
    "TaskInfo",
    "Wait",
]

_Path = Annotated[list[Digest], msgspec.Meta(max_length=64)]
_Place = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e7)]
_Words = Annotated[str, msgspec.Meta(max_length=500)]
_Bytes = Annotated[bytes, msgspec.Meta(max_length=1 << 18)]


class Failure(msgspec.Struct, frozen=True):
    """Why something wasn't done.

    Attributes:
        error: In words.
        hint: What to do.
    """

    error: _Words
    hint: _Words = ""


class AskToJoin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device asks to be admitted.

    Attributes:
        device: Its identity.
        invite: Which invite it has; not the secret.
        proof: That it has it (`federation.invites.proof_of`).
    """

    device: Key
    invite: Digest
    proof: Digest


class Admitted(msgspec.Struct, frozen=True):
    """The registrar's answer.

    Attributes:
        certificate: Its signature under the device's identity; `None` while it hasn't looked.
    """

    certificate: Signature | None


class TaskInfo(msgspec.Struct, frozen=True):
    """A task.

    Attributes:
        name: Of the task.
        state: `open`, `paused` or `finished`.
        message: The federation's `task`.
        place: In the log of releases.
        in_use: The number of the release that is in use.
        promotion: The place in the log that says so.
    """

    name: Name
    state: str
    message: _Bytes
    place: _Place
    in_use: _Place
    promotion: _Place


class ReleaseInfo(msgspec.Struct, frozen=True):
    """A release.

    Attributes:
        message: The federation's `release`.
        place: In the log of releases.
    """

    message: _Bytes
    place: _Place


class Leaf(msgspec.Struct, frozen=True):
    """An entry of the log, and what shows that it is one.

    Attributes:
        message: Of the entry.
        path: From its leaf to the root of the tree of the size that was asked for.
    """

    message: _Bytes
    path: _Path


class Consistency(msgspec.Struct, frozen=True):
    """What shows that a log begins with an older one."""

    path: _Path


class Wait(msgspec.Struct, frozen=True, tag="wait", tag_field="state"):
    """No round for this device now.

    Attributes:
        seconds: Until it asks again.
        why: In words.
    """

    seconds: _Seconds
    why: _Words


class Joined(msgspec.Struct, frozen=True, tag="round", tag_field="state"):
    """A round that takes devices.

    Attributes:
        number: Of the round.
        message: The federation's `round`.
        release: The number of the release to begin with.
        seconds_left: To advertise.
    """

    number: _Place
    message: _Bytes
    release: _Place
    seconds_left: _Seconds


CheckInReply = Wait | Joined


class State(msgspec.Struct, frozen=True):
    """How far a round is.

    Attributes:
        step: That it is at: of secure aggregation, or `sum`, `done`, `aborted`.
        seconds_left: Of the step.
        outcome: What came of it, in words; empty while it goes on.
    """

    step: str
    seconds_left: _Seconds
    outcome: _Words
