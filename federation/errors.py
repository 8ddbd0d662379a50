"""The errors of the federation's language. It stands alone, so its tree has a root of its own.

FederationError
├── Malformed     bytes that are no message of this protocol, or a number outside of what it allows
├── Refused       what a device was told could cost it its privacy: it goes no further in this round
│   ├── TooFew    so few devices are left that it isn't safe, which needn't be anybody's fault
│   └── OutOfTurn a step was asked for that isn't the next one
└── Aborted       a round gives no sum: too few are left, or what came doesn't fit together
"""

__all__ = ["Aborted", "FederationError", "Malformed", "OutOfTurn", "Refused", "TooFew"]


class FederationError(Exception):
    """The root.

    Args:
        message: A sentence for a person; it holds no secret and nobody's private data.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Malformed(FederationError):
    """Bytes aren't a message of this protocol, or a number is outside of what it allows."""


class Refused(FederationError):
    """A device was told something that could cost it its privacy; it goes no further in this round."""


class Aborted(FederationError):
    """A round gives no sum; no update was opened."""


class TooFew(Refused):
    """So few devices are left in a round that this one goes no further; it needn't be anybody's fault."""


class OutOfTurn(Refused):
    """A step was asked for that isn't the next one, or a second time."""
