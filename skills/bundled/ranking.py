"""Which passages of a text have most to do with some words: BM25 (Robertson and Zaragoza, 2009), in memory.

Inverse document frequencies are those of Lucene, which are never negative.
"""

import math
from collections import Counter
from collections.abc import Sequence

from skills.bundled.words import content_words

__all__ = ["Ranking"]

_K1, _B = 1.2, 0.75


class Ranking:
    """An index over passages.

    Args:
        passages: Their texts.
    """

    def __init__(self, passages: Sequence[str]) -> None:
        self._counts = [Counter(content_words(passage)) for passage in passages]
        self._lengths = [count.total() for count in self._counts]
        self._mean = sum(self._lengths) / max(1, len(self._lengths)) or 1.0
        self._in: dict[str, list[int]] = {}
        for number, count in enumerate(self._counts):
            for word in count:
                self._in.setdefault(word, []).append(number)

    def rarity(self, word: str) -> float:
        """How much a word's stem says about a passage that has it: its inverse document frequency."""
        having = len(self._in.get(word, ()))
        return math.log(1 + (len(self._counts) - having + 0.5) / (having + 0.5))

    def best(self, question: str, most: int) -> list[tuple[int, float]]:
        """The passages that fit a question best, with their scores; one that shares no word with it isn't there."""
        scores: dict[int, float] = {}
        for word in set(content_words(question)):
            rarity = self.rarity(word)
            for number in self._in.get(word, ()):
                often = self._counts[number][word]
                length = 1 - _B + _B * self._lengths[number] / self._mean
                scores[number] = scores.get(number, 0.0) + rarity * often * (_K1 + 1) / (often + _K1 * length)
        return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:most]

    def words_of(self, numbers: Sequence[int], most: int) -> list[str]:
        """The stems that tell some passages from all the others, the most telling first."""
        count: Counter[str] = Counter()
        for number in numbers:
            count.update(self._counts[number])
        weighed = {word: often * self.rarity(word) for word, often in count.items() if often > 1}
        return sorted(weighed, key=lambda word: (-weighed[word], word))[:most]

    def coverage(self, question: str, words: set[str]) -> float:
        """How much of a question's meaning is among some words: the share of its rarities, from 0 to 1."""
        wanted = set(content_words(question))
        total = sum(map(self.rarity, wanted))
        return sum(map(self.rarity, wanted & words)) / total if total else 0.0
