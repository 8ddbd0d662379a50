"""Where in a meeting something may have been agreed, taken on or left open: found by turns of phrase, in English.

They only propose: a model then says what it is, and much that they find is nothing. Questions are found in any
language that ends them with a question mark.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from skills.bundled.meetings.transcript import Utterance
from skills.bundled.ranking import Ranking
from skills.bundled.words import content_words, sentences, shortened

__all__ = ["Candidate", "Kind", "candidates"]

_LEAST_WORDS = 3
_LONGEST_CLAUSE = 180
_ANSWERED_WITHIN = 4
"""Utterances after something that may answer it, or agree to it."""


class Kind(StrEnum):
    """What a candidate may be."""

    DECISION = "decision"
    TASK = "task"
    QUESTION = "question"


class Candidate(NamedTuple):
    """A sentence that may be something.

    Attributes:
        kind: What it may be.
        utterance: Where it was said, and by whom.
        clause: What was said, from where it begins to be about that.
        sentence: All of the sentence.
        owner: Who would have to do it, as far as the words tell; `None` where they name nobody.
        weight: How likely it is, compared with others of its kind.
    """

    kind: Kind
    utterance: Utterance
    clause: str
    sentence: str
    owner: str | None
    weight: float


class _Cue(NamedTuple):
    pattern: re.Pattern[str]
    weight: float


def _cue(pattern: str, weight: float) -> _Cue:
    return _Cue(re.compile(pattern, re.IGNORECASE), weight)


_DECISIONS = (
    _cue(
        r"(?<!what )\bwe(?:'ve| have)? (?:\w+ )?(?:agreed|decided) (?:to|on|that)\b|"
        r"\b(?:it|that)'?s (?:decided|agreed)\b",
        4,
    ),
    _cue(r"\b(?:the )?(?:decision|plan|conclusion) (?:is|was|would be) (?:to|that)\b", 4),
    _cue(
        r"\b(?:so|then|ok(?:ay)?|alright|yes|yeah),? (?:let's|we'll|we will|we're (?:going to|gonna))\b",
        1,
    ),
    _cue(r"\bwe (?:keep|stay with|stick (?:with|to)|go with|drop|cancel|postpone)\b", 3),
    _cue(r"\blet's (?!see\b)", 2.5),
    _cue(r"\bwe should(?:n't)?\b|\bwe need to\b|\bwe(?:'ll| will) need to\b", 1.5),
    _cue(r"\bwe(?:'ll| will|'re (?:going to|gonna)) (?=\w)", 1.5),
    _cue(r"\b(?:i|we) (?:suggest|propose)\b|\bi'm suggesting\b|\b(?:my|a) suggestion\b|\bgood idea\b", 2),
)
_TASKS = (
    _cue(r"\baction items?\b|\bto-do\b|\btodo\b", 4),
    _cue(
        r"\bi(?:'ll| will|'m (?:going to|gonna)) (?:\w+ ){0,2}?(?:ask|book|bring|build|buy|call|check|collect|"
        r"contact|do|draft|e-?mail|find out|finish|fix|get|give|go through|look (?:at|into|for|up)|make|order|"
        r"organi[sz]e|prepare|print|put|record|run|schedule|send|set up|share|start|test|try|update|"
        r"work on|write)\b",
        3,
    ),
    _cue(
        r"\bi (?:can|could) (?:ask|book|bring|buy|call|check|contact|e-?mail|find out|fix|look into|send|write)\b",
        2,
    ),
    _cue(r"\b(?:you should|(?:somebody|someone) (?:should|has to|needs? to|ought to))\b", 2),
    _cue(
        r"(?:^|[,.;] |\b(?:and|so|but|then) )(?:can|could|would|will) (?:you|somebody|someone) (?:please )?"
        r"(?:\w+ )??(?:ask|book|bring|call|check|do|find|fix|get|give|look|make|order|prepare|print|send|set|"
        r"share|test|try|update|write)\b",
        2.5,
    ),
    _Cue(re.compile(r"\b[A-Z][a-z]+,? (?:will|should|has to|needs to|ought to|please|can you|could you)\b"), 2),
    _cue(
        r"\b(?:by|until|before|on) (?:monday|tuesday|wednesday|thursday|friday|tomorrow|next week|the end of)\b", 1
    ),
)
_OPEN = (
    _cue(r"\b(?:should|shall|do|can|are|could) we\b", 1.5),
    _cue(r"\b(?:how|what|when|where|who|which|why)\b[^?]*\b(?:we|should|will|going to|gonna)\b", 1.5),
    _cue(r"\bdoes (?:any|some)(?:body|one) know\b|\bi wonder\b", 2),
    _cue(r"\b(?:is|are) there any\b|\bdo (?:you|we) know\b", 1),
)
_LEAST_WEIGHT = {Kind.DECISION: 2.0, Kind.TASK: 2.0, Kind.QUESTION: 1.4}
_BEGINS_CLAUSE = re.compile(r"(?:^|[,;:] |\b(?:and|but|so|because|cuz|then) )", re.IGNORECASE)
_TALK = re.compile(
    r"\b(?:i'll|i'm gonna|i will|let's|i can) (?:just )?(?:say|mention|explain|tell|throw|see|remember|imagine|"
    r"think|assume|suppose|take|face|be honest)\b"
    r"|\b(?:if|when|whether) (?:i|we|you|he|she|they)\b|\b(?:would|should|could) have (?!to\b)|\bthere should\b"
    r"|\bquestion was\b|\bat the rate\b|^[^\"“”]*[\"“”][^\"“”]*$"
    r"|\b(?:said|say|says|saying|mean|means),? [\"“]",
    re.IGNORECASE,
)
_AGREED = re.compile(
    r"^(?:yeah|yes|yep|ok(?:ay)?|sure|right|good|great|agreed|fine|alright|sounds good)\b", re.IGNORECASE
)
_NOT_KNOWN = re.compile(
    r"\b(?:don't know|do not know|not sure|no idea|good question|find out|(?:have|need) to (?:see|check|ask|think)|"
    r"wonder|unclear|open question|depends)\b",
    re.IGNORECASE,
)
_FIRST_PERSON = re.compile(r"\bi(?:'ll|'m| will| can| could| have to| need to| should)\b", re.IGNORECASE)
_NAMED = re.compile(
    r"\b(?P<who>[A-Z][\w'’-]+(?: [A-Z]\w*)?),? (?:will|should|has to|needs to|is going to|is gonna|can you|"
    r"could you|would you|will you|please)\b"
)


def candidates(utterances: Sequence[Utterance], speakers: Sequence[str], most: int) -> dict[Kind, list[Candidate]]:
    """The likeliest candidates of each kind, in the order in which they were said.

    Args:
        utterances: All that was said.
        speakers: Those who speak.
        most: Of each kind.
    """
    ranking = Ranking([utterance.text for utterance in utterances])
    found: dict[Kind, list[Candidate]] = {kind: [] for kind in Kind}
    for number, utterance in enumerate(utterances):
        after = utterances[number + 1 : number + 1 + _ANSWERED_WITHIN]
        others = [one for one in after if one.speaker != utterance.speaker or not utterance.speaker]
        for sentence in sentences(utterance.text):
            for kind, at, weight in _proposals(sentence, others):
                clause = _clause(sentence, at)
                words = set(content_words(clause))
                if weight < _LEAST_WEIGHT[kind] or len(words) < _LEAST_WORDS or _TALK.search(clause):
                    continue
                # What is said in words that are rare says more; but a clear cue counts for most.
                rare = sum(map(ranking.rarity, words))
                owner = _owner(clause, utterance.speaker, speakers) if kind is Kind.TASK else None
                found[kind].append(Candidate(kind, utterance, clause, sentence, owner, weight + rare / (20 + rare)))
    return {kind: _best(of_kind, most) for kind, of_kind in found.items()}


def _proposals(sentence: str, others: Sequence[Utterance]) -> list[tuple[Kind, int, float]]:
    """What a sentence may be: the kind, where in it the cue is, and how likely."""
    if sentence.rstrip("\"'”’) ").endswith("?"):
        weight, at = _weighed(_OPEN, sentence)
        if any(_NOT_KNOWN.search(one.text) for one in others):
            weight += 2
        elif others and len(content_words(others[0].text)) > _LEAST_WORDS:
            weight -= 1  # somebody seems to answer
        asked = [(Kind.QUESTION, at, weight)]
        task, at = _weighed(_TASKS, sentence)
        return [*asked, (Kind.TASK, at, task)] if task else asked
    agreed = 1.0 if any(_AGREED.match(one.text) for one in others[:2]) else 0.0
    decision, decided_at = _weighed(_DECISIONS, sentence)
    task, task_at = _weighed(_TASKS, sentence)
    if task and task >= decision:
        return [(Kind.TASK, task_at, task)]
    return [(Kind.DECISION, decided_at, decision + agreed)] if decision else []


def _weighed(cues: Sequence[_Cue], sentence: str) -> tuple[float, int]:
    """How much the cues in a sentence weigh together, and where the first of them begins."""
    matches = [(cue.weight, match.start()) for cue in cues if (match := cue.pattern.search(sentence))]
    return sum(weight for weight, _ in matches), min((at for _, at in matches), default=0)


def _clause(sentence: str, at: int) -> str:
    """The part of a sentence that a cue is in, from where its clause begins; of a question, up to its end."""
    begins = [match.end() for match in _BEGINS_CLAUSE.finditer(sentence) if match.end() <= at]
    return shortened(sentence[max(begins, default=0) :].strip(), _LONGEST_CLAUSE)


def _owner(sentence: str, speaker: str, speakers: Sequence[str]) -> str | None:
    if (named := _NAMED.search(sentence)) and (name := _known(named["who"], speakers)):
        return name
    return speaker or None if _FIRST_PERSON.search(sentence) else None


def _known(name: str, speakers: Sequence[str]) -> str | None:
    """The speaker whom a name means."""
    return next((one for one in speakers if name.lower() in (one.lower(), *one.lower().split())), None)


def _best(found: list[Candidate], most: int) -> list[Candidate]:
    distinct: list[Candidate] = []
    for candidate in sorted(found, key=lambda one: -one.weight):
        words = set(content_words(candidate.clause))
        if not any(
            len(words & other) > 0.6 * min(len(words), len(other))
            for other in (set(content_words(one.clause)) for one in distinct)
        ):
            distinct.append(candidate)
        if len(distinct) == most:
            break
    return sorted(distinct, key=lambda one: one.utterance.line)
