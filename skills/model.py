"""What a skill needs of a language model. `agent` provides it; nothing here knows how."""

import threading
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

__all__ = ["Answer", "LanguageModel"]


class Answer(msgspec.Struct, frozen=True):
    """What a model said.

    Attributes:
        text: Sanitized.
        finish: `stop` by the model's own end, `length` by a limit, `cancelled` by request.
        prompt_tokens: Tokens of what it was asked.
        completion_tokens: Tokens of the answer.
    """

    text: str
    finish: Literal["stop", "length", "cancelled"]
    prompt_tokens: int
    completion_tokens: int


class LanguageModel(Protocol):
    """A language model that answers one thing at a time, each by itself."""

    @property
    def name(self) -> str:
        """What the person calls it."""
        ...

    @property
    def sha256(self) -> str:
        """Digest of its weights, in hex."""
        ...

    @property
    def adapter_sha256(self) -> str | None:
        """Digest of the trained adapter that it answers with, in hex; `None` without one."""
        ...

    @property
    def context(self) -> int:
        """Its context window, in tokens: system, text, answer and the template around them have to fit."""
        ...

    def count(self, text: str) -> int:
        """How many tokens a text is."""
        ...

    def ask(
        self,
        system: str,
        text: str,
        *,
        schema: str | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        repeat_penalty: float = 1.0,
        seed: int = 0,
        on_text: Callable[[str], object] | None = None,
        stop: threading.Event | None = None,
    ) -> Answer:
        """Ask something.

        Args:
            system: What the model is to do.
            text: What to do it with.
            schema: A JSON schema that the answer is made to fit.
            max_tokens: Most tokens of the answer. One that met it may be unfinished JSON.
            temperature: 0 always takes the likeliest token.
            repeat_penalty: Above 1, what was said just before is less likely to be said again.
            seed: The same one gives the same answer, where the temperature isn't 0.
            on_text: Told each piece of the answer as it comes.
            stop: Set by another thread, it ends the answer, which is then `cancelled`.

        Raises:
            ClawError: the model can't answer, or it doesn't fit the context window.
        """
        ...
