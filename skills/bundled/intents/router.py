"""The router: which of some choices a request wants, with how sure it is, or none of them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from skills.bundled.intents.wording import wordings
from skills.embedding.embedder import Embedder, Report
from skills.embedding.head import Head
from skills.embedding.protocol import Subject

__all__ = ["Choice", "Decision", "Ranked", "Router"]


class Choice(NamedTuple):
    """Something that a request may want: a skill, a tool, an intent.

    Attributes:
        name: Its label; at most 128 characters.
        description: What it says of itself; may be empty where there are examples.
        examples: Requests that wanted it.
    """

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()


class Ranked(NamedTuple):
    """A choice's name and its probability, if the request wants any of them."""

    label: str
    probability: float


class Decision(NamedTuple):
    """What a request wants.

    Attributes:
        label: The choice's name; `None` for none of these.
        confidence: The probability of the likeliest choice, if the request wants any of them.
        nearness: The cosine with what is known of that choice; where it is low, the answer is none of these.
        ranked: The likeliest choices, the first foremost; also where the answer is none of these.
    """

    label: str | None
    confidence: float
    nearness: float
    ranked: tuple[Ranked, ...]


class Router:
    """Decides by what was learned. It can't be changed: to add examples, learn anew.

    Args:
        embedder: Its process is started by the first question.
        head: What was learned; keep `head.to_bytes()` and read it again with `skills.embedding.head.parse`.
    """

    def __init__(self, embedder: Embedder, head: Head) -> None:
        self._embedder = embedder
        self.head = head

    @classmethod
    def learn(
        cls,
        embedder: Embedder,
        choices: Iterable[Choice],
        outside: Sequence[str] = (),
        report: Report | None = None,
    ) -> "Router":
        """Learn to tell choices apart: by their names and descriptions, and by the examples that there are.

        Where every choice has at least `skills.embedding.embedder.LEAST_TO_TRAIN` examples, weights are fitted to
        them; before that, a choice is the average of all that is known of it.

        Args:
            embedder: What compares texts.
            choices: Each with another name.
            outside: Requests that wanted none of them, as far as they are known.
            report: Told how far it is.

        Raises:
            EmbedderError: the embedder doesn't work here, or there is nothing to learn of, or too much.
            HeadRefused: a name is there twice, empty, or too long.
        """
        subjects = [
            Subject(choice.name, wordings(choice.name, choice.description), choice.examples) for choice in choices
        ]
        return cls(embedder, embedder.learn(subjects, outside, report))

    def decide(self, text: str, most: int = 5) -> Decision:
        """What a request wants.

        Args:
            text: The request; some 200 words of it are read.
            most: How many choices to rank.

        Raises:
            EmbedderError: the embedder doesn't work here, or its process ended.
        """
        if not text.strip():
            return Decision(None, 0.0, 0.0, ())
        labels = self.head.labels
        verdict = self._embedder.decide(text, self.head, most)
        ranked = tuple(Ranked(labels[place], probability) for place, probability in verdict.ranked)
        chosen = None if verdict.label is None else labels[verdict.label]
        return Decision(chosen, ranked[0].probability, verdict.nearness, ranked)
