"""One reply while it is generated, token by token."""

import array
import codecs
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent.worker.calls import MOST_CALL_TOKENS, CallScanner
from agent.worker.grammar import CALL_BEGINS, CALL_ENDS
from agent.worker.protocol import Called, Delta, Finish, Generate, Reply
from agent.worker.sampling import StopScanner, free_of_grammar

if TYPE_CHECKING:
    from agent.worker.engine import Engine

__all__ = ["Run"]

_SHOW_EVERY_S = 0.025


class Run:
    """One reply.

    Args:
        engine: Has evaluated the prompt.
        request: What was asked.
        send: Told the text, or the call, as it comes.

    Attributes:
        tokens: The reply so far.
        finish: How it ended.
        first_token_at: When that was, on the clock of `time.perf_counter`.
    """

    def __init__(self, engine: "Engine", request: Generate, send: Callable[[Reply], None]) -> None:
        self.tokens: list[int] = []
        self.finish: Finish = "cancelled"
        self.first_token_at: float | None = None
        self._engine = engine
        self._request = request
        self._send = send
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._calls = CallScanner() if request.tools else None
        self._stops = StopScanner(request.sampling.stop)
        self._unsent = ""
        self._shown: list[str] = []
        self._shown_at = 0.0

    def decode(self, chain: Any) -> None:  # noqa: ANN401
        """Generate until the model ends, a limit or a stop string is met, or the stop flag is set."""
        engine, grammar_in_use = self._engine, self._calls is not None
        while True:
            token = engine.sample(chain)
            now = time.perf_counter()
            if self.first_token_at is None:
                self.first_token_at = now
            if engine.vocabulary.ends_reply(token):
                self.finish = "stop"
                return
            self.tokens.append(token)
            self._show(self._utf8.decode(self._bytes_of(token)), now)
            if grammar_in_use and self._is_text:
                free_of_grammar(chain)
                grammar_in_use = False
            if self._stops.stopped:
                self.finish = "stop"
                return
            limit = self._request.sampling.max_tokens if self._is_text else MOST_CALL_TOKENS
            if (limit and len(self.tokens) >= limit) or engine.full:
                self.finish = "length"
                return
            if not engine.decode_one(token):
                return

    @property
    def _is_text(self) -> bool:
        return self._calls is None or self._calls.kind == "text"

    def _bytes_of(self, token: int) -> bytes:
        vocabulary = self._engine.vocabulary
        if not self._is_text and vocabulary.text_of(token) in (CALL_BEGINS, CALL_ENDS):
            return vocabulary.bytes_of(token, special=True)  # a control token to some models
        return vocabulary.bytes_of(token)

    def _show(self, text: str, now: float) -> None:
        # A frame per token would wake the other process 150 times a second, on cores that are busy computing.
        self._unsent += self._stops.push(self._calls.push(text) if self._calls else text)
        if self._unsent and now - self._shown_at >= _SHOW_EVERY_S:
            self._emit()
            self._shown_at = now

    def _emit(self) -> None:
        self._shown.append(self._unsent)
        self._send(Delta(self._request.id, self._unsent))
        self._unsent = ""

    def flush(self) -> None:
        """Send what is left of the text, or the call."""
        if not self._stops.stopped:
            rest = self._utf8.decode(b"", final=True)
            if self._calls is not None:
                rest = self._calls.push(rest) + self._calls.flush()
            self._unsent += self._stops.push(rest) + self._stops.flush()
        if self._unsent:
            self._emit()
        if self._calls is not None and self._calls.call is not None:
            self._send(Called(self._request.id, self._calls.call))

    def replayable_tokens(self) -> bytes | None:
        """The tokens, if they spell exactly the text that was sent and nothing that only looks like it."""
        vocabulary = self._engine.vocabulary
        if not self.tokens or any(vocabulary.is_control(token) for token in self.tokens):
            return None
        text = "".join(self._shown)
        spelled = b"".join(vocabulary.bytes_of(token) for token in self.tokens).decode("utf-8", "replace")
        return array.array("i", self.tokens).tobytes() if spelled == text else None
