"""Before a vault closes: what is under way is told to end, and waited for."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from vault.closing import Closing
from vault.errors import Locked

FOR_EVER_S = 3000
"""Longer than a test may last."""
WITHIN_S = 20


@pytest.fixture
def closing() -> Closing:
    return Closing()


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """A thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        yield thread


def test_what_has_begun_is_waited_for(closing: Closing, elsewhere: ThreadPoolExecutor) -> None:
    with closing.put_off():
        begun = elsewhere.submit(closing.begin, "It closes.", FOR_EVER_S)
        while not closing.why:
            assert not begun.done()
    begun.result()


def test_nothing_more_begins(closing: Closing) -> None:
    closing.begin("It closes.", FOR_EVER_S)
    with pytest.raises(Locked, match="It closes") as caught, closing.put_off():
        pytest.fail("it began")
    assert "claw vault unlock" in caught.value.hint


def test_what_does_not_end_is_waited_for_no_longer_than_there_is_patience(
    closing: Closing, elsewhere: ThreadPoolExecutor
) -> None:
    with closing.put_off():
        elsewhere.submit(closing.begin, "It closes.", 0.01).result()


def test_who_closes_in_the_middle_of_it_waits_for_the_others_alone(
    closing: Closing, elsewhere: ThreadPoolExecutor
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def another() -> None:
        with closing.put_off():
            begun.set()
            while not closing.why:
                ended.wait(0.01)
            ended.set()

    other = elsewhere.submit(another)
    assert begun.wait(WITHIN_S)
    with closing.put_off(), closing.put_off():
        closing.begin("It closes.", FOR_EVER_S)
        assert ended.is_set()
    other.result()


def test_the_first_reason_counts(closing: Closing) -> None:
    closing.begin("It was locked.", FOR_EVER_S)
    closing.begin("It closes.", FOR_EVER_S)
    assert closing.why == "It was locked."
