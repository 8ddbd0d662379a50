"""What counts as borne out, and what doesn't."""

import pytest

from skills.bundled.ranking import Ranking
from skills.bundled.words import babbles, borne_out, content_words, numbers_agree, sentences, shortened, spelled

SOURCE = "The printer on the second floor is broken. A skill has at most 500 files and 20 MiB."


def test_forms_of_one_word_are_one_word() -> None:
    assert content_words("They were recording; it records the recordings.") == ["record", "record", "record"]
    assert spelled(["record"], "recorded recordings recorded") == ["recorded"]


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("The printer is broken.", True),
        ("Broken printers on the second floor.", True),
        ("The old menu is kept until spring.", False),
        ("", False),
    ],
)
def test_words_are_borne_out_by_what_was_read(text: str, there: bool) -> None:
    assert borne_out(text, frozenset(content_words(SOURCE)), at_least=0.75) is there


@pytest.mark.parametrize(
    ("text", "agree"),
    [
        ("A skill has 500 files.", True),
        ("It may have 20 MiB.", True),
        ("A skill has 20 files.", False),
        ("A skill has 501 files.", False),
        ("No numbers at all.", True),
    ],
)
def test_a_number_counts_what_it_counts_in_the_source(text: str, agree: bool) -> None:
    assert numbers_agree(text, SOURCE) is agree


def test_what_is_said_again_and_again_is_babble() -> None:
    assert babbles("it is kept for days and it is kept for days and")
    assert not babbles("it is kept for days, and then removed")


def test_texts_are_cut_between_sentences_and_words() -> None:
    assert sentences('He said "no." Then he left! Did he?') == ['He said "no."', "Then he left!", "Did he?"]
    assert shortened("one two three", 9) == "one two…"
    assert len(shortened("x" * 100, 10)) == 10


def test_the_passage_with_the_rare_words_of_a_question_comes_first() -> None:
    ranking = Ranking(["the cat sat", "the dog barked at the cat", "the printer broke", "the dog slept"])
    assert [number for number, _ in ranking.best("Why did the dog bark at the cat?", 2)] == [1, 0]
    assert ranking.best("Unheard of", 3) == []
    assert ranking.coverage("printer and submarine", {"printer"}) < 0.5
    assert ranking.coverage("printer", {"printer"}) == 1.0


def test_nothing_ranks_nothing() -> None:
    assert Ranking([]).best("anything", 3) == []
