"""A tool that fetches a page: off until a rule says otherwise, each address agreed to by the person, and only read.

It goes through the one door out. Redirects aren't followed: another address is another question.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import msgspec

from skills.errors import ToolFailed
from skills.tools.markup import text_of
from skills.tools.tool import Arguments, Effect, Plan, Resource, Running, Tool, digest_of
from vault.classes import DataClass
from vault.egress import Egress, Purpose, Reply, Request
from vault.sanitize import sanitize, sanitize_line

__all__ = ["FETCH", "fetch_tool"]

FETCH = "web.fetch"
"""What rules call it."""
_MOST_BYTES = 2 << 20
_LONGEST_URL = 2_000
_HOST = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ADDRESS = re.compile(r"[!-~]+")
_READABLE = ("text/", "application/json", "application/xml", "application/xhtml")


class FetchPage(Arguments, frozen=True):
    """Which page."""

    url: Annotated[str, msgspec.Meta(description="its address; https alone")]


def fetch_tool(door: Callable[[], AbstractContextManager[Egress]]) -> Tool[FetchPage]:
    """The tool that fetches a page.

    Args:
        door: Opens the one door out.
    """

    def plan(given: FetchPage, _resources: object) -> Plan:
        url = _checked(given.url)
        consent = f"approval {digest_of(given.url)[:12]}"

        def work(running: Running) -> str:
            running.progress(f"asking {url.hostname}")
            request = Request(Purpose.FETCH, given.url, DataClass.MEDIUM, consent, "the address of a page")
            with door() as egress:
                reply = egress.fetch(request, most=_MOST_BYTES)
            return _text(reply, running.stop.is_set)

        return Plan(
            f"ask {url.hostname} for a page: your address, and the one of the page, leave this device",
            work,
            details=given.url,
            basis=digest_of(given.url),
            dangerous=True,
        )

    return Tool(
        "fetch_page",
        FETCH,
        "Fetch a web page as text.",
        FetchPage,
        Effect.SEND,
        DataClass.MEDIUM,
        plan,
        lambda given: (Resource("host", _checked(given.url).hostname or ""),),
        foreign=True,
    )


def _checked(url: str) -> SplitResult:
    if len(url) > _LONGEST_URL or not _ADDRESS.fullmatch(url):
        raise ToolFailed("That is no address that can be shown whole.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ToolFailed("That is no address.") from None
    if parts.scheme != "https" or "@" in parts.netloc or port not in (None, 443):
        raise ToolFailed("Only https addresses without credentials and ports are fetched.")
    if not _HOST.fullmatch(parts.hostname or ""):
        raise ToolFailed("Only hosts with a public name are asked.")
    return parts


def _text(reply: Reply, stopped: Callable[[], bool]) -> str:
    answer = reply.answer
    kind = answer.headers.get("content-type", "").lower()
    if answer.location:
        raise ToolFailed(f"The page is elsewhere: {sanitize_line(answer.location, _LONGEST_URL)}")
    if answer.status != 200:
        raise ToolFailed(f"The server answered with status {answer.status}.")
    if not kind.startswith(_READABLE):
        raise ToolFailed("It isn't text.")
    text = reply.body.decode("utf-8", "replace")
    if "html" in kind:
        text = text_of(text, stopped)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+", " ", sanitize(text))).strip() or "The page holds no text."
