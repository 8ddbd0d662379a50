"""A meeting in parts, each small enough to be read at once, and the most telling sentence of each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from skills.bundled.meetings.minutes import Lines
from skills.bundled.meetings.transcript import Utterance
from skills.bundled.ranking import Ranking
from skills.bundled.words import content_words, sentences

__all__ = ["KeySentence", "Part", "cut", "key_sentence"]

_KEYS = 12
_SHORTEST_WORDS, _LONGEST = 5, 280
_EVEN_OUT = 8
"""Added to a sentence's length before what it says is divided by it, so that the shortest ones don't always win."""


class Part(NamedTuple):
    """A stretch of the meeting."""

    utterances: tuple[Utterance, ...]

    @property
    def lines(self) -> Lines:
        """Where it stands."""
        return self.utterances[0].line, self.utterances[-1].line

    def __str__(self) -> str:
        return "\n".join(map(str, self.utterances))


class KeySentence(NamedTuple):
    """A sentence that says much of what its part is about.

    Attributes:
        line: Where it stands.
        speaker: Who said it; empty where nobody knows.
        text: The sentence.
        weight: How telling it is; compares within one meeting alone.
    """

    line: int
    speaker: str
    text: str
    weight: float


def cut(utterances: Sequence[Utterance], tokens: int, count: Callable[[str], int]) -> list[Part]:
    """Cut a meeting into parts.

    Utterances that say nothing (yeah, right) are left out.

    Args:
        utterances: All that was said.
        tokens: Most of one part, unless one utterance alone has more.
        count: How many tokens a text is.
    """
    parts: list[Part] = []
    part: list[Utterance] = []
    size = 0
    for utterance in utterances:
        if len(content_words(utterance.text)) < 2:
            continue
        cost = count(str(utterance)) + 1
        if part and size + cost > tokens:
            parts.append(Part(tuple(part)))
            part, size = [], 0
        part.append(utterance)
        size += cost
    return [*parts, Part(tuple(part))] if part else parts


def key_sentence(ranking: Ranking, numbers: Sequence[int], parts: Sequence[Part]) -> KeySentence:
    """The most telling sentence of some parts: dense in the words that tell them from all the others.

    Args:
        ranking: Over all parts.
        numbers: Of these.
        parts: All of them.
    """
    keys = set(ranking.words_of(numbers, _KEYS))
    best: KeySentence | None = None
    for utterance in (one for number in numbers for one in parts[number].utterances):
        for sentence in sentences(utterance.text):
            words = content_words(sentence)
            telling = sum(map(ranking.rarity, keys & set(words)))
            fits = len(words) >= _SHORTEST_WORDS and len(sentence) <= _LONGEST
            weight = telling / (_EVEN_OUT + len(words)) if fits else 0.0
            if best is None or weight > best.weight:
                best = KeySentence(utterance.line, utterance.speaker, sentence, weight)
    assert best is not None
    return best
