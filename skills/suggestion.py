"""Which tool a request seems to want, before a language model is asked: a small one chooses badly.

The router compares meanings; it permits nothing. Where its package isn't installed nothing is suggested, and the
model chooses alone.
"""

from collections.abc import Mapping
from types import TracebackType

from skills.bundled.intents import Choice, Router
from skills.embedding.embedder import Embedder
from skills.errors import EmbedderMissing

__all__ = ["Suggestion"]

_SURE = 0.75
"""The router's probability from which its choice is worth suggesting."""


class Suggestion:
    """Suggests one of some tools. Its process starts with the first request; close it, or use it in a `with` block.

    Args:
        choices: The tools' names, with what they say of themselves.
    """

    def __init__(self, choices: Mapping[str, str]) -> None:
        self._choices = [Choice(name, description) for name, description in choices.items()]
        self._embedder = Embedder()
        self._router: Router | None = None
        self._missing = False

    def of(self, request: str) -> str | None:
        """The name of the tool that a request seems to want; `None` for none, or where that can't be told.

        Raises:
            EmbedderError: the embedder is there, and doesn't work, or isn't what it should be.
        """
        if self._missing or not request.strip():
            return None
        try:
            if self._router is None:
                self._router = Router.learn(self._embedder, self._choices)
            decision = self._router.decide(request)
        except EmbedderMissing:
            self._missing = True
            return None
        return decision.label if decision.confidence >= _SURE else None

    def close(self) -> None:
        """End the process."""
        self._embedder.close()

    def __enter__(self) -> "Suggestion":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
