"""The skills that come with the program: useful at once, and in nobody's power to replace.

Each is a folder `NAME/` with its `SKILL.md`, as any other skill's, and a package whose `run` (`task.Runner`) does
what that says. To add one, add both, and a line to `_RUN_BY`.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import cast

from skills.bundled.task import Runner
from skills.candidate import Candidate, examine

__all__ = ["ROUTER", "candidate", "is_bundled", "names", "runner"]

_RUN_BY = {
    "document-qa": "skills.bundled.documents",
    "meeting-summarizer": "skills.bundled.meetings",
}
"""Each skill's name, and the package that runs it; loaded only then."""

ROUTER = "intent-router"
"""It compares requests with choices, and asks no model: `skills.bundled.intents`."""


def names() -> list[str]:
    """Of all bundled skills, sorted."""
    return sorted([*_RUN_BY, ROUTER])


def is_bundled(name: str) -> bool:
    """Whether a skill of this name comes with the program."""
    return name in names()


@cache
def candidate(name: str) -> Candidate:
    """A bundled skill's files and what they say.

    Args:
        name: Of a bundled skill.
    """
    folder = Path(__file__).parent / name
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return examine(name, files)


def runner(name: str) -> Runner:
    """What runs a bundled skill.

    Args:
        name: Of a bundled skill other than `ROUTER`.
    """
    return cast("Runner", importlib.import_module(_RUN_BY[name]).run)
