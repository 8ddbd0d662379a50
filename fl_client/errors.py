"""What can go wrong while learning: one small tree.

LearningError
├── NotTrainable     there is nothing to train, or the model can't be trained on
├── TrainingStopped  the person stopped it; it can go on later
└── TrainingFailed   the trainer ended without a result, or with one that isn't to be trusted
"""

from vault.errors import ClawError

__all__ = ["LearningError", "NotTrainable", "TrainingFailed", "TrainingStopped"]


class LearningError(ClawError):
    """Any of them."""


class NotTrainable(LearningError):
    """There is nothing to train, or the model, or this machine, can't do it."""


class TrainingStopped(LearningError):
    """The person stopped it. Its last checkpoint is kept where one was."""


class TrainingFailed(LearningError):
    """The trainer ended without a result, or with one that isn't what was to be expected."""
