"""What a person is told without having asked, and how openings of the vault are watched."""

import fcntl
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.models import PASSPHRASE
from tests.fixtures.processes import start_function
from vault.attempts import MANY, FailedUnlocks, Failures, note_opening
from vault.errors import (
    ClawError,
    DiskFull,
    HardwareError,
    RecoveryRefused,
    SharesMissing,
    WrongPassphrase,
    WrongPin,
)
from vault.home import Home
from vault.notifications import (
    Known,
    LargeExport,
    LogVerificationFailed,
    ManyFailedUnlocks,
    NewSlotUsed,
    Notifications,
    PermissionChanged,
    Restored,
    RetentionChanged,
    RollbackAccepted,
    SlotsChanged,
    Unknown,
    words,
)
from vault.store import Vault

EVENTS: list[Known] = [
    NewSlotUsed("keychain"),
    SlotsChanged(added=("recovery slot 00",)),
    ManyFailedUnlocks(7, 1_700_000_000_000),
    LargeExport(5_000_000, 900),
    RetentionChanged("log", 200),
    RetentionChanged("log", None),
    PermissionChanged("files", allowed=True),
    LogVerificationFailed(),
    RollbackAccepted("a change is missing"),
    Restored(1_700_000_000_000),
]


def told(vault: Vault) -> list[object]:
    return [notification.event for notification in vault.notifications.unseen()]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was_and_can_be_said(vault: Vault, event: Known) -> None:
    vault.notifications.raise_(event)
    assert told(vault) == [event]
    assert words(event).endswith((".", "missing"))


def test_what_was_seen_is_not_told_again_and_what_came_since_is(vault: Vault) -> None:
    vault.notifications.raise_(EVENTS[0])
    shown = vault.notifications.unseen()
    vault.notifications.raise_(EVENTS[1])
    vault.notifications.mark_seen(shown)
    assert told(vault) == [EVENTS[1]]
    vault.notifications.mark_seen([])
    assert told(vault) == [EVENTS[1]]


def test_an_event_belongs_to_the_transaction_that_makes_it_happen(vault: Vault) -> None:
    def undone(connection: object) -> None:
        vault.notifications.raise_(EVENTS[0], connection)  # type: ignore[arg-type]
        raise DiskFull("in the middle")

    with pytest.raises(DiskFull):
        vault.database.write(undone)
    assert told(vault) == []


@given(kind=st.text(max_size=30), details=st.text(max_size=200) | st.from_regex(r'\{"kind":"[a-z-]*"[^}]*\}'))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_an_event_of_another_version_is_told_by_its_name(vault: Vault, kind: str, details: str) -> None:
    def foreign(connection: object) -> None:
        connection.execute("DELETE FROM notifications")  # type: ignore[attr-defined]
        connection.execute(  # type: ignore[attr-defined]
            "INSERT INTO notifications (at_ms, kind, details) VALUES (1, ?, ?)",
            (kind.encode("utf-8", "replace").decode(), details.encode("utf-8", "replace").decode()),
        )

    vault.database.write(foreign)
    (event,) = told(vault)
    assert isinstance(event, Unknown | Known)
    assert words(event)


# Openings

OFTEN = 20
"""Failures of each of several processes: enough for them to meet."""


def fail(home: Home, times: int) -> None:
    for _ in range(times):
        FailedUnlocks(home).add()


def open_and_note(home: Home, opened_by: str = "passphrase", slot_id: str = "") -> list[object]:
    with Vault.open_with_passphrase(home, PASSPHRASE) as vault:
        note_opening(home, vault.database, opened_by, slot_id)
        return told(vault)


@pytest.fixture
def made(home: Home, vault: Vault) -> Home:
    vault.note_opening()
    vault.close()
    return home


def test_the_slots_that_a_vault_was_made_with_are_no_news(made: Home) -> None:
    with Vault.open_with_passphrase(made, PASSPHRASE) as vault:
        vault.note_opening()
        assert told(vault) == []


def test_the_first_use_of_another_slot_is_told_once(made: Home) -> None:
    assert open_and_note(made, "recovery", "0a0b0c0d") == [NewSlotUsed("recovery")]
    assert open_and_note(made, "recovery", "0a0b0c0d") == [NewSlotUsed("recovery")]
    assert open_and_note(made, "recovery", "11111111") == [NewSlotUsed("recovery")] * 2


def test_a_slot_without_an_id_is_known_by_its_kind(made: Home) -> None:
    assert open_and_note(made, "hardware") == [NewSlotUsed("hardware")]
    assert open_and_note(made, "hardware") == [NewSlotUsed("hardware")]
    assert open_and_note(made, "passphrase") == [NewSlotUsed("hardware")]


@pytest.mark.parametrize("opened_by", ["holder", "rotation"])
def test_what_is_no_slot_is_no_news(made: Home, opened_by: str) -> None:
    assert open_and_note(made, opened_by) == []


def test_many_failures_are_told_when_the_vault_is_next_opened_and_counted_anew(made: Home) -> None:
    fail(made, MANY)
    (event,) = open_and_note(made, "holder")
    assert isinstance(event, ManyFailedUnlocks)
    assert event.count == MANY
    assert event.since_ms > 1_700_000_000_000
    assert FailedUnlocks(made).read() == Failures()


@pytest.mark.parametrize("typed", ["passphrase", "recovery", "hardware"])
def test_a_slip_of_the_finger_is_forgotten_with_the_right_key(made: Home, typed: str) -> None:
    fail(made, MANY - 1)
    assert ManyFailedUnlocks not in map(type, open_and_note(made, typed))
    assert FailedUnlocks(made).read() == Failures()


@pytest.mark.parametrize("untyped", ["holder", "keychain"])
def test_failures_before_a_key_that_nobody_typed_go_on_counting(made: Home, untyped: str) -> None:
    fail(made, MANY - 1)
    assert ManyFailedUnlocks not in map(type, open_and_note(made, untyped))
    fail(made, 1)
    assert [type(event) for event in open_and_note(made, untyped)][-1] is ManyFailedUnlocks


@pytest.mark.parametrize("refused", [WrongPassphrase, WrongPin, RecoveryRefused])
def test_every_kind_of_key_that_does_not_fit_is_counted(made: Home, refused: type[ClawError]) -> None:
    with pytest.raises(refused), FailedUnlocks(made).counting():
        raise refused("It doesn't fit.")
    assert FailedUnlocks(made).read().count == 1


def test_a_key_that_could_not_be_tried_is_not_counted(made: Home) -> None:
    with pytest.raises(HardwareError), FailedUnlocks(made).counting():
        raise HardwareError("The token was unplugged.")
    assert FailedUnlocks(made).read().count == 0


def test_no_share_at_all_is_not_counted(made: Home) -> None:
    with pytest.raises(SharesMissing), FailedUnlocks(made).counting():
        raise SharesMissing("No share was given.")
    assert FailedUnlocks(made).read().count == 0


def test_failures_in_several_processes_are_all_counted(made: Home) -> None:
    with made.keyslots.open("rb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        processes = [start_function(fail_often, made.data) for _ in range(4)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    assert FailedUnlocks(made).read().count == 4 * OFTEN


def fail_often(data: str) -> None:
    home = Home.locate({"CLAW_HOME": data})
    print("ready", flush=True)
    with home.keyslots.open("rb") as gate:
        fcntl.flock(gate, fcntl.LOCK_SH)
        fail(home, OFTEN)


def test_what_was_counted_since_it_was_told_stays(made: Home) -> None:
    fail(made, 3)
    told = FailedUnlocks(made).read()
    fail(made, 2)
    FailedUnlocks(made).forget(told)
    assert FailedUnlocks(made).read().count == 2
    FailedUnlocks(made).forget(FailedUnlocks(made).read())
    assert not (made.vault / "attempts").exists()


def test_who_keeps_the_count_for_himself_keeps_nobody_from_counting(made: Home) -> None:
    fail(made, 1)
    with (made.vault / "attempts").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fail(made, 1)
    assert FailedUnlocks(made).read().count == 2


def test_a_link_in_the_place_of_the_count_is_not_followed(made: Home, tmp_path: Path) -> None:
    (made.vault / "attempts").symlink_to(tmp_path / "elsewhere")
    fail(made, 1)
    assert FailedUnlocks(made).read().count == 1
    assert not (tmp_path / "elsewhere").exists()


def test_failures_are_counted_without_a_word_about_what_was_tried(made: Home) -> None:
    fail(made, 3)
    file = made.vault / "attempts"
    assert list(json.loads(file.read_text())) == ["count", "since_ms"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_where_there_is_no_vault_nothing_is_counted_and_nothing_made(home: Home) -> None:
    fail(home, 1)
    FailedUnlocks(home).forget(Failures())
    assert not home.data.exists()


@given(st.binary(max_size=2000) | st.just(b'{"count":-1}') | st.just(b"[" * 1500) | st.just(b'{"count":1e99}'))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_whatever_lies_in_the_place_of_the_count_is_survived(made: Home, garbage: bytes) -> None:
    (made.vault / "attempts").write_bytes(garbage)
    failed = FailedUnlocks(made)
    before = failed.read().count
    failed.add()
    assert failed.read().count == before + 1


def test_an_alarm_keeps_an_opening_from_being_noted(made: Home) -> None:
    anchor = made.database.with_suffix(".anchor")
    anchor.unlink()
    fail(made, MANY)
    with Vault.open_with_passphrase(made, PASSPHRASE) as vault:
        assert vault.alarm
        vault.note_opening()
        assert Notifications(vault.database).unseen() == []
    assert FailedUnlocks(made).read().count == MANY
