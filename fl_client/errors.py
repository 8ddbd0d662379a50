"""What can go wrong while learning: one small tree.

LearningError
├── NotTrainable     there is nothing to train, or the model can't be trained on
├── TrainingStopped  the person stopped it; it can go on later
├── TrainingFailed   the trainer ended without a result, or with one that isn't to be trusted
├── InviteRefused    exit 2: what was given is no invite, or it is of a federation that was joined already
├── ConsentNeeded    exit 4: nobody agreed to that, or not any more
├── NotAcceptable    exit 5: a task asks for more than the person's limits allow
├── HeldUpNow        exit 5: a limit of the person's doesn't hold right now
├── NotBelieved      exit 6: what a federation says contradicts itself, its log, or what was agreed to
├── Unreachable      the orchestrator can't be reached right now: it is tried again
├── NotYet           the orchestrator says: not now, or not any more
├── Declined         the orchestrator says no
├── RoundLost        a round goes on without this device, or gave no sum
└── SimulationRefused  there is nothing to simulate with such data, or such a task
"""

from typing import ClassVar

from vault.errors import ClawError

__all__ = [
    "ConsentNeeded",
    "Declined",
    "HeldUpNow",
    "InviteRefused",
    "LearningError",
    "NotAcceptable",
    "NotBelieved",
    "NotTrainable",
    "NotYet",
    "RoundLost",
    "SimulationRefused",
    "TrainingFailed",
    "TrainingStopped",
    "Unreachable",
]


class LearningError(ClawError):
    """Any of them."""


class NotTrainable(LearningError):
    """There is nothing to train, or the model, or this machine, can't do it."""


class TrainingStopped(LearningError):
    """The person stopped it. Its last checkpoint is kept where one was."""


class TrainingFailed(LearningError):
    """The trainer ended without a result, or with one that isn't what was to be expected."""


class InviteRefused(LearningError):
    """What was given is no invite, or it is of a federation that this device belongs to already."""

    exit_code: ClassVar[int] = 2


class ConsentNeeded(LearningError):
    """Nobody agreed to that, or somebody doesn't any more."""

    exit_code: ClassVar[int] = 4


class NotAcceptable(LearningError):
    """A task asks for more than the person's limits allow."""

    exit_code: ClassVar[int] = 5


class HeldUpNow(LearningError):
    """A limit of the person's doesn't hold right now."""

    exit_code: ClassVar[int] = 5


class NotBelieved(LearningError):
    """What a federation says contradicts itself, its log, or what was agreed to. Nothing more is sent to it."""

    exit_code: ClassVar[int] = 6


class Unreachable(LearningError):
    """The orchestrator can't be reached right now."""


class NotYet(LearningError):
    """The orchestrator says: not now, or not any more."""


class Declined(LearningError):
    """The orchestrator says no.

    Args:
        status: HTTP status.
    """

    def __init__(self, message: str, *, hint: str = "", status: int = 400) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class RoundLost(LearningError):
    """A round goes on without this device, or gave no sum."""


class SimulationRefused(LearningError):
    """There is nothing to simulate with such data, or such a task."""
