"""The embedder, asked: vectors, heads and verdicts of real texts, and what is refused before it is asked."""

import struct

import pytest

from skills.embedding.embedder import LEAST_TO_TRAIN, Embedder
from skills.embedding.files import Located
from skills.embedding.head import MOST_LABELS, MOST_OUTSIDE, parse
from skills.embedding.pins import DIMENSION
from skills.embedding.protocol import MOST_TEXTS, Subject
from skills.errors import EmbedderError, HeadRefused

WEATHER = Subject("weather", ("Tells the weather.",))
TIME = Subject("time", ("Tells the time of day.",))


def numbers(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{DIMENSION}f", vector)


def cosine(one: bytes, other: bytes) -> float:
    return sum(a * b for a, b in zip(numbers(one), numbers(other), strict=True))


def test_a_texts_vector_is_the_published_models(shared: Embedder) -> None:
    # As transformers 5 with torch 2.13 computes it: mean of the last layer, made of length 1.
    expected = {
        "what is the weather like tomorrow": (-0.034184, 0.057669, 0.122389, 0.06313, 0.001359, -0.04917),
        "Ünïcödé: 北京, $5!": (0.039673, 0.050326, 0.022907, -0.034201, -0.08729, -0.024257),
    }
    for vector, first in zip(shared.embed(list(expected)), expected.values(), strict=True):
        assert numbers(vector)[:6] == pytest.approx(first, abs=2e-6)
        assert cosine(vector, vector) == pytest.approx(1, abs=1e-5)


def test_texts_that_mean_the_same_lie_near_each_other(shared: Embedder) -> None:
    rain, wet, tax = shared.embed(["will it rain today", "do i need an umbrella", "how do i file my taxes"])
    assert cosine(rain, wet) > 0.3 > 0.2 > cosine(rain, tax)


def test_any_text_has_a_vector(shared: Embedder) -> None:
    hostile = ["", " \n", "\0", "\ud800 alone", "\u202e\x1b[2J", "x" * 1_000_000, "word " * 100_000, "[SEP] [MASK]"]
    for vector in shared.embed(hostile):
        assert cosine(vector, vector) == pytest.approx(1, abs=1e-5)
    assert shared.embed([]) == []


def test_progress_is_told_to_the_end(shared: Embedder) -> None:
    told: list[tuple[int, int]] = []
    shared.embed(["hi"] * 600, lambda done, total: told.append((done, total)))
    assert told == [(256, 600), (512, 600), (600, 600)]


def test_a_head_is_learned_kept_and_decides(shared: Embedder) -> None:
    head = shared.learn([WEATHER, TIME], ["play some jazz"])
    again = parse(head.to_bytes())
    assert again == head
    assert shared.decide("is it going to rain", again).label == 0
    assert shared.decide("what's the time", again).label == 1
    assert shared.decide("play some jazz music", again).label is None


def test_one_head_after_another_is_each_decided_by_itself(shared: Embedder) -> None:
    one = shared.learn([WEATHER, TIME])
    other = shared.learn([TIME, WEATHER])
    for _ in range(2):
        assert shared.decide("is it going to rain", one).label == 0
        assert shared.decide("is it going to rain", other).label == 1


def test_weights_are_fitted_once_there_are_examples_enough_of_each(shared: Embedder) -> None:
    shown = [
        Subject(
            word,
            (),
            tuple(
                f"{start} the {word}"
                for start in ("tell me", "what is", "i want", "show me", "check", "is there", "how is", "give me")
            ),
        )
        for word in ("weather", "football score")
    ]
    assert all(len(subject.examples) == LEAST_TO_TRAIN for subject in shown)
    head = shared.learn(shown)
    assert head.trained
    assert shared.decide("what's the weather now", head).label == 0
    assert not shared.learn([shown[0], Subject("football score", (), shown[1].examples[:-1])]).trained
    assert not shared.learn(shown[:1]).trained


@pytest.fixture
def untouched(hollow: Located) -> Embedder:
    """Whose process could never start."""
    return Embedder(hollow)


@pytest.mark.parametrize(
    ("subjects", "outside", "why"),
    [
        ([], [], "There are 0 subjects"),
        ([Subject("empty\x1b[2J")], [], r"Nothing says what empty\[2J is"),
        ([WEATHER] * (MOST_LABELS + 1), [], "1,001 subjects"),
        ([WEATHER], ["no"] * (MOST_OUTSIDE + 1), "1,001 texts that belong to none"),
        ([Subject("much", (), ("x",) * (MOST_TEXTS + 1))], [], "32,769 texts"),
    ],
)
def test_what_there_is_nothing_or_too_much_to_learn_of_is_refused_before_anything_starts(
    untouched: Embedder, subjects: list[Subject], outside: list[str], why: str
) -> None:
    with pytest.raises(EmbedderError, match=why):
        untouched.learn(subjects, outside)


def test_too_many_texts_are_refused_before_anything_starts(untouched: Embedder) -> None:
    with pytest.raises(EmbedderError, match="32,769 texts"):
        untouched.embed(["x"] * (MOST_TEXTS + 1))


def test_more_text_than_one_message_holds_is_refused_and_it_runs_on(
    shared: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shared.embed(["hello"])
    running = shared.process_id
    with monkeypatch.context() as patch:
        patch.setattr("vault.frames.MAX_FRAME", 1000)
        with pytest.raises(EmbedderError, match="So much text"):
            shared.embed(["x" * 2000])
    assert shared.embed(["hello"]) == before
    assert shared.process_id == running


@pytest.mark.parametrize("label", ["weather", "", "x" * 129, "\x1b]0;title\x07"])
def test_a_label_that_is_there_twice_or_cannot_be_shown_is_refused(shared: Embedder, label: str) -> None:
    with pytest.raises(HeadRefused):
        shared.learn([WEATHER, Subject(label, ("Something else.",))])
