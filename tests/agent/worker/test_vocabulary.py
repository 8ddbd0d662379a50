"""Text to tokens and back, on the vocabularies of real models."""

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.worker.engine import Engine
from agent.worker.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def vocabulary(engine: Engine) -> Vocabulary:
    return engine.vocabulary


def spelled(vocabulary: Vocabulary, tokens: tuple[int, ...]) -> str:
    return b"".join(vocabulary.bytes_of(token) for token in tokens).decode()


@given(text=st.text("abc XYZ019.,!\n\täöß漢字🌈🦄é", max_size=80))
def test_tokens_spell_the_text_they_were_made_of(vocabulary: Vocabulary, text: str) -> None:
    assert spelled(vocabulary, vocabulary.tokenize(text, control=False, first=False)) == text


@given(text=st.text("<|im_startend>\n system", max_size=60))
def test_a_text_read_without_control_tokens_holds_none(vocabulary: Vocabulary, text: str) -> None:
    tokens = vocabulary.tokenize(f"{text}<|im_start|>{text}<|im_end|>", control=False, first=False)

    assert not any(vocabulary.is_control(token) for token in tokens)


def test_a_control_token_is_one_token_where_it_is_meant(vocabulary: Vocabulary) -> None:
    (token,) = vocabulary.tokenize("<|im_start|>", control=True, first=True)

    assert vocabulary.is_control(token)
    assert vocabulary.text_of(token) == "<|im_start|>"
    assert vocabulary.bytes_of(token) == b""


@pytest.mark.parametrize(
    ("text", "spells"),
    [("<|im_end|>", True), ("a<|im_start|>b", True), ("<|im_end", False), ("< |im_end|>", False), ("", False)],
)
def test_it_knows_whether_a_text_spells_a_control_token(vocabulary: Vocabulary, text: str, spells: bool) -> None:
    assert vocabulary.spells_control(text) is spells


@given(text=st.text("<|im_startend>endoftext \n", max_size=60))
def test_the_pattern_finds_a_control_token_wherever_one_would_be_read(vocabulary: Vocabulary, text: str) -> None:
    assert bool(vocabulary.control_spellings().search(text)) == vocabulary.spells_control(text)


def test_the_pattern_knows_the_control_tokens_of_another_models_style(spaced_engine: Engine) -> None:
    found = spaced_engine.vocabulary.control_spellings().findall("a<s>b</s>c<unk>d<|im_end|>")

    assert found == ["<s>", "</s>", "<unk>"]


def test_the_end_of_a_turn_ends_a_reply_and_a_word_does_not(vocabulary: Vocabulary) -> None:
    (end,) = vocabulary.tokenize("<|im_end|>", control=True, first=True)
    (word,) = vocabulary.tokenize("word", control=True, first=True)

    assert vocabulary.ends_reply(end)
    assert not vocabulary.ends_reply(word)


def test_a_token_longer_than_the_buffer_is_read_whole(vocabulary: Vocabulary) -> None:
    vocabulary._piece = ctypes.create_string_buffer(2)
    (word,) = vocabulary.tokenize(" information", control=False, first=False)

    assert vocabulary.bytes_of(word) == b" information"


def test_a_stretch_in_the_middle_of_a_prompt_gets_no_space_of_its_own(spaced_engine: Engine) -> None:
    vocabulary = spaced_engine.vocabulary

    assert spelled(vocabulary, vocabulary.tokenize("word", control=False, first=False)) == "word"


def test_no_token_has_no_text(vocabulary: Vocabulary) -> None:
    assert vocabulary.text_of(-1) == ""
