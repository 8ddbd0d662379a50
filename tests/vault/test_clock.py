"""Times as they are shown: any number has one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.clock import local_time
from vault.notifications import ManyFailedUnlocks, Restored, words


@pytest.mark.parametrize("ms", [2**80, -(2**80), 10**400, -(10**400)])
def test_what_no_calendar_names_is_an_unknown_time(ms: int) -> None:
    assert local_time(ms) == "an unknown time"
    assert "an unknown time" in words(ManyFailedUnlocks(3, ms))
    assert "an unknown time" in words(Restored(ms))


@given(st.integers())
def test_every_number_is_shown_in_one_line(ms: int) -> None:
    assert local_time(ms)
    assert "\n" not in local_time(ms)


def test_a_time_is_shown_as_it_was_asked_for() -> None:
    assert local_time(1_700_000_000_000, "%Y") == "2023"
