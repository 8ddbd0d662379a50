"""A reply while it is written."""

import time

import msgspec

from vault.conversations import Conversations
from vault.messages import Generation, Message, MessageId, Status

__all__ = ["CHECKPOINT_EVERY_S", "Draft"]

CHECKPOINT_EVERY_S = 1.0


class Draft:
    """A reply while it is written: kept in the vault once a second, so that a crash costs a second at most.

    Args:
        conversations: Where it is kept.
        message: The reply, empty yet.
        previous_head: Where the conversation stood before it.
    """

    def __init__(self, conversations: Conversations, message: Message, previous_head: MessageId | None) -> None:
        self.message = message
        self._previous_head = previous_head
        self._conversations = conversations
        self._parts: list[str] = []
        self._kept_at = time.monotonic()
        self._open = True

    def add(self, text: str) -> None:
        """Take more of the text."""
        self._parts.append(text)
        if time.monotonic() - self._kept_at >= CHECKPOINT_EVERY_S:
            self._conversations.checkpoint(self.message.id, "".join(self._parts))
            self._kept_at = time.monotonic()

    def finish(self, status: Status, generation: Generation | None) -> Message:
        """Keep the whole text, how it ended and where it came from."""
        text = "".join(self._parts)
        self._conversations.finish(self.message.id, text, status, generation)
        self._open = False
        return msgspec.structs.replace(self.message, text=text, status=status, generation=generation)

    def close(self, status: Status) -> None:
        """Keep the text so far, unless the reply is finished; a reply without a word of text is no message."""
        if not self._open:
            return
        if self._parts:
            self.finish(status, None)
        else:
            self._conversations.discard(self.message.id)
            self._conversations.set_head(self.message.session_id, self._previous_head)
            self._open = False
