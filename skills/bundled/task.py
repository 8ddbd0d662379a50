"""What a bundled skill is given and gives back; a run is one call of its `run`."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from skills.model import LanguageModel

__all__ = ["Outcome", "Progress", "Runner", "Source", "Task"]

Progress = Callable[[str, int, int], object]
"""Told what is being done, how many steps of the run are done, and of how many."""


class Source(NamedTuple):
    """A text that a person gave.

    Attributes:
        name: What they call it; sanitized. No model is told.
        text: Sanitized; its lines are those of the file.
    """

    name: str
    text: str


class Task(NamedTuple):
    """What a person wants of a skill.

    Attributes:
        sources: The texts, in the order in which they were named.
        question: What they ask; empty where they ask nothing.
        notices: What they are to be told of the texts, such as files that were left out.
    """

    sources: tuple[Source, ...]
    question: str = ""
    notices: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What a skill made of it.

    Attributes:
        result: As data, which fit the schema that is kept with the skill.
        markdown: The same for people.
    """

    result: msgspec.Struct
    markdown: str


class Runner(Protocol):
    """How a bundled skill is run."""

    def __call__(self, task: Task, model: LanguageModel, progress: Progress) -> Outcome:
        """Do it.

        Raises:
            InputRefused: the skill can't work with what it was given.
            RunStopped: the person stopped it.
            ClawError: the model failed.
        """
        ...
