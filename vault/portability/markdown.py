"""A conversation as Markdown, to be read by a person: the branch in use first, then what was said beside it."""

import datetime
import unicodedata
from collections.abc import Iterator

from vault.messages import Message
from vault.portability.trees import Conversation
from vault.sanitize import sanitize, sanitize_line

__all__ = ["as_markdown", "file_name"]

_NAME = 40


def as_markdown(conversation: Conversation) -> str:
    """The text of a file of its own. Times are UTC; nothing in it controls a terminal."""
    session, messages = conversation
    numbers = {message.id: number for number, message in enumerate(messages, 1)}
    parts = [f"# {sanitize_line(session.title, 1000)}", f"_{_when(session.created_ms)} · {session.id}_"]
    if session.source:
        parts.append(f"_From {sanitize_line(session.source)}_")
    if session.system_prompt:
        parts.append("> " + sanitize(session.system_prompt).replace("\n", "\n> "))
    in_use = conversation.branch()
    for message in messages:
        if message.id in in_use:
            parts += _section(message, numbers[message.id], "")
    beside = [message for message in messages if message.id not in in_use]
    if beside:
        parts += ["---", "Beside the branch in use, there is:"]
    for message in beside:
        above = f", after {numbers[message.parent_id]}" if message.parent_id else ", a beginning"
        parts += _section(message, numbers[message.id], above)
    return "\n\n".join(parts) + "\n"


def file_name(conversation: Conversation) -> str:
    """A name without anything that a file system, a shell or a terminal could take for more than a letter.

    It is never a path, never hidden, and no two conversations share one: the id is part of it.
    """
    session = conversation.session
    # NFC, or a system that normalizes names would list another one than was written.
    letters = unicodedata.normalize("NFC", sanitize_line(session.title))
    words = "".join(letter if letter.isalnum() else " " for letter in letters).split()
    title = "-".join(words)[:_NAME].strip("-") or "conversation"
    return f"{_when(session.created_ms)[:10]}-{title}-{session.id}.md"


def _section(message: Message, number: int, where: str) -> Iterator[str]:
    who = "You" if message.role == "user" else "Assistant"
    if message.generation is not None:
        who += f" ({sanitize_line(message.generation.model_name, 80)})"
    cut = "" if message.status == "complete" else ", cut off"
    yield f"## {number} · {who} · {_when(message.created_ms)}{cut}{where}"
    yield sanitize(message.text)
    for attachment in message.attachments:
        text = sanitize(attachment.text)
        fence = "```"
        while fence in text:
            fence += "`"
        yield f"Attached: {sanitize_line(attachment.name)}\n\n{fence}\n{text}\n{fence}"


def _when(ms: int) -> str:
    try:
        return f"{datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # a clock that was wrong
        return "0000-00-00 00:00"
