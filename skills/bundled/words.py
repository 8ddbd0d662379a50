"""The words of a text that carry its meaning, as far as that can be told without knowing the language well."""

import itertools
import re
from collections import Counter
from collections.abc import Collection

__all__ = ["babbles", "borne_out", "content_words", "numbers_agree", "sentences", "shortened", "spelled", "stem"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_END_OF_SENTENCE = re.compile(r"(?<![.!?…])[.!?…]+[\"'”’)\]]*(?=\s)")
_SHORTEST_STEM = 3
_RUN = 4
"""Words in a row that nobody says twice in one sentence."""
_STOP = frozenset(
    _WORD.findall(
        """
    a about actually after again ah all also am an and any anyway are aren't around as at away back be because
    been before being both but by came can can't cannot come cos could couldn't cuz did didn't do does doesn't
    doing don't done down each either else er even ever every few first for from get gets getting go goes
    going gone gonna good got had has hasn't have haven't having he he's her here him his how i i'd i'll i'm
    i've if in into is isn't it it'd it'll it's its just kind know last least less let let's like little lot
    made make makes many may maybe me mean might mine more most much must my myself need no nor not now of off
    oh ok okay on once one only or other our out over own part people perhaps pretty probably put quite rather
    really right said same saw say says see seem should shouldn't so some something sort still stuff such sure
    take talk than that that's the their them then there there's these they they're thing things think this
    those though through to too try two uh um until up us use very want wanna was wasn't way we we'd we'll
    we're we've well went were weren't what what's when where whether which while who whole why will with
    won't would wouldn't yeah yep yes yet you you'd you'll you're you've your
        """
    )
)
_ENDINGS = ("ations", "ation", "ings", "ing", "edly", "ied", "ies", "ed", "es", "ly", "'s", "’s", "s")


def stem(word: str) -> str:
    """A word without its most usual English endings, in small letters: enough to find its other forms."""
    word = word.lower().replace("’", "'")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > _SHORTEST_STEM else word


def content_words(text: str) -> list[str]:
    """The stems of a text's words, without those that say nothing by themselves, in their order."""
    words = (word.lower().replace("’", "'") for word in _WORD.findall(text))
    return [stem(word) for word in words if word not in _STOP and (len(word) > 1 or word.isdigit())]


def spelled(stems: Collection[str], text: str) -> list[str]:
    """Stems as the words that a text has of them most often, in small letters."""
    forms: dict[str, Counter[str]] = {}
    for word in _WORD.findall(text):
        if (found := stem(word)) in stems:
            forms.setdefault(found, Counter())[word.lower()] += 1
    return [forms[one].most_common(1)[0][0] if one in forms else one for one in stems]


def borne_out(text: str, source: Collection[str], *, at_least: float, words: int = 1) -> bool:
    """Whether what a model said can be found again in what it was given.

    Args:
        text: What it said.
        source: The content words of what it was given; a set.
        at_least: The share of the text's own content words that has to be among them.
        words: How many different ones it has to have at all.
    """
    own = set(content_words(text))
    return len(own) >= words and sum(word in source for word in own) >= at_least * len(own)


def numbers_agree(text: str, source: str) -> bool:
    """Whether each number in what a model said counts what it counts in what it was given.

    The same word has to come after it in both: "20 files" isn't borne out by "500 files and 20 MiB".
    """
    counted = _counted(source)
    return all(
        number in counted and (not thing or thing in counted[number])
        for number, things in _counted(text).items()
        for thing in things
    )


def _counted(text: str) -> dict[str, set[str]]:
    """For each number the content words right after it; an empty one where it is the last word."""
    words = content_words(text)
    found: dict[str, set[str]] = {}
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if any(character.isdigit() for character in word):
            found.setdefault(word, set()).add(after)
    return found


def babbles(text: str) -> bool:
    """Whether a text says the same again and again, as small models do that have lost the thread."""
    words = [word.lower() for word in _WORD.findall(text)]
    runs = [tuple(words[at : at + _RUN]) for at in range(len(words) - _RUN + 1)]
    return len(set(runs)) < len(runs)


def sentences(text: str) -> list[str]:
    """A text's sentences, as they stand in it but for the space around them."""
    ends = [0, *(match.end() for match in _END_OF_SENTENCE.finditer(text)), len(text)]
    parts = (text[start:end].strip() for start, end in itertools.pairwise(ends))
    return [part for part in parts if part]


def shortened(text: str, limit: int) -> str:
    """The beginning of a text, cut between two words."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return cut[: cut.rfind(" ") if " " in cut[limit // 2 :] else len(cut)].rstrip(" ,;:-") + "…"
