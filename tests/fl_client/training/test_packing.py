"""Rows into batches: nothing lost, nothing between them, the right tokens asked for."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fl_client.training.protocol import Row
from fl_client.training.worker.packing import cut, packed
from fl_client.training.worker.turns import order

lengths = st.tuples(st.integers(1, 40), st.integers(1, 40))


def row(before: int, reply: int, first: int = 0) -> Row:
    return Row(np.arange(first, first + before + reply, dtype="<i4").tobytes(), before)


def tokens(of: Row) -> list[int]:
    read: list[int] = np.frombuffer(of.tokens, "<i4").tolist()
    return read


@given(st.lists(lengths, min_size=1, max_size=12), st.integers(1, 100))
def test_every_token_of_every_row_is_in_one_batch_and_each_reply_is_asked_for(
    sizes: list[tuple[int, int]], at_once: int
) -> None:
    rows = [row(before, reply, first=1000 * number) for number, (before, reply) in enumerate(sizes)]
    batches = list(packed(rows, at_once))
    assert sorted(token for batch in batches for token in batch.tokens.tolist()) == sorted(
        token for one in rows for token in tokens(one)
    )
    wanted = sorted(token for batch in batches for token in batch.wanted.tolist())
    assert wanted == sorted(token for one in rows for token in tokens(one)[one.answer :])
    for batch in batches:
        assert sum(batch.lengths) == len(batch.tokens)
        assert len(batch.tokens) <= at_once or len(batch.lengths) == 1
        assert (batch.tokens[batch.asked] + 1 == batch.wanted).all()  # tokens count upwards within a row


@given(lengths, st.integers(16, 60))
def test_a_long_row_loses_the_end_of_what_goes_in_and_keeps_its_turn(sizes: tuple[int, int], longest: int) -> None:
    whole = row(*sizes)
    made = cut(whole, longest)
    if sum(sizes) <= longest:
        assert made == whole
        return
    before, reply = tokens(made)[: made.answer], tokens(made)[made.answer :]
    all_before, all_reply = tokens(whole)[: whole.answer], tokens(whole)[whole.answer :]
    assert len(tokens(made)) <= longest
    assert reply == all_reply[: len(reply)]
    assert reply
    assert len(reply) == len(all_reply) or len(reply) >= longest // 2
    assert before[-1] == all_before[-1]
    kept = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, all_before, strict=False))))
    assert before[kept:] == all_before[len(all_before) - len(before[kept:]) :]


@given(st.integers(1, 30), st.integers(0, 40), st.integers(1, 8), st.binary(min_size=32, max_size=32))
def test_every_row_is_seen_once_before_any_is_seen_again(rows: int, steps: int, each: int, seed: bytes) -> None:
    seen = list(order(rows, steps, each, seed))
    assert [len(chosen) for chosen in seen] == [each] * steps
    flat = [number for chosen in seen for number in chosen]
    for start in range(0, len(flat) - rows + 1, rows):
        assert sorted(flat[start : start + rows]) == list(range(rows))
    assert list(order(rows, steps, each, seed)) == seen
