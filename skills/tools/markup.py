"""The text of a page that a person would see: its HTML read once, from the beginning to the end.

Anybody may have written the page. `html.parser` takes minutes for some hundred kilobytes of `<a ` or `<!--`, since
it looks at the rest of a page anew for every beginning, and raises at others. Here each search goes on where the
one before ended, or ends the reading: what isn't closed reaches to the end of the page, as it does in a browser.
"""

import html
import itertools
import re
from collections.abc import Callable

from skills.errors import ToolFailed

__all__ = ["text_of"]

_RAW = ("script", "style")
"""They hold no elements, only text up to their own end."""
_UNSEEN = {*_RAW, "head", "noscript", "template", "svg"}
_BLOCKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "pre", "table"}

_MARK = re.compile(r"<(?=[A-Za-z/!?])")
"""Where something begins that isn't text; any other `<` is."""
_NAME = re.compile(r"[A-Za-z][^\s/>]*", re.ASCII)
_IN_TAG = re.compile(r">|=\s*+([\"'])", re.ASCII)
"""The end of a tag, or the beginning of a value in quotes, in which `>` is no end."""
_COMMENT_ENDS = re.compile(r"--!?>")
_RAW_ENDS = {name: re.compile(rf"(?=</{name}[\s/>])", re.ASCII | re.IGNORECASE) for name in _RAW}
_NO_CHARACTER = re.compile(r"&#[0-9]{8,};?")
"""A number beyond the last character: Python refuses to read those of thousands of digits."""
_LOOK_EVERY = 1_000


def text_of(page: str, stopped: Callable[[], bool]) -> str:
    """Take the text out of a page; what is malformed gives some text, and no error.

    Args:
        page: HTML.
        stopped: Asked now and then whether to give it up.

    Raises:
        ToolFailed: it was stopped.
    """
    seen = _Seen()
    at = 0
    for number in itertools.count():
        if number % _LOOK_EVERY == 0 and stopped():
            raise ToolFailed("The page was given up: it was stopped.")
        mark = _MARK.search(page, at)
        seen.text(page[at : mark.start() if mark else len(page)])
        if mark is None:
            break
        at = _past(page, mark.start(), seen)
    return "".join(seen.parts)


class _Seen:
    """What was seen so far, and within what unseen element the reading is, if it is."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._unseen = ""
        self._depth = 0
        self._block_ended = False

    def text(self, piece: str) -> None:
        if self._unseen or not piece:
            return
        if self._block_ended:
            self._new_line()
        self.parts.append(html.unescape(_NO_CHARACTER.sub("\ufffd", piece)) if "&" in piece else piece)

    def begin(self, name: str) -> None:
        if name == self._unseen:
            self._depth += 1
        elif name == "body" and self._unseen == "head":  # whose own end tag may be left out
            self._unseen = ""
        elif name in _UNSEEN and not self._unseen:
            self._unseen, self._depth = name, 1
        if name in _BLOCKS and not self._unseen:
            self._new_line()

    def end(self, name: str) -> None:
        if name == self._unseen:
            self._depth -= 1
            if not self._depth:
                self._unseen = ""
        elif name in _BLOCKS and not self._unseen:
            self._block_ended = True

    def _new_line(self) -> None:
        self.parts.append("\n")
        self._block_ended = False


def _past(page: str, at: int, seen: _Seen) -> int:
    """Where the reading goes on after the comment, declaration or tag that begins at `at`."""
    if page.startswith("<!--", at):
        ends = _COMMENT_ENDS.search(page, at + 2)  # `<!-->` is a whole one
        return ends.end() if ends else len(page)
    closing = page[at + 1] == "/"
    named = _NAME.match(page, at + 1 + closing)
    if named is None:  # `<!doctype …>`, `<![CDATA[…`, `<?xml …>`, `</ …>`, `</>`: to a browser they are comments
        return page.find(">", at) + 1 or len(page)
    name, end = named[0].lower(), _end_of_tag(page, named.end())
    if closing:
        seen.end(name)
        return end
    seen.begin(name)
    if name in _UNSEEN and page.startswith("/>", end - 2):
        seen.end(name)
    elif name in _RAW:
        ends = _RAW_ENDS[name].search(page, end)
        return ends.start() if ends else len(page)
    return end


def _end_of_tag(page: str, at: int) -> int:
    """Behind the `>` that ends a tag whose name ends at `at`."""
    while found := _IN_TAG.search(page, at):
        if not found[1]:
            return found.end()
        at = page.find(found[1], found.end()) + 1
        if not at:
            break
    return len(page)
