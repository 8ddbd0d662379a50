"""Text into the tokens of an uncased BERT: clean it, split it into words, spell each with the longest known pieces.

As google-research/bert's `tokenization.py` does (`BasicTokenizer` and `WordpieceTokenizer`), and `tokenizers`'
`BertNormalizer`; but the spelling of a control token in a text, such as `[SEP]`, is text here.
"""

import unicodedata
from collections.abc import Iterator

__all__ = ["MOST_TOKENS", "WordPiece"]

MOST_TOKENS = 256
"""What the embedder was made for, both ends included; the rest of a longer text isn't read."""

_MOST_CHARACTERS = 64 * MOST_TOKENS
_LONGEST_WORD = 100
_CONTINUED = "##"
_CONTROLS = ("Cc", "Cf", "Co", "Cs")
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
"""Each is a word of its own."""


class WordPiece:
    """A vocabulary of word pieces.

    Args:
        vocabulary: One token a line, UTF-8; a token's id is its line.

    Raises:
        KeyError: one of the control tokens isn't in it.
    """

    def __init__(self, vocabulary: bytes) -> None:
        self._ids = {token: number for number, token in enumerate(vocabulary.decode("utf-8").split("\n")) if token}
        self._begin, self._end, self._unknown = (self._ids[token] for token in ("[CLS]", "[SEP]", "[UNK]"))

    def __len__(self) -> int:
        return len(self._ids)

    def encode(self, text: str) -> list[int]:
        """The ids of a text's tokens, at most `MOST_TOKENS`, between those that begin and end a sequence."""
        ids = [self._begin]
        for word in _words(text[:_MOST_CHARACTERS]):
            ids += self._pieces(word)
            if len(ids) >= MOST_TOKENS:
                break
        return [*ids[: MOST_TOKENS - 1], self._end]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        found = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else _CONTINUED + word[start:end]
                if (known := self._ids.get(piece)) is not None:
                    found.append(known)
                    start = end
                    break
            else:
                return [self._unknown]
        return found


def _words(text: str) -> Iterator[str]:
    """The words of a text in lower case and without accents; each sign of punctuation is a word."""
    for chunk in _cleaned(text).split():
        word = ""
        for character in chunk:
            if _is_punctuation(character):
                if word:
                    yield word
                yield character
                word = ""
            else:
                word += character
        if word:
            yield word


def _cleaned(text: str) -> str:
    spaced = "".join(_kept(character) for character in text)
    bare = (c for c in unicodedata.normalize("NFD", spaced) if unicodedata.category(c) != "Mn")
    return "".join(character.lower() for character in bare)  # one by one: a sigma is the same everywhere in a word


def _kept(character: str) -> str:
    if character.isspace():
        return " "
    if character == "\ufffd" or unicodedata.category(character) in _CONTROLS:
        return ""
    return f" {character} " if any(first <= ord(character) <= last for first, last in _IDEOGRAPHS) else character


def _is_punctuation(character: str) -> bool:
    # Every sign of ASCII that is no letter, digit or space, `$` and `+` too.
    if character.isascii():
        return not character.isalnum()
    return unicodedata.category(character)[0] == "P"
