"""What a turn of a conversation tells whoever shows it, in the order it happens."""

import msgspec

from vault.messages import Generation, Message, MessageId

__all__ = ["Event", "Notice", "Progress", "Saved", "Text", "TurnEnd"]


class Saved(msgspec.Struct, frozen=True):
    """The person's message is in the vault."""

    message_id: MessageId


class Notice(msgspec.Struct, frozen=True):
    """Something the person has to know about this turn."""

    text: str


class Progress(msgspec.Struct, frozen=True):
    """A long prompt is being evaluated: so many of its new tokens are done."""

    done: int
    total: int


class Text(msgspec.Struct, frozen=True):
    """More of the reply; sanitized."""

    text: str


class TurnEnd(msgspec.Struct, frozen=True):
    """The reply is complete and in the vault.

    Attributes:
        message: The reply.
        generation: Where it came from.
        context_used: Tokens of the window that are in use now.
        context_size: Tokens of the window.
    """

    message: Message
    generation: Generation
    context_used: int
    context_size: int


Event = Saved | Notice | Progress | Text | TurnEnd
