"""Text into tokens, as an uncased BERT was trained to read it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skills.embedding.files import Located
from skills.embedding.worker.wordpiece import MOST_TOKENS, WordPiece

TOKENS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "un",
    "##aff",
    "##able",
    "cafe",
    "$",
    ",",
    "中",
    "国",
    "##s",
    "a",
    "##a",
]
TOKENS += ["[", "]", "sep"]
PAD, UNKNOWN, BEGIN, END = range(4)
WORDS = WordPiece("\n".join(TOKENS).encode() + b"\n")


def spelled(text: str) -> list[str]:
    ids = WORDS.encode(text)
    assert (ids[0], ids[-1]) == (BEGIN, END)
    return [TOKENS[number] for number in ids[1:-1]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("unaffable", ["un", "##aff", "##able"]),
        ("UnAffable Café", ["un", "##aff", "##able", "cafe"]),
        ("CAFE\u0301s", ["cafe", "##s"]),
        ("cafe,cafe$", ["cafe", ",", "cafe", "$"]),
        ("中国", ["中", "国"]),
        ("  \t\r\n\u00a0\u3000cafe ", ["cafe"]),
        ("ca\u200bf\x00e\u202e", ["cafe"]),
        ("xyz", ["[UNK]"]),
        ("unx", ["[UNK]"]),
        ("a" * 100, ["a"] + ["##a"] * 99),
        ("a" * 101, ["[UNK]"]),
        ("", []),
        ("[SEP]", ["[", "sep", "]"]),
        ("[CLS] [PAD]", ["[", "[UNK]", "]"] * 2),
    ],
)
def test_a_text_is_spelled_with_the_longest_known_pieces(text: str, tokens: list[str]) -> None:
    assert spelled(text) == tokens


def test_a_vocabulary_without_its_control_tokens_is_refused() -> None:
    with pytest.raises(KeyError):
        WordPiece(b"a\nb\n")


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text_is_spelled_within_the_limit_and_holds_no_control_token(text: str) -> None:
    ids = WORDS.encode(text)
    assert 2 <= len(ids) <= MOST_TOKENS
    assert (ids[0], ids[-1]) == (BEGIN, END)
    assert not {PAD, BEGIN, END}.intersection(ids[1:-1])


def test_a_text_of_any_length_is_read_to_the_limit_alone() -> None:
    assert len(WORDS.encode("cafe " * 1_000_000)) == MOST_TOKENS
    assert len(WORDS.encode(", " * 253)) == MOST_TOKENS - 1
    assert len(WORDS.encode("x" * 5_000_000)) == 3


def test_it_reads_as_the_tokenizers_library_does(installed: Located) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="the library tokenizers (extra `train`) isn't installed")
    theirs = tokenizers.Tokenizer.from_file(str(installed.vocabulary.with_name("tokenizer.json")))
    theirs.no_padding()
    theirs.enable_truncation(MOST_TOKENS)
    ours = WordPiece(installed.vocabulary.read_bytes())
    for text in [
        "What's the weather like in São Paulo, 3 o'clock?",
        "Ünïcödé ÇAFÉ naïve Straße İstanbul ΣΊΣΥΦΟΣ Привет",
        "北京 is 中国; 東京 isn't",
        "a\tb\r\nc  d\u00a0e <b>$5+3=8</b> user@example.org",
        "😀 \u200b zero \x00 width",
        "antidisestablishmentarianism " * 60,
        "x" * 150 + " y",
        "",
    ]:
        assert ours.encode(text) == theirs.encode(text).ids, text
