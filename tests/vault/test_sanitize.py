"""Foreign text made harmless."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vault.sanitize import sanitize, sanitize_line, without_unseen

ANY_TEXT = st.text(st.characters(exclude_categories=()))
TROUBLE = st.text(st.sampled_from("a \t\n\r\x00\x1b\x07\x85\x9b\u2028\u202e\u200b\ud800\udfff\U000e0041]52;c"))
VISIBLE_FORMAT = {
    "\u06dd",
    "\u070f",
    "\u08e2",
}  # signs that enclose digits or mark an abbreviation: seen, not obeyed


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("\x1b]52;c;aGFjaw==\x07done", "]52;c;aGFjaw==done"),
        ("\x1b[2J\x1b[Hgone", "[2J[Hgone"),
        ("\x9b31mred\x9d0;title\x9c", "31mred0;title"),
        ("a\x08b\x7fc\x00d", "abcd"),
        ("one\r\ntwo\rthree\x85four\u2028five\u2029six", "one\ntwo\nthree\nfour\nfive\nsix"),
        ("user\u202etxt.exe\u2066 \u2069\u200f\u061c", "usertxt.exe "),
        ("pass\u200bword\u2060\ufeff\u00ad\u200d", "password"),
        ("hi\U000e0068\U000e0069", "hi"),
        ("\U0001d173x\U0001bca0", "x"),
        ("half \ud83d pair \udca9", "half \ufffd pair \ufffd"),
        ("tab\tand\nnewline stay", "tab\tand\nnewline stay"),
        ("é ß 漢字 😀 ✂\ufe0f עברית", "é ß 漢字 😀 ✂\ufe0f עברית"),
    ],
)
def test_what_controls_a_terminal_or_hides_is_removed_and_the_rest_stays(text: str, harmless: str) -> None:
    assert sanitize(text) == harmless


@given(ANY_TEXT | TROUBLE)
def test_sanitizing_twice_is_sanitizing_once(text: str) -> None:
    assert sanitize(sanitize(text)) == sanitize(text)


@given(ANY_TEXT | TROUBLE)
def test_nothing_is_left_that_a_terminal_obeys_or_that_cannot_be_encoded(text: str) -> None:
    clean = sanitize(text)
    clean.encode("utf-8")
    for character in clean:
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in ("RLE", "LRE", "RLO", "LRO", "PDF", "RLI", "LRI", "FSI")


def test_every_invisible_format_character_is_removed() -> None:
    formats = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"}
    kept = {character for character in formats if sanitize(character)}
    # What is kept is drawn: signs that enclose digits, and hieroglyphs' layout.
    assert kept - VISIBLE_FORMAT <= {chr(c) for c in (*range(0x600, 0x606), 0x890, 0x891, 0x110BD, 0x110CD)} | {
        chr(c) for c in range(0x13430, 0x13440)
    }


@given(ANY_TEXT | TROUBLE, ANY_TEXT | TROUBLE)
def test_a_text_may_be_sanitized_in_pieces(first: str, second: str) -> None:
    assume(not (first.endswith("\r") and second.startswith("\n")))
    assert sanitize(first) + sanitize(second) == sanitize(first + second)


@given(ANY_TEXT | TROUBLE, st.integers(min_value=1, max_value=30))
def test_a_line_is_one_line_and_no_longer_than_its_limit(text: str, limit: int) -> None:
    line = sanitize_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert "\t" not in line


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("run('\ufe00\ufe0e\ufe0f')", "run('')"),
        ("\u2764\ufe0f\ufe0f", "\u2764\ufe0f"),
        ("1\ufe0f\u20e3 \u2702\ufe0e", "1\ufe0f\u20e3 \u2702\ufe0e"),
        ("\U00013430", ""),
    ],
)
def test_what_is_agreed_to_holds_nothing_that_is_not_seen(text: str, seen: str) -> None:
    assert without_unseen(text) == seen


def test_a_line_that_was_cut_says_so() -> None:
    assert sanitize_line("  one\n\ttwo   three  ") == "one two three"
    assert sanitize_line("abcdefgh", limit=5) == "abcd…"
    assert sanitize_line("abcde", limit=5) == "abcde"
