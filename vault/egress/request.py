"""What may be asked of whom: purposes, and the rules that no setting loosens."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from vault.classes import DataClass
from vault.errors import ConsentMissing, EgressRefused
from vault.pinning import MAX_PINS, Pin
from vault.transfer import Answer

__all__ = ["COMMAND", "Purpose", "Reply", "Request", "admit"]

COMMAND = "command"
"""The consent of somebody who asked for this very request by a command."""


class Purpose(StrEnum):
    """What a request is for."""

    MODEL_PULL = "model-pull"
    FEDERATION = "federation"
    FETCH = "fetch"
    """A page that the assistant asked for and a person agreed to."""


class _Limit(NamedTuple):
    """What may pass for a purpose.

    Attributes:
        classes: Of the data that may leave, in the request itself and in its body.
        by_command: Whether a command is consent enough; otherwise a version of a given consent is needed.
        bodies: Whether anything may be sent along with the request.
    """

    classes: frozenset[DataClass]
    by_command: bool
    bodies: bool


_LIMITS = {
    Purpose.MODEL_PULL: _Limit(frozenset({DataClass.GENERAL}), by_command=True, bodies=False),
    Purpose.FEDERATION: _Limit(frozenset({DataClass.GENERAL, DataClass.MEDIUM}), by_command=False, bodies=True),
    Purpose.FETCH: _Limit(frozenset({DataClass.GENERAL, DataClass.MEDIUM}), by_command=False, bodies=False),
}

_SIGNATURE = frozenset({"signature", "signature-input", "content-digest", "claw-counter"})
"""Headers of a signed request (RFC 9421, RFC 9530); a request has no others of its own."""
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,1024}")

_NEVER = frozenset({DataClass.TOP_SECRET, DataClass.HIGHLY_SENSITIVE})
"""Stays here whatever the purpose, and whatever a later change writes into the table above."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to ask of one destination.

    Attributes:
        purpose: What it is for.
        url: An https address; it may carry a signature in its query, so it is never shown.
        data_class: Of the strictest data that leaves with it.
        consent: The version of the consent that allows it, or `COMMAND`.
        description: What leaves, in kinds and numbers; the transparency log says it.
        token: A bearer token for the address's own origin (host and port); a redirect elsewhere doesn't get it.
        redirects: Whether a download follows redirects to other https addresses, at most five.
        pins: Of the destination's key, at most two. They hold for every address that is redirected to as well.
        signature: The headers that sign it, by their names, for a pinned destination alone.
    """

    purpose: Purpose
    url: str = field(repr=False)
    data_class: DataClass
    consent: str
    description: str
    token: str = field(default="", repr=False)
    redirects: bool = False
    pins: tuple[Pin, ...] = ()
    signature: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response.

    Attributes:
        answer: Its head; a refusal of the destination's is an answer like any other.
        body: What came with it.
    """

    answer: Answer
    body: bytes = field(repr=False)


def admit(request: Request, *, body: bool) -> None:
    """Let a request pass that our rules allow.

    Args:
        request: What is to be asked.
        body: Whether something is sent along with it.

    Raises:
        ConsentMissing: nobody agreed to it.
        EgressRefused: the data may not leave, or not for this purpose.
    """
    limit = _LIMITS[request.purpose]
    if request.data_class in _NEVER or request.data_class not in limit.classes:
        raise EgressRefused(
            f"Data of the class {request.data_class} never leave this device for {request.purpose}; "
            "nothing was sent."
        )
    if body and not limit.bodies:
        raise EgressRefused(f"Nothing is sent along with a request for {request.purpose}; nothing was sent.")
    if len(request.pins) > MAX_PINS:
        raise EgressRefused(f"A destination has at most {MAX_PINS} pinned keys; nothing was sent.")
    if request.signature:
        _check_signature(request)
    if not request.consent or (request.consent == COMMAND and not limit.by_command):
        raise ConsentMissing(f"Nobody has consented to {request.purpose}; nothing was sent.")


def _check_signature(request: Request) -> None:
    names = [name.lower() for name in request.signature]
    if not (
        request.pins
        and not request.redirects
        and set(names) <= _SIGNATURE
        and len(set(names)) == len(names)
        and all(_HEADER_VALUE.fullmatch(value) for value in request.signature.values())
    ):
        raise EgressRefused(
            "A request is signed for a pinned destination, by the headers of a signature alone; nothing was sent."
        )
