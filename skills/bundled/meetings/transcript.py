"""A transcript as it was written down, taken apart: who said what, in which line.

Lines that begin with a name and a colon are taken for what that person said; without such lines the text counts as
said by nobody in particular. What transcribers put in (`{pause}`, `[laughter]`), fillers and words said twice are
left out. Line numbers are those of the file, so that everything can be looked up there.
"""

import re
from collections import Counter
from typing import NamedTuple

from skills.bundled.words import sentences

__all__ = ["LONGEST", "Transcript", "Utterance", "read_transcript"]

LONGEST = 600
"""Most characters of one utterance: longer ones are taken as several, of the same line."""

_TIME = r"[\[(]?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?[\])]?"
_SAID = re.compile(rf"(?:{_TIME}\s*[-–]?\s*)?(?P<who>[^\W\d_][^:\n]{{0,39}}?)\s*(?:{_TIME}\s*)?:\s")
_LABEL_WITHIN = 120
"""Characters at a line's beginning among which a name and its colon stand."""
_OF_SUBTITLES = re.compile(rf"WEBVTT.*|\d+|{_TIME}\s*-->.*")
_ANNOTATION = re.compile(r"\{[^{}\n]{0,60}\}|\[(?!\d)[^\[\]\n]{0,60}\]|<[^<>\n]{1,60}>")
_FILLER = re.compile(
    r"(?<![\w'-])(?:u+h+m?|u+m+|e+h+m*|e+r+m*|mm+|m+h+m+|h+m+|a+h+|nnn+|tsk)(?![\w'-])[\s,]*", re.IGNORECASE
)
_BEFORE_MARK = re.compile(r"\s+([.,?!;:])")
_BEFORE_ENDING = re.compile(r"(?<=\w)\s+(['’](?:s|t|re|ve|ll|d|m)\b)", re.IGNORECASE)
_CUT_OFF = re.compile(r"(?<![\w'’-])([B-HJ-NP-Z])\s+(?=(?i:\1)\w)|(?<![\w'’-])[b-hj-np-z](?:\s+(?=\w)|$)")
_TWICE = re.compile(r"(?<![\w'’])([\w']+(?:\s+[\w']+){0,3}?)(?:[\s,]+\1\b)+", re.IGNORECASE)
_MARKS = re.compile(r"([.,?!;:])(?:\s*[.,;:])+")
_LEAST_LABELLED, _SHARE_LABELLED = 2, 0.3
_MOST_WORDS_OF_NAME = 4


class Utterance(NamedTuple):
    """What somebody said in one line, or a part of it.

    Attributes:
        line: Of the file, counted from 1.
        speaker: Who; empty where the transcript doesn't say.
        text: What, without fillers.
    """

    line: int
    speaker: str
    text: str

    def __str__(self) -> str:
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


class Transcript(NamedTuple):
    """All that was said.

    Attributes:
        utterances: In their order.
        speakers: Everybody who speaks, by how often.
    """

    utterances: tuple[Utterance, ...]
    speakers: tuple[str, ...]


def read_transcript(text: str) -> Transcript:
    """Take a transcript apart.

    Args:
        text: Sanitized.
    """
    lines = text.split("\n")
    names = _names(lines)
    said: list[Utterance] = []
    speaker = ""
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or _OF_SUBTITLES.fullmatch(line):
            continue
        if names and (match := _SAID.match(line[:_LABEL_WITHIN])) and match["who"] in names:
            speaker, line = match["who"], line[match.end() :]
        said += [Utterance(number, speaker, piece) for piece in _pieces(line)]
    counted = Counter(one.speaker for one in said if one.speaker)
    return Transcript(tuple(said), tuple(name for name, _ in counted.most_common()))


def _names(lines: list[str]) -> set[str]:
    """What stands before a colon often enough to be names; nothing where the text has no such lines."""
    filled = [text for line in lines if (text := line.strip()) and not _OF_SUBTITLES.fullmatch(text)]
    labels = [match["who"] for line in filled if (match := _SAID.match(line[:_LABEL_WITHIN]))]
    labels = [label for label in labels if _could_be_a_name(label)]
    if len(labels) < _LEAST_LABELLED or len(labels) < _SHARE_LABELLED * len(filled):
        return set()
    return set(labels)


def _could_be_a_name(label: str) -> bool:
    words = label.split()
    return (
        len(words) <= _MOST_WORDS_OF_NAME and label[0].isupper() and not re.search(r"[.!?\"“”/]", label.rstrip("."))
    )


def _pieces(line: str) -> list[str]:
    """What was said, cut to pieces of at most `LONGEST` characters, between sentences or words where possible."""
    pieces: list[str] = []
    # Whatever a line holds, only so much of it is looked at at once.
    for start in range(0, len(line), 16 * LONGEST):
        for sentence in sentences(_without_fillers(line[start : start + 16 * LONGEST])):
            while sentence:
                cut = sentence[:LONGEST]
                if len(sentence) > LONGEST and (space := cut.rfind(" ")) > LONGEST // 2:
                    cut = cut[:space]
                sentence = sentence[len(cut) :].strip()
                if pieces and len(pieces[-1]) + 1 + len(cut) <= LONGEST:
                    pieces[-1] += f" {cut}"
                else:
                    pieces.append(cut)
    return [piece for piece in pieces if any(character.isalnum() for character in piece)]


def _without_fillers(text: str) -> str:
    text = _ANNOTATION.sub(" ", text)
    text = _BEFORE_ENDING.sub(r"\1", text)
    text = _FILLER.sub("", text)
    text = " ".join(text.split())
    text = _CUT_OFF.sub("", text)
    text = _TWICE.sub(r"\1", text)
    text = _MARKS.sub(r"\1", _BEFORE_MARK.sub(r"\1", text))
    return text.strip(" ,;:-–")
