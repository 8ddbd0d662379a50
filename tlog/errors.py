"""What is said of a note that isn't one."""

__all__ = ["BadNote"]


class BadNote(ValueError):
    """A signed note, a checkpoint or a verifier key that isn't one, or that another key signed.

    Attributes:
        message: What is wrong.
        hint: What to do, if anything.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
