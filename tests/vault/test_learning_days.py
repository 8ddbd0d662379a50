"""What learning took on a day."""

import datetime
from collections.abc import Callable, Iterator

import pytest

from vault.database import Database
from vault.learning_days import LearningDays, Used

LATE = datetime.datetime(2026, 11, 21, 23, 58, 30, tzinfo=datetime.UTC)
NEXT = datetime.datetime(2026, 11, 22, 0, 0, tzinfo=datetime.UTC)


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database.in_memory()
    yield database
    database.close()


@pytest.fixture
def add(database: Database) -> Callable[..., None]:
    def run(trained_s: float = 0.0, uploaded: int = 0, *, at: datetime.datetime = LATE) -> None:
        database.write(lambda c: LearningDays.add(c, trained_s=trained_s, uploaded=uploaded, now=lambda: at))

    return run


def used(database: Database, *, at: datetime.datetime = LATE) -> Used:
    return LearningDays(database, now=lambda: at).today()


def test_a_day_without_learning_took_nothing(database: Database) -> None:
    assert used(database) == Used(0.0, 0)


def test_what_is_taken_adds_up_over_a_day(database: Database, add: Callable[..., None]) -> None:
    add(90.5)
    add(uploaded=415_000)
    add(0.25, 1)
    assert used(database) == Used(90.75, 415_001)


def test_the_next_day_begins_with_nothing_taken(database: Database, add: Callable[..., None]) -> None:
    add(600.0, 7)
    assert used(database, at=NEXT) == Used(0.0, 0)
    add(1.0, at=NEXT)
    assert used(database) == Used(600.0, 7)
    assert used(database, at=NEXT) == Used(1.0, 0)


def test_a_day_is_today_without_being_told(database: Database) -> None:
    database.write(lambda c: LearningDays.add(c, uploaded=5))
    assert LearningDays(database).today().uploaded in (5, 0)  # 0 where midnight came in between


@pytest.mark.parametrize("taken", [{"trained_s": -0.1}, {"uploaded": -1}, {"trained_s": float("nan")}])
def test_nothing_is_given_back(database: Database, add: Callable[..., None], taken: dict[str, float]) -> None:
    add(60.0, 100)
    with pytest.raises(ValueError, match="less than nothing"):
        add(**taken)
    assert used(database) == Used(60.0, 100)
