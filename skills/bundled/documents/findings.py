"""What answers a question: quotations that stand word by word in the files, and what a model makes of them."""

from typing import Literal

import msgspec

__all__ = ["Findings", "Quote", "as_markdown"]

_NOT_THERE = "The answer isn't there, as far as this skill can find."
_MARKS = frozenset("\\`*_[]<>|#~")


class Quote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sentence of a file.

    Attributes:
        file: As the person named it.
        line: Counted from 1.
        text: Exactly as it stands in that line.
    """

    file: str
    line: int
    text: str


class Findings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to a question.

    Attributes:
        question: As it was asked.
        found: Whether anything answers it.
        answer: The model's words, borne out by the quotes; empty where they weren't, or nothing was found.
        quotes: What it rests on, the most telling first; where nothing was found, what came nearest.
        files: How many files were read.
        lines: How many lines they have.
    """

    question: str
    found: bool
    answer: str
    quotes: tuple[Quote, ...]
    files: int
    lines: int
    kind: Literal["answer"] = "answer"


def as_markdown(findings: Findings, model: str) -> str:
    """The answer for people."""
    out = [f"# {_plain(findings.question)}", ""]
    if findings.found and findings.answer:
        out += [_plain(findings.answer), ""]
    elif findings.found:
        out += ["The model's answer wasn't borne out by the text. This is what stands there:", ""]
    else:
        out += [_NOT_THERE, *(["What comes nearest:"] if findings.quotes else []), ""]
    for quote in findings.quotes:
        out += [f"> “{_plain(quote.text)}”", ">", f"> {_plain(quote.file)}:{quote.line}", ""]
    read = f"{findings.lines:,} lines of {findings.files:,} file{'s' * (findings.files != 1)}"
    out += [
        "---",
        f"Made by {_plain(model)} from {read}. The quotations are exact; whether they answer is yours to judge.",
        "",
    ]
    return "\n".join(out)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: neither links, pictures and HTML, nor emphasis."""
    text = " ".join(text.split())
    return "".join(f"\\{character}" if character in _MARKS else character for character in text)
