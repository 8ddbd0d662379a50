"""The command line's own errors.

ClawError (vault.errors)
└── UsageError   exit 2: the command was called in a way that can't work
"""

from vault.errors import ClawError

__all__ = ["UsageError"]


class UsageError(ClawError):
    """The command was called in a way that can't work."""

    exit_code = 2
