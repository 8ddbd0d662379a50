"""Messages: one encoding each, and what is out of its bounds is none."""

import msgspec
import pytest

from federation.errors import Malformed
from federation.messages import decode, encode
from federation.secagg.plan import Round, SecAggPlan
from federation.secagg.wire import (
    Consistent,
    Reveal,
    Roster,
    Share,
    Survivors,
    Unmask,
)
from tests.federation.rounds import FEDERATION
from tests.federation.secagg.story import (
    PLAN,
)


@pytest.mark.parametrize(
    ("kind", "message", "most"),
    [
        (Reveal, Reveal(bytes(32), bytes(32)), 80),
        (Survivors, Survivors(b"\xff"), 64),
        (Consistent, Consistent((bytes(64), b""), (b"",)), 200),
        (Round, Round.begin(FEDERATION, "test", 7, bytes(32), bytes(32)), 300),
        (SecAggPlan, PLAN, 64),
    ],
)
def test_a_message_has_one_encoding_and_no_other_is_read(kind: type[Reveal], message: Reveal, most: int) -> None:
    data = encode(message)
    assert decode(data, kind, most) == message
    assert encode(decode(data, kind, most)) == data
    for wrong in (
        data + b"\0",
        data[:-1],
        data[1:],
        b"\x02" + data[1:],
        data.replace(bytes([data[1]]), b"\xdc\x00" + bytes([data[1] & 15]), 1),
        data * most,
        b"",
        b"\x01",
    ):
        with pytest.raises(Malformed):
            decode(wrong, kind, most)


@pytest.mark.parametrize(
    "fields",
    [
        {"neighbours": 7},
        {"neighbours": 10},
        {"threshold": 4},
        {"threshold": 9},
        {"min_survivors": 6},
        {"min_survivors": 11},
        {"corrupt": 4},
        {"neighbours": 2_000},
        {"max_silent": 1_000},
        {"min_cohort": 13},
        {"bits": 7},
        {"bits": 32},
        {"dimension": 0},
        {"dimension": 1 << 30},
        {"max_cohort": 1 << 20},
    ],
)
def test_a_plan_that_keeps_nothing_safe_is_no_plan(fields: dict[str, int]) -> None:
    values = [getattr(PLAN, name) if name not in fields else fields[name] for name in PLAN.__struct_fields__]
    data = b"\x01" + msgspec.msgpack.encode(["secagg-plan", *values])
    with pytest.raises(Malformed):
        decode(data, SecAggPlan, 100)


def test_oversized_fields_are_refused_before_they_take_memory() -> None:
    for data in (
        b"\x01\x93\xa6reveal\xc6\xff\xff\xff\xff",
        b"\x01\xdd\xff\xff\xff\xff",
        b"\x01\x92\xa6roster\xdd\x7f\xff\xff\xff" + b"\x90" * 100,
        b"\x01" + b"\x91" * 5000,
    ):
        for kind in (Reveal, Roster, Survivors, Share, Unmask):
            with pytest.raises(Malformed):
                decode(data, kind, 1 << 20)
