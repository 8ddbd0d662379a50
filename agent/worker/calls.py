"""The beginning of a reply by a model that may call tools: is it a call, or text?"""

from typing import Literal

from agent.worker.grammar import CALL_BEGINS, CALL_ENDS, SPACE_BEFORE

__all__ = ["MOST_CALL_TOKENS", "CallScanner"]

MOST_CALL_TOKENS = 2048
"""Of one call; how long a text may become is for the person to say."""


class CallScanner:
    """Tells a call from a text by its first characters, and passes text on as soon as it is one.

    A text stays one, whatever it says further on: what looks like a call in the middle of it calls nothing.

    Attributes:
        kind: What the reply is; `None` while that can't be told yet.
    """

    def __init__(self) -> None:
        self.kind: Literal["call", "text"] | None = None
        self._held: list[str] = []

    def push(self, text: str) -> str:
        """Take more of the reply, and return what of it is text to show."""
        if self.kind == "text":
            return text
        self._held.append(text)
        if self.kind is None:
            begun = "".join(self._held).lstrip(SPACE_BEFORE)
            if begun.startswith(CALL_BEGINS):
                self.kind = "call"
            elif not CALL_BEGINS.startswith(begun):
                self.kind = "text"
                return self._release()
        return ""

    def flush(self) -> str:
        """The text held back, at the end of a reply that was too short to tell."""
        return self._release() if self.kind is None else ""

    @property
    def call(self) -> str | None:
        """What stands between the marks of a call, as far as it came; `None` where there is no call."""
        if self.kind != "call":
            return None
        whole = "".join(self._held).lstrip(SPACE_BEFORE).removeprefix(CALL_BEGINS).rstrip(SPACE_BEFORE)
        return whole.removesuffix(CALL_ENDS).strip(SPACE_BEFORE)

    def _release(self) -> str:
        held = "".join(self._held)
        self._held.clear()
        return held
