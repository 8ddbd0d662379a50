"""Unfinished runs of skills: each answer sealed in its place, and gone when its time is over."""

import time

import pytest

from vault.classes import HighlySensitive
from vault.database import Connection
from vault.errors import DatabaseDamaged
from vault.retention import Retained
from vault.run_store import RunStore
from vault.store import Vault

RUN, OTHER = "ab" * 32, "cd" * 32
ASKED, ALSO = "01" * 32, "02" * 32
DAY = 24 * 3600 * 1000


@pytest.fixture
def store(vault: Vault) -> RunStore:
    store = RunStore(vault.database)
    store.keep(RUN, "a-skill", ASKED, HighlySensitive(b"what they agreed"))
    store.keep(RUN, "a-skill", ALSO, HighlySensitive(b"and what not"))
    store.keep(OTHER, "another", ASKED, HighlySensitive(b"something else"))
    return store


def answers(store: RunStore, run: str) -> dict[str, bytes]:
    return {asked: answer.reveal() for asked, answer in store.answers(run).items()}


def test_answers_are_kept_by_run_and_question(store: RunStore) -> None:
    assert answers(store, RUN) == {ASKED: b"what they agreed", ALSO: b"and what not"}
    assert answers(store, OTHER) == {ASKED: b"something else"}
    assert answers(store, "ef" * 32) == {}


def test_the_last_answer_counts(store: RunStore) -> None:
    store.keep(RUN, "a-skill", ASKED, HighlySensitive(b"again"))
    assert answers(store, RUN)[ASKED] == b"again"


def test_an_answer_that_was_moved_opens_nothing(vault: Vault, store: RunStore) -> None:
    vault.database.write(
        lambda c: c.execute(
            "UPDATE skill_run_answers AS a SET answer = (SELECT answer FROM skill_run_answers WHERE run = ?) "
            "WHERE a.run = ?",
            (OTHER, RUN),
        )
    )
    with pytest.raises(DatabaseDamaged):
        store.answers(RUN)


def test_a_finished_run_leaves_nothing_and_others_stay(vault: Vault, store: RunStore) -> None:
    vault.database.write(lambda c: store.remove(c, RUN))
    assert answers(store, RUN) == {}
    assert answers(store, OTHER)
    assert count(vault, "skill_run_answers") == 1


def test_the_runs_of_one_skill_can_be_forgotten(vault: Vault, store: RunStore) -> None:
    assert vault.database.write(lambda c: store.remove_all(c, "a-skill")) == 1
    assert vault.database.write(lambda c: store.remove_all(c, "a-skill")) == 0
    assert count(vault, "skill_runs") == 1


def test_unfinished_runs_go_a_week_after_they_were_last_gone_on_with(vault: Vault, store: RunStore) -> None:
    now = time.time_ns() // 1_000_000
    assert vault.retention.run(now + 6 * DAY).runs == 0
    assert answers(store, RUN)
    report = vault.retention.run(now + 8 * DAY)
    assert report.runs == 2
    assert "removed 2 unfinished runs of skills" in str(report)
    assert count(vault, "skill_run_answers") == 0


def test_a_person_may_have_them_go_sooner(vault: Vault, store: RunStore) -> None:
    vault.retention.set(Retained.UNFINISHED_RUNS, 0)
    assert vault.retention.run(time.time_ns() // 1_000_000 + 1).runs == 2


def count(vault: Vault, table: str) -> int:
    def read(connection: Connection) -> int:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row
        return int(row[0])

    return vault.database.read(read)
