"""Texts cut into passages of neighbouring sentences, each of which says where it stands."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from skills.bundled.task import Source
from skills.bundled.words import sentences

__all__ = ["Passage", "Sentence", "passages"]

_LONGEST_SENTENCE = 400
_LONGEST_PASSAGE = 900
_OVERLAP = 2
"""Sentences at the end of one passage that begin the next: an answer may stand on both sides of a cut."""
_READ_AT_ONCE = 16 * _LONGEST_SENTENCE


class Sentence(NamedTuple):
    """A sentence as it stands in a file, or a piece of a long one.

    Attributes:
        source: Which file, by its index.
        line: Where, counted from 1.
        text: What it says; exactly as it stands in that line.
    """

    source: int
    line: int
    text: str


class Passage(NamedTuple):
    """Sentences of one file that follow one another."""

    sentences: tuple[Sentence, ...]

    def __str__(self) -> str:
        return "\n".join(sentence.text for sentence in self.sentences)


def passages(sources: Iterable[Source]) -> list[Passage]:
    """Cut texts into passages."""
    return [passage for number, source in enumerate(sources) for passage in _of_source(number, source.text)]


def _of_source(number: int, text: str) -> Iterator[Passage]:
    passage: list[Sentence] = []
    size = fresh = 0
    for sentence in _sentences(number, text):
        if passage and size + len(sentence.text) > _LONGEST_PASSAGE:
            yield Passage(tuple(passage))
            passage, fresh = passage[-_OVERLAP:], 0
            size = sum(len(one.text) for one in passage)
        passage.append(sentence)
        size += len(sentence.text)
        fresh += 1
    if fresh:
        yield Passage(tuple(passage))


def _sentences(number: int, text: str) -> Iterator[Sentence]:
    for line, content in enumerate(text.split("\n"), start=1):
        for start in range(0, len(content), _READ_AT_ONCE):
            for sentence in sentences(content[start : start + _READ_AT_ONCE]):
                while sentence:
                    piece = sentence[:_LONGEST_SENTENCE]
                    if len(sentence) > _LONGEST_SENTENCE and (space := piece.rfind(" ")) > _LONGEST_SENTENCE // 2:
                        piece = piece[:space]
                    sentence = sentence[len(piece) :].strip()
                    if any(character.isalnum() for character in piece):
                        yield Sentence(number, line, piece)
