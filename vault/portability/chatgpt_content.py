"""What one node of a ChatGPT export says, as text: or why it isn't kept."""

from collections.abc import Iterator
from typing import Any

import msgspec

from vault.messages import Attachment, Role
from vault.sanitize import sanitize_line

__all__ = ["Author", "Content", "ForeignMessage", "Said", "said"]

_NOT_KEPT = {
    "thoughts": "the model's notes to itself",
    "reasoning_recap": "the model's notes to itself",
    "user_editable_context": "notes about the person",
    "model_editable_context": "notes about the person",
}
_NOT_LABELLED = {"text", "multimodal_text"}
_HIDDEN = "hidden messages"


class Author(msgspec.Struct):
    """Who."""

    role: str
    name: str | None = None


class Content(msgspec.Struct):
    """What, in one of many shapes."""

    content_type: str = "text"
    parts: list[Any] | None = None
    text: Any = None
    result: Any = None


class ForeignMessage(msgspec.Struct):
    """One message of the export."""

    author: Author
    content: Content = msgspec.field(default_factory=Content)
    create_time: float | None = None
    metadata: dict[str, Any] | None = None


class Said(msgspec.Struct, frozen=True):
    """What is kept of a message.

    Attributes:
        role: Of ours; `None` for what belongs into the system prompt.
        text: What was said.
        attachments: Files whose text came along.
        skipped: Why nothing is kept of it, for the person; empty when something is, or nothing was there.
    """

    role: Role | None = None
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    skipped: str = ""


def said(message: ForeignMessage) -> Said:
    """What is kept of a message."""
    metadata, content, role = message.metadata or {}, message.content, message.author.role
    if metadata.get("is_visually_hidden_from_conversation") is True:
        return Said(skipped=_HIDDEN if _text(content) else "")
    if reason := _NOT_KEPT.get(content.content_type):
        return Said(skipped=reason)
    text = _text(content)
    if role == "system":
        return Said(None, text)
    if role not in ("user", "assistant", "tool"):
        return Said(skipped="messages of unknown authors" if text else "")
    attachments, names = _attachments(metadata)
    if not text and not attachments and not names:
        return Said()
    label = _label(message.author, content)
    lines = [*([f"[{label}]"] if label and text else []), *([text] if text else [])]
    lines += [f"[attached: {name}]" for name in names]
    return Said("user" if role == "user" else "assistant", "\n".join(lines), attachments)


def _label(author: Author, content: Content) -> str:
    """What tells a tool's answer, code and the like from what somebody said."""
    if author.role == "tool":
        return sanitize_line(author.name or "tool", 40)
    return "" if content.content_type in _NOT_LABELLED else sanitize_line(content.content_type, 40)


def _text(content: Content) -> str:
    parts = list(_parts(content.parts or []))
    parts += [value for value in (content.text, content.result) if isinstance(value, str)]
    return "\n".join(part for part in parts if part.strip())


def _parts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        match part:
            case str():
                yield part
            case {"text": str(text)}:
                yield text
            case {"content_type": str(kind)}:
                yield f"[{sanitize_line(kind.removesuffix('_asset_pointer'), 40)}]"
            case dict() | list():
                yield "[something that is no text]"


def _attachments(metadata: dict[str, Any]) -> tuple[tuple[Attachment, ...], list[str]]:
    """The files whose text is there, which only our own exports have, and the names of the others."""
    found = metadata.get("attachments")
    files, names = [], []
    for entry in found if isinstance(found, list) else []:
        match entry:
            case {"name": str(name), "text": str(text)}:
                files.append(Attachment(name, text))
            case {"name": str(name)}:
                names.append(sanitize_line(name, 100))
    return tuple(files), names
