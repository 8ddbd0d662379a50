"""Things in a skill's files that a person should look at before agreeing to it.

These are the marks of skills that were written to be believed by a model or copied by a person. Finding none says
nothing about safety: what keeps a skill from harm is the sandbox, and that it is granted nothing.
"""

import re
from typing import NamedTuple

from vault.sanitize import sanitize, sanitize_line

__all__ = ["Finding", "lint"]

_TEXT_BYTES = 1 << 20
_LINE_LENGTH = 4000
_SHOWN = 80
_MOST = 200


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


_PATTERNS = {
    "text in an HTML comment, which a reader of the page doesn't see": re.compile(r"<!--"),
    "a paragraph of prerequisites: installing is for you to decide, never for a skill": re.compile(
        r"(?i)^\W*(?:pre-?requisites?|set-?up first|before you (?:begin|start)|required installation)\b"
    ),
    "something from the network goes straight into a shell": re.compile(
        r"(?i)\b(?:curl|wget|fetch|iwr|invoke-webrequest)\b.*(?:\||;|&&|>\s*\S+\s*(?:;|&&)).*\b(?:ba|z|da|k|fi)?sh\b"
        r"|\b(?:ba|z|da|k)?sh\b\s*(?:-c\s*)?[\"']?[<$`(]\(?\s*(?:curl|wget)"
        r"|\b(?:iex|invoke-expression)\b"
        r"|\b(?:curl|wget)\b.*\|\s*(?:sudo\s+)?(?:python|perl|ruby|node|php)"
    ),
    "base64 is decoded and run": re.compile(r"(?i)base64\s+(?:-d|-D|--decode)|b64decode|frombase64string|\batob\("),
    "a long run of base64, which nobody can read": re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}"),
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
        What was found, in the order of files and lines; the first 200.
    """
    found: list[Finding] = []
    for name in sorted(files):
        data = files[name]
        try:
            text = data[:_TEXT_BYTES].decode("utf-8")
        except UnicodeDecodeError:
            if not name.startswith("assets/"):
                found.append(Finding(name, 1, "this is no text: nobody can read what it does", ""))
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            found += [Finding(name, number, what, _shown(line)) for what in _about(line)]
            if len(found) >= _MOST:
                return found[:_MOST]
    return found


def _about(line: str) -> list[str]:
    whats = [what for what, pattern in _PATTERNS.items() if pattern.search(line[:_LINE_LENGTH])]
    if sanitize(line) != line:
        whats.insert(0, "control, invisible or text-reversing characters")
    return whats


def _shown(line: str) -> str:
    return sanitize_line(line.strip(), _SHOWN)
