"""What is said of a log that isn't the one that was written."""

from vault.errors import LogDamaged

__all__ = ["damaged"]

_HINT = (
    "Something other than OpenClaw Core wrote to it, or an older copy was put back. Nothing was changed; "
    "`claw log list` shows what is there, and a backup made before it holds the log as it was."
)


def damaged(what: str) -> LogDamaged:
    """An error that names what is wrong with a log."""
    return LogDamaged(what, hint=_HINT)
