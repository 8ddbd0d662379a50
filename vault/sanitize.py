"""Makes foreign text harmless to a terminal, once, where it enters.

Textual, Rich and plain `print` hand control characters through, so text from a model, a file or a peer could
otherwise set the clipboard (OSC 52), move the cursor over what was shown, or reorder what is read (bidi).
"""

import re

__all__ = ["sanitize", "sanitize_line", "without_unseen"]

_LINE_ENDS = re.compile("\r\n?|[\u0085\u2028\u2029]")
_FORBIDDEN = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb"  # zero-width, invisible and annotation characters
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # of hieroglyphs, shorthand, music
    "\ufe00-\ufe0d\U000e0000-\U000e0fff"  # variation selectors and tags: they carry invisible text
    "]"
)
_STRAY_SELECTORS = re.compile("(?<![\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff])[\ufe0e\ufe0f](?!\u20e3)")
"""Selectors of emoji where there is none to select."""
_SURROGATES = re.compile("[\ud800-\udfff]")


def sanitize(text: str) -> str:
    """Remove what could control a terminal or hide from a reader; newlines and tabs stay.

    The work is per character and keeps no state, so a text may be sanitized in pieces, except that a line end
    split between two pieces becomes two.
    """
    text = _LINE_ENDS.sub("\n", text)
    return _SURROGATES.sub("\ufffd", _FORBIDDEN.sub("", text))


def without_unseen(text: str) -> str:
    """Sanitize what somebody is to read all of before they agree to it: a program, a change of a file.

    As `sanitize`, and selectors of emoji that have none before them go too: many of them spell what nobody sees.
    """
    return _STRAY_SELECTORS.sub("", sanitize(text))


def sanitize_line(text: str, limit: int = 200) -> str:
    """Sanitize a name or a title: one line, at most `limit` characters."""
    line = " ".join(sanitize(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
