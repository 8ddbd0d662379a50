"""Things in a skill's files that a person should look at before agreeing to it.

These are the marks of skills that were written to be believed by a model or copied by a person. Finding none says
nothing about safety: what keeps a skill from harm is the sandbox, and that it is granted nothing.

Whoever wrote the files may have filled them so that something isn't come to: what is left out is a finding too.
"""

import codecs
import re
from collections import Counter
from typing import NamedTuple

from vault.sanitize import sanitize_line, without_unseen

__all__ = ["Finding", "lint"]

_TEXT_BYTES = 1 << 20
_LINE_LENGTH = 4000
_SHOWN = 80
_MOST_ALIKE = 5
"""Findings of one kind in one file: those of another kind, or file, aren't crowded out by them."""


class Finding(NamedTuple):
    """One thing to look at.

    Attributes:
        file: Its name in the skill.
        line: Counted from 1.
        what: What it is.
        text: The line, or its beginning, harmless to a terminal.
    """

    file: str
    line: int
    what: str
    text: str


# Lines are of any length, so each pattern goes over a line once: where something has to follow something, what was
# found first isn't looked for again (`(?>...)`), and there is no beginning but the line's (`\A`).
_PATTERNS = {
    "text in an HTML comment, which a reader of the page doesn't see": re.compile(r"<!--"),
    "a paragraph of prerequisites: installing is for you to decide, never for a skill": re.compile(
        r"(?i)\A\W*(?:pre-?requisites?|set-?up first|before you (?:begin|start)|required installation)\b"
    ),
    "something from the network goes straight into a shell": re.compile(
        r"(?i)\A(?>.*?\b(?:curl|wget|fetch|iwr|invoke-webrequest)\b)(?>.*?(?:[|;]|&&)).*\b(?:ba|z|da|k|fi)?sh\b"
        r"|\A(?>.*?\b(?:curl|wget)\b).*\|\s*(?:sudo\s+)?(?:python|perl|ruby|node|php)"
        r"|\b(?:ba|z|da|k)?sh\b\s*(?:-c\s*)?[\"']?[<$`(]\(?\s*(?:curl|wget)"
        r"|\b(?:iex|invoke-expression)\b"
    ),
    "base64 is decoded and run": re.compile(r"(?i)base64\s+(?:-d|-D|--decode)|b64decode|frombase64string|\batob\("),
    "a long run of base64, which nobody can read": re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{200,}={0,2}"),
    "it asks for rights that no skill needs": re.compile(r"(?i)\bsudo\b|\bchmod\s+(?:\+s|[0-7]*777)\b|setuid"),
    "it tells the model to disregard something, or to hide it": re.compile(
        r"(?i)\b(?:ignore|disregard|forget)\b.{0,40}\b(?:instruction|prompt|rule|above|previous)"
        r"|\bdo not (?:tell|mention|show|inform)\b.{0,30}\b(?:user|person|human)"
        r"|without (?:asking|telling) the (?:user|person)"
    ),
}


def lint(files: dict[str, bytes]) -> list[Finding]:
    """Look through all files of a skill.

    Args:
        files: By their names in the skill.

    Returns:
        What was found, in the order of files and lines: the first five of a kind in each file, and how many more
        there are. That only the first MiB of a file was looked at is a finding, too.
    """
    return [finding for name in sorted(files) for finding in _in_file(name, files[name])]


def _in_file(name: str, data: bytes) -> list[Finding]:
    cut = len(data) > _TEXT_BYTES
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:_TEXT_BYTES], final=not cut)
    except UnicodeDecodeError:
        if name.startswith("assets/"):
            return []
        return [Finding(name, 1, "this is no text: nobody can read what it does", "")]
    found: list[Finding] = []
    counts: Counter[str] = Counter()
    left_out: dict[str, int] = {}
    lines = text.replace("\r\n", "\n").split("\n")  # a shell, too, takes no other character for the end of a line
    for number, line in enumerate(lines, start=1):
        for what in _about(line):
            counts[what] += 1
            if counts[what] <= _MOST_ALIKE:
                found.append(Finding(name, number, what, _shown(line)))
            else:
                left_out.setdefault(what, number)
    for what, number in left_out.items():
        found.append(Finding(name, number, f"{counts[what] - _MOST_ALIKE:,} more were left out: {what}", ""))
    if cut:
        what = f"only the beginning was looked at, and it has {len(data) - _TEXT_BYTES:,} more bytes"
        found.append(Finding(name, len(lines), what, ""))
    return sorted(found, key=lambda finding: finding.line)


def _about(line: str) -> list[str]:
    whats = []
    if without_unseen(line) != line:
        whats.append("control, invisible or text-reversing characters")
    if len(line) > _LINE_LENGTH:
        whats.append(f"a line of more than {_LINE_LENGTH:,} characters, which nobody reads to its end")
    return whats + [what for what, pattern in _PATTERNS.items() if pattern.search(line)]


def _shown(line: str) -> str:
    return sanitize_line(line.strip(), _SHOWN)
