"""What a conversation is made of, as values: sessions, messages, attached files, and where a reply came from."""

from typing import Literal, NewType

import msgspec

__all__ = [
    "BROUGHT_FROM",
    "TOOL_RESULT",
    "Attachment",
    "Generation",
    "Hit",
    "Message",
    "MessageId",
    "Role",
    "Session",
    "SessionId",
    "Status",
]

TOOL_RESULT = "tool: "
"""How the name begins under which what came of a tool is kept, with the message that it was needed for."""
BROUGHT_FROM = " from "
"""In such a name: before the file, or the host, that it came from. So that can be erased by where it came from."""

SessionId = NewType("SessionId", str)
MessageId = NewType("MessageId", str)
Role = Literal["user", "assistant"]
Status = Literal["streaming", "complete", "cancelled", "interrupted"]


class Session(msgspec.Struct, frozen=True):
    """One conversation. Times are milliseconds since 1970, UTC."""

    id: SessionId
    title: str
    system_prompt: str
    created_ms: int
    updated_ms: int
    head: MessageId | None = None
    forked_from: MessageId | None = None
    archived_ms: int | None = None
    source: str = ""
    """Where it was imported from; empty for one that was held here."""
    messages: int = 0


class Attachment(msgspec.Struct, frozen=True):
    """A text file that was given with a message."""

    name: str
    text: str


class Generation(msgspec.Struct, frozen=True):
    """Where a reply came from, and what it took."""

    model_name: str
    model_sha256: str
    adapter_sha256: str | None
    sampling: dict[str, object]
    finish: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    load_s: float
    prefill_s: float
    decode_s: float
    first_token_s: float
    tokens: bytes | None = None
    """The reply's token ids, little-endian int32; `None` when they don't spell the text."""

    @property
    def tokens_per_second(self) -> float | None:
        """How fast the reply was written, after its first token; `None` for a reply too short to say."""
        if self.completion_tokens < 2 or self.decode_s <= 0:
            return None
        return (self.completion_tokens - 1) / self.decode_s


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    id: MessageId
    session_id: SessionId
    parent_id: MessageId | None
    role: Role
    text: str
    status: Status
    created_ms: int
    attachments: tuple[Attachment, ...] = ()
    generation: Generation | None = None
    source: str | None = None
    """Where it was imported from; `None` for what was said here."""


class Hit(msgspec.Struct, frozen=True):
    """A message that a search found."""

    session_id: SessionId
    session_title: str
    message_id: MessageId
    role: Role
    created_ms: int
    snippet: str
