"""Text to tokens and back, with the control tokens that a text spells read as control tokens or not."""

import ctypes
import functools
import re
from typing import Any

from agent.worker.binding import llama

__all__ = ["Vocabulary"]

_SENTENCEPIECE = 1  # LLAMA_VOCAB_TYPE_SPM
_READ_AS_CONTROL = 1 | 8  # LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_TOKEN_ATTR_CONTROL

_SHORT = 16_384  # characters; longer texts aren't worth the memory of remembering their tokens


class Vocabulary:
    """A loaded model's vocabulary.

    Args:
        model: The llama model; it must outlive this object.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401
        self.handle = llama.llama_model_get_vocab(model)
        self._piece = ctypes.create_string_buffer(256)
        self._adds_space = llama.llama_vocab_type(self.handle) == _SENTENCEPIECE
        # Tokenizing is a pure function of its arguments, and the same stretches recur on every turn.
        self._tokenize_short = functools.lru_cache(maxsize=512)(self._tokenize)
        self._short_spells_control = functools.lru_cache(maxsize=512)(self._spells_control)
        self.control_spellings = functools.cache(self._control_spellings)

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return int(llama.llama_vocab_n_tokens(self.handle))

    def prompt_start(self) -> list[int]:
        """The tokens that every prompt must begin with."""
        if llama.llama_vocab_get_add_bos(self.handle):
            return [int(llama.llama_vocab_bos(self.handle))]
        return []

    def text_of(self, token: int) -> str:
        """The text of one token, control tokens by their names; empty for none (-1)."""
        return self.bytes_of(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def bytes_of(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token; control tokens are empty unless `special`."""
        length = llama.llama_token_to_piece(self.handle, token, self._piece, len(self._piece), 0, special)
        if length < 0:
            self._piece = ctypes.create_string_buffer(-length)
            length = llama.llama_token_to_piece(self.handle, token, self._piece, len(self._piece), 0, special)
        return self._piece.raw[:length]

    def ends_reply(self, token: int) -> bool:
        """Whether a token ends the generation."""
        return bool(llama.llama_vocab_is_eog(self.handle, token))

    def is_control(self, token: int) -> bool:
        """Whether a token is a control token."""
        return bool(llama.llama_vocab_is_control(self.handle, token))

    def begin(self) -> str:
        """Text of the beginning-of-sequence token."""
        return self.text_of(int(llama.llama_vocab_bos(self.handle)))

    def end(self) -> str:
        """Text of the end-of-sequence token."""
        return self.text_of(int(llama.llama_vocab_eos(self.handle)))

    def ends_turn(self) -> int:
        """The token with which a reply ends."""
        token = int(llama.llama_vocab_eot(self.handle))
        return token if token >= 0 else int(llama.llama_vocab_eos(self.handle))

    def _control_spellings(self) -> re.Pattern[str]:
        """Finds every text that would be read as a control token."""
        texts = {
            self.text_of(token)
            for token in range(llama.llama_vocab_n_tokens(self.handle))
            if llama.llama_vocab_get_attr(self.handle, token) & _READ_AS_CONTROL
        } - {""}
        return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True)) or "(?!)")

    def tokenize(self, text: str, control: bool, first: bool) -> tuple[int, ...]:
        """The tokens of a stretch of text.

        Args:
            text: The stretch.
            control: Whether control tokens it spells are read as such.
            first: Whether it begins the prompt. A SentencePiece vocabulary puts a space before whatever it is
                given; in the middle of a prompt that space isn't there, so it is taken away again.
        """
        work = self._tokenize_short if len(text) <= _SHORT else self._tokenize
        return work(text, control, first)

    def spells_control(self, text: str) -> bool:
        """Whether a text would be read as containing control tokens."""
        return self._short_spells_control(text) if len(text) <= _SHORT else self._spells_control(text)

    def _spells_control(self, text: str) -> bool:
        return self._raw(text, control=True) != self._raw(text, control=False)

    def _tokenize(self, text: str, control: bool, first: bool) -> tuple[int, ...]:
        if not self._adds_space or first:
            return self._raw(text, control)
        lead = self._raw("\n", control)
        tokens = self._raw("\n" + text, control)
        return tokens[len(lead) :] if tokens[: len(lead)] == lead else self._raw(text, control)

    def _raw(self, text: str, control: bool) -> tuple[int, ...]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        tokens = (llama.llama_token * room)()
        count = llama.llama_tokenize(self.handle, data, len(data), tokens, room, False, control)
        if count < 0:
            room = -count
            tokens = (llama.llama_token * room)()
            count = llama.llama_tokenize(self.handle, data, len(data), tokens, room, False, control)
        return tuple(tokens[:count])
