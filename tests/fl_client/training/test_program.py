"""What the sandboxed trainers write, from anybody who took one over: read, or refused with an error of ours."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_client.errors import LearningError, NotTrainable, TrainingFailed
from fl_client.training.factors import Target
from fl_client.training.program import finite_numbers, job_of
from fl_client.training.protocol import RESULT, Checkpoint, Factors, Judged, Order, Recipe, Result, Row, Stopped
from fl_client.training.sandboxed import checked_checkpoint, result_of
from skills.sandbox.job import Ended, Limits, Outcome

TARGETS = [Target(0, "attn_q", 6, 4)]
RECIPE = Recipe("core", 2, 1.0, ("attn_q",), 3, 1, 1e-2, 64, bytes(32))
ORDER = Order("model", "", RECIPE, [], [Row(bytes(8), 1)], 1, 256)
MATRIX = bytes(16)
FACTORS = Factors("blk.0.attn_q.weight", bytes(32), bytes(48))
GOOD = Result(MATRIX, Judged(2.0, 1.5), (2.0, 1.9, 1.8), 9, 0.1, 0.1, "float32", 1, (FACTORS,))
KEPT = Checkpoint(2, MATRIX, MATRIX, MATRIX, (2.0, 1.9), 2.0, "float32")

NONSENSE = [
    b"",
    b"\xc1",
    b"\x82\xa4type\xa7stopped\xa6reason\xa2\xff\xfe",
    b"\x83\xa4type\xa6result\xa1a" + b"\x91" * 100_000,
    b"\x82\xa4step\x01\xa1a" + b"\x91" * 100_000,
]


def outcome(answer: bytes) -> Outcome:
    return Outcome(Ended.EXITED, 0, b"", b"", {RESULT: answer}, 0.1, "none")


def read(answer: bytes) -> Result:
    return result_of(outcome(answer), ORDER, TARGETS, 1 << 30)


def changed(kind: msgspec.Struct, **fields: object) -> bytes:
    return msgspec.msgpack.encode(msgspec.structs.replace(kind, **fields))


def test_what_was_ordered_is_taken() -> None:
    assert read(changed(GOOD)) == GOOD
    assert checked_checkpoint(changed(KEPT), 4, ORDER.recipe) == KEPT


@pytest.mark.parametrize("data", NONSENSE)
def test_bytes_that_say_nothing_are_refused(data: bytes) -> None:
    with pytest.raises(TrainingFailed):
        read(data)
    with pytest.raises(TrainingFailed):
        checked_checkpoint(data, 4, ORDER.recipe)


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=40) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["type", *Result.__struct_fields__, "reason", "step"]), inner)
        ),
        max_leaves=16,
    ).map(msgspec.msgpack.encode)
)
@settings(max_examples=300, deadline=None)
def test_bytes_from_anywhere_give_a_result_of_the_expected_numbers_or_an_error_of_ours(data: bytes) -> None:
    for parse in (read, lambda data: checked_checkpoint(data, 4, ORDER.recipe)):
        try:
            taken = parse(data)
        except LearningError:
            continue
        assert np.isfinite(finite_numbers(taken.numbers, 4)).all()


def test_why_it_can_not_be_done_is_told() -> None:
    with pytest.raises(NotTrainable, match="no such weights"):
        read(msgspec.msgpack.encode(Stopped("no such weights")))


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(NotTrainable, match="no_such_package"):
        job_of("program", ORDER, ("no_such_package",), limits=Limits())
