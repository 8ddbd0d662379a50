"""What a probe found, and how it reads the small files of the kernel that it looks into."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["Found", "number_in", "text_in"]

_MOST_BYTES = 4096
_MOST_DIGITS = 18


class Found(NamedTuple):
    """What a probe found.

    Attributes:
        holds: Whether training may go on; `None` where nobody can tell.
        now: What is so now, in a word or two.
        why: Why not, as a sentence; empty where it may.
    """

    holds: bool | None
    now: str
    why: str = ""


def text_in(path: Path) -> str:
    """What a small file says, without the white space around it; empty where it can't be read, or is no text."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("ascii").strip()
    except (OSError, ValueError):
        return ""


def number_in(path: Path) -> int | None:
    """The whole number that a small file holds; `None` where it holds anything else."""
    text = text_in(path)
    digits = text.removeprefix("-")
    return int(text) if digits.isdigit() and len(digits) <= _MOST_DIGITS else None
