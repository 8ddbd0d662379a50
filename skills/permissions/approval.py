"""Asking the person: exactly what, by whom, and why; and what their answer is good for."""

from enum import StrEnum
from typing import Protocol

import msgspec

__all__ = ["Answer", "Approval", "Approver", "Nobody"]


class Answer(StrEnum):
    """What the person says."""

    DENY = "deny"
    ONCE = "once"
    """This very call."""
    SESSION = "session"
    """The same tool on the same resources, for the same skill, as long as this session goes on."""


class Approval(msgspec.Struct, frozen=True):
    """A question to the person.

    Attributes:
        tool: What would be called.
        action: Exactly what it would do, in a line.
        resources: Whole paths, hosts, scripts.
        details: What to look at: a difference, a program, an address.
        asked_by: The skill that wants it; empty for the assistant itself.
        reasons: Why it is asked, and what to be wary of.
        digest: Of the arguments and of what they stand on; what is agreed to is this and nothing else.
        lasting: Whether it can be agreed to for the session.
    """

    tool: str
    action: str
    resources: tuple[str, ...]
    details: str
    asked_by: str
    reasons: tuple[str, ...]
    digest: str
    lasting: bool


class Approver(Protocol):
    """Asks the person."""

    def ask(self, approval: Approval) -> Answer:
        """Ask, and wait for the answer. Whatever keeps the question from being answered is a *no*."""
        ...


class Nobody:
    """Where nobody can be asked: the answer is always no."""

    def ask(self, approval: Approval) -> Answer:  # noqa: ARG002
        """No."""
        return Answer.DENY
