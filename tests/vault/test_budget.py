"""How much may leave in a day."""

import datetime
from collections.abc import Callable, Iterator

import pytest

from vault.budget import Budget
from vault.connection import Connection
from vault.database import Database
from vault.errors import OverBudget

NOON = datetime.datetime(2026, 11, 21, 12, 0, tzinfo=datetime.UTC)
LATE = datetime.datetime(2026, 11, 21, 23, 58, 30, tzinfo=datetime.UTC)
NEXT = datetime.datetime(2026, 11, 22, 0, 0, tzinfo=datetime.UTC)


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database.in_memory()
    yield database
    database.close()


@pytest.fixture
def reserve(database: Database) -> Callable[..., str]:
    def run(count: int, *, at: datetime.datetime = NOON, limit: int = 1000) -> str:
        return database.write(lambda c: Budget(limit, now=lambda: at).reserve(c, count))

    return run


def left(database: Database, *, at: datetime.datetime = NOON, limit: int = 1000) -> int:
    return database.read(Budget(limit, now=lambda: at).spent).left


def test_all_of_a_day_can_be_spent_and_not_a_byte_more(database: Database, reserve: Callable[..., str]) -> None:
    assert reserve(999) == "2026-11-21"
    reserve(1)
    assert left(database) == 0
    with pytest.raises(OverBudget, match=r"only 0 of today's 1,000 are left"):
        reserve(1)
    assert left(database) == 0


def test_a_refused_request_counts_for_nothing(database: Database, reserve: Callable[..., str]) -> None:
    with pytest.raises(OverBudget):
        reserve(1001)
    assert left(database) == 1000


def test_the_next_day_begins_with_nothing_spent(database: Database, reserve: Callable[..., str]) -> None:
    reserve(1000, at=LATE)
    with pytest.raises(OverBudget) as caught:
        reserve(1, at=LATE)
    assert "in 0 h 2 min" in caught.value.hint
    assert reserve(1000, at=NEXT) == "2026-11-22"


def test_a_limit_of_zero_lets_nothing_leave(reserve: Callable[..., str]) -> None:
    with pytest.raises(OverBudget):
        reserve(1, limit=0)


def test_a_limit_that_was_lowered_below_what_was_spent_leaves_nothing(
    database: Database, reserve: Callable[..., str]
) -> None:
    reserve(800)
    assert left(database, limit=500) == 0


def test_what_did_not_leave_is_given_back_to_its_own_day(database: Database, reserve: Callable[..., str]) -> None:
    day = reserve(600, at=LATE)

    def settle(connection: Connection) -> None:
        Budget(1000, now=lambda: NEXT).settle(connection, day, 600, 0, 70)

    database.write(settle)
    assert left(database, at=LATE) == 1000
    assert left(database, at=NEXT) == 1000
    assert database.read(Budget(1000, now=lambda: LATE).spent).received == 70


def test_a_day_that_was_forgotten_meanwhile_never_has_less_than_nothing_spent(
    database: Database, reserve: Callable[..., str]
) -> None:
    day = reserve(600)
    database.write(lambda c: c.execute("DELETE FROM egress_days"))
    database.write(lambda c: Budget(1000, now=lambda: NOON).settle(c, day, 600, 100, 5))
    assert left(database) == 1000
