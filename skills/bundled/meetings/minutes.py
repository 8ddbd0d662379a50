"""What is made of a meeting: statements, each with the lines of the transcript that it comes from."""

from typing import Literal

import msgspec

from skills.bundled.words import shortened

__all__ = ["Lines", "Minutes", "Point", "Statement", "as_markdown"]

_NONE = "None found."
_QUOTED = 240
_MARKS = frozenset("\\`*_[]<>|#~")

Lines = tuple[int, int]
"""The first and the last line, counted from 1."""


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was talked about.

    Attributes:
        text: A sentence.
        lines: Where that was said.
        section: The lines that the statement stands for: all of the meeting are in one section or another.
        words: The words that tell this section from the others.
        by: Whether the model put it so (and its words are borne out by those lines), or it is a sentence of the
            transcript, which is then the most telling one of these lines.
    """

    text: str
    lines: Lines
    section: Lines
    words: tuple[str, ...]
    by: Literal["model", "transcript"]


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A decision, something to be done, or a question.

    Attributes:
        text: What, in few words.
        lines: Where it was said.
        speaker: Who said it; empty where the transcript doesn't say.
        quote: What was said there, without fillers.
        owner: Who is to do it, a name of the transcript; `None` where none was named, and for what is no task.
        by: As a statement's.
    """

    text: str
    lines: Lines
    speaker: str
    quote: str
    owner: str | None
    by: Literal["model", "transcript"]


class Minutes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The minutes of a meeting.

    Attributes:
        speakers: Those who spoke, by how often.
        lines: Of the transcript.
        summary: What was talked about, in its order.
        decisions: What seems to have been agreed.
        actions: What somebody seems to have to do.
        questions: What was asked and seems to have been left open.
    """

    speakers: tuple[str, ...]
    lines: int
    summary: tuple[Statement, ...]
    decisions: tuple[Point, ...]
    actions: tuple[Point, ...]
    questions: tuple[Point, ...]
    kind: Literal["minutes"] = "minutes"


def as_markdown(minutes: Minutes, model: str) -> str:
    """The minutes for people."""
    out = ["# Meeting", ""]
    if minutes.speakers:
        out += [f"Speakers: {', '.join(map(_plain, minutes.speakers))}.", ""]
    out += ["## Summary", ""]
    out += [line for one in minutes.summary for line in _of_statement(one)] or [_NONE]
    for title, points in (
        ("Decisions", minutes.decisions),
        ("Action items", minutes.actions),
        ("Open questions", minutes.questions),
    ):
        out += ["", f"## {title}", ""]
        out += [line for point in points for line in _of_point(point, owned=title == "Action items")] or [_NONE]
    out += [
        "",
        "---",
        f"Made by {_plain(model)} and by rules, from {minutes.lines:,} lines. What stands in “quotation marks” is "
        "from the transcript, without fillers. Look up the lines before you rely on any of it: rules and a small "
        "model miss much, and misunderstand some.",
        "",
    ]
    return "\n".join(out)


def _of_statement(one: Statement) -> list[str]:
    about = _plain(", ".join(one.words)) or "this and that"
    said = _plain(one.text) if one.by == "model" else f"“{_plain(one.text)}”"
    where = "" if one.lines == one.section else f" ({_lines(one.lines)})"
    return [f"- **{about}** ({_lines(one.section)})", f"  {said}{where}"]


def _of_point(point: Point, *, owned: bool) -> list[str]:
    owner = f"**{_plain(point.owner) if point.owner else 'nobody named'}**: " if owned else ""
    said = f"{_plain(point.speaker)}: " if point.speaker and not (owned and point.speaker == point.owner) else ""
    if point.by == "transcript":
        return [f"- {owner}{said}“{_plain(point.text)}” ({_lines(point.lines)})"]
    return [
        f"- {owner}{_plain(point.text)} ({_lines(point.lines)})",
        f"  > {said}“{_plain(shortened(point.quote, _QUOTED))}”",
    ]


def _lines(lines: Lines) -> str:
    first, last = lines
    return f"line {first}" if first == last else f"lines {first}–{last}"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: neither links, pictures and HTML, nor emphasis."""
    text = " ".join(text.split())
    return "".join(f"\\{character}" if character in _MARKS else character for character in text)
