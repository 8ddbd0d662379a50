"""The errors of the orchestrator.

OrchestratorError
├── NotThere      what is asked for isn't there
├── NotNow        it can't be done in this state; most of the time, later
├── NotAllowed    who asks may not
├── TooLong       it is longer than such a message can be
├── TooSlow       it takes longer to come than its signature holds
└── TooMuch       more than anybody may ask for at once
"""

__all__ = ["NotAllowed", "NotNow", "NotThere", "OrchestratorError", "TooLong", "TooMuch", "TooSlow"]


class OrchestratorError(Exception):
    """The root.

    Args:
        message: A sentence for whoever asked; it names no other device.
        hint: What to do.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotThere(OrchestratorError):
    """What is asked for isn't there."""


class NotNow(OrchestratorError):
    """It can't be done in this state."""


class NotAllowed(OrchestratorError):
    """Who asks may not."""


class TooLong(OrchestratorError):
    """It is longer than such a message can be."""


class TooSlow(OrchestratorError):
    """It takes longer to come than its signature holds."""


class TooMuch(OrchestratorError):
    """More than anybody may ask for at once."""
