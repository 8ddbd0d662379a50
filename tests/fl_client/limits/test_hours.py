"""The hours of a day in which training may run."""

import datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fl_client.limits.hours import ALL_DAY, Hours
from vault.settings import LimitSettings


def at(clock: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(f"2026-11-28 {clock}:59")


def hours(text: str) -> Hours:
    found = Hours.read(text)
    assert found is not None
    return found


def test_within_a_day_they_begin_with_the_first_minute_and_end_before_the_last() -> None:
    day = hours("08:30-17:00")
    assert [day.judge(at(clock)).holds for clock in ("08:29", "08:30", "16:59", "17:00")] == [
        False,
        True,
        True,
        False,
    ]


def test_they_may_go_past_midnight() -> None:
    night = hours("22:00-06:00")
    clocks = ("21:59", "22:00", "23:59", "00:00", "05:59", "06:00", "12:00")
    assert [night.judge(at(clock)).holds for clock in clocks] == [False, True, True, True, True, False, False]


def test_outside_of_them_it_says_when_they_are() -> None:
    found = hours("22:00-06:00").judge(at("07:05"))
    assert found == (False, "07:05", "It is 07:05; training runs between 22:00 and 06:00.")


def test_all_day_is_every_minute_and_the_default() -> None:
    assert all(minute in ALL_DAY for minute in range(24 * 60))
    assert Hours.read(LimitSettings().hours) == ALL_DAY


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,2}:[0-9]{2}-[0-9]{1,2}:[0-9]{2}\n?", fullmatch=True))
def test_the_settings_take_just_what_can_be_read(text: str) -> None:
    try:
        msgspec.convert({"hours": text}, LimitSettings)
        taken = True
    except msgspec.ValidationError:
        taken = False
    assert taken == (Hours.read(text) is not None)


@given(st.integers(0, 1439), st.integers(1, 1440))
def test_what_is_read_is_written_alike(begin: int, end: int) -> None:
    if begin != end:
        assert Hours.read(str(Hours(begin, end))) == (begin, end)
