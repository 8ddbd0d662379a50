"""How long things are kept, and that they go when their time is over."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from vault.classes import DataClass
from vault.errors import LogDamaged, VaultError
from vault.home import Home
from vault.inventory import TABLES
from vault.leftovers import remove_leftovers
from vault.log.entries import Action, Entry
from vault.messages import Session
from vault.notifications import LogVerificationFailed, RetentionChanged
from vault.retention import DEFAULTS, KEPT_BY, MOST_DAYS, Retained, RetentionReport, in_words
from vault.store import Vault

DAY = 24 * 3600 * 1000


def now() -> int:
    return time.time_ns() // 1_000_000


def conversation(vault: Vault, title: str = "kept") -> Session:
    session = vault.conversations.start(title, "")
    vault.conversations.append(session.id, None, "user", f"what about {title}?")
    return session


def titles(vault: Vault, *, archived: bool | None) -> list[str]:
    return [session.title for session in vault.conversations.sessions(archived=archived)]


def entry(*, sensitive: bool) -> Entry:
    return Entry(action=Action.CHAT, purpose="p", data_class=DataClass.MEDIUM, description="d", sensitive=sensitive)


def test_the_defaults_are_the_strictest_and_every_rule_says_what_happens_then(vault: Vault) -> None:
    days = {rule.what: rule.days for rule in vault.retention.rules()}
    assert days == {what: default.days for what, default in DEFAULTS.items()}
    assert days[Retained.SESSIONS] == 30
    assert days[Retained.SENSITIVE_LOG] == 7
    assert days[Retained.TEMPORARY_FILES] == 0
    assert all(rule.then and not rule.loose for rule in vault.retention.rules())


def test_rules_that_decide_over_tables_name_kinds_of_the_inventory() -> None:
    assert set(KEPT_BY) <= {table.kind for table in TABLES.values()}


def test_conversations_are_archived_thirty_days_after_they_were_last_used(vault: Vault) -> None:
    conversation(vault)
    assert vault.retention.run(now() + 29 * DAY) == RetentionReport()
    assert vault.retention.run(now() + 31 * DAY).archived == 1
    assert titles(vault, archived=False) == []
    assert titles(vault, archived=True) == titles(vault, archived=None) == ["kept"]


def test_archived_conversations_are_out_of_sight_but_found_when_looked_for(vault: Vault) -> None:
    session = conversation(vault)
    vault.retention.run(now() + 31 * DAY)
    assert vault.conversations.newest() is None
    assert vault.conversations.search("kept") == []
    assert [hit.session_id for hit in vault.conversations.search("kept", archived=True)] == [session.id]
    assert vault.conversations.find(session.id).archived_ms is not None


def test_an_archived_conversation_that_is_used_is_no_longer_archived(vault: Vault) -> None:
    session = conversation(vault)
    vault.retention.run(now() + 31 * DAY)
    vault.conversations.append(session.id, None, "user", "again")
    assert titles(vault, archived=False) == ["kept"]


def test_archived_conversations_stay_until_the_person_wants_them_to_go(vault: Vault) -> None:
    conversation(vault)
    archived_at = now() + 31 * DAY
    vault.retention.run(archived_at)
    assert vault.retention.run(archived_at + 3650 * DAY).erased.sessions == 0
    vault.retention.set(Retained.ARCHIVED_SESSIONS, 10)
    assert vault.retention.run(archived_at + 9 * DAY).erased.sessions == 0
    report = vault.retention.run(archived_at + 11 * DAY)
    assert (report.erased.sessions, report.erased.messages) == (1, 1)
    assert titles(vault, archived=None) == []
    assert vault.database.read(lambda c: c.execute("SELECT kind FROM tombstones").fetchall()) == [("session",)]


def test_nothing_is_archived_and_erased_in_one_run(vault: Vault) -> None:
    conversation(vault)
    vault.retention.set(Retained.ARCHIVED_SESSIONS, 0)
    report = vault.retention.run(now() + 400 * DAY)
    assert (report.archived, report.erased.sessions) == (1, 0)


def test_what_sensitive_entries_say_goes_first_and_the_log_still_verifies(vault: Vault) -> None:
    for sensitive in (True, False, True):
        vault.log.append(entry(sensitive=sensitive))
    assert vault.retention.run(now() + 8 * DAY).log_entries == 2
    said = {stored.seq: stored.entry is not None for stored in vault.log.entries()}
    assert said == {0: False, 1: True, 2: False, 3: True}
    assert vault.log.verify().cleared == 2
    assert vault.retention.run(now() + 91 * DAY).log_entries == 2  # and what the first run logged
    assert vault.log.verify().cleared == 4


def test_notifications_go_a_month_after_they_were_seen_and_never_unseen(vault: Vault) -> None:
    vault.notifications.raise_(LogVerificationFailed())
    vault.notifications.mark_seen(vault.notifications.unseen())
    vault.notifications.raise_(LogVerificationFailed())
    assert vault.retention.run(now() + 29 * DAY).notifications == 0
    assert vault.retention.run(now() + 31 * DAY).notifications == 1
    assert len(vault.notifications.unseen()) == 1


def test_a_run_that_let_something_go_is_logged_in_figures(vault: Vault) -> None:
    conversation(vault, "a private title")
    vault.retention.run(now())
    assert vault.log.entries() == []
    vault.retention.run(now() + 31 * DAY)
    (stored,) = vault.log.entries()
    assert stored.entry is not None
    assert stored.entry.action is Action.RETENTION
    assert stored.entry.description == "archived 1 conversation"


def test_it_runs_once_a_day_and_again_when_the_clock_was_put_back(vault: Vault) -> None:
    at = now()
    assert vault.retention.run_if_due(at) is not None
    assert vault.retention.run_if_due(at + DAY - 1) is None
    assert vault.retention.run_if_due(at + DAY) is not None
    assert vault.retention.run_if_due(at) is not None


def test_a_vault_with_an_alarm_is_left_as_it_is(home: Home, vault: Vault) -> None:
    from tests.fixtures.models import PASSPHRASE

    vault.close()
    home.database.with_suffix(".anchor").unlink()
    with Vault.open_with_passphrase(home, PASSPHRASE) as alarmed:
        assert alarmed.alarm
        assert alarmed.retention.run_if_due() is None
        assert len(alarmed.retention.rules()) == len(Retained)


def test_a_log_that_takes_no_entry_keeps_everything_from_going(vault: Vault) -> None:
    conversation(vault)
    vault.log.append(entry(sensitive=False))
    vault.database.write(lambda c: c.execute("UPDATE log_state SET size = 7").rowcount)
    with pytest.raises(LogDamaged):
        vault.retention.run(now() + 31 * DAY)
    assert titles(vault, archived=False) == ["kept"]


# Rules of one's own


def test_a_shorter_time_needs_no_confirmation_a_longer_one_does(vault: Vault) -> None:
    assert vault.retention.set(Retained.SESSIONS, 5).days == 5
    for days in (6, 30, 31, None):
        with pytest.raises(VaultError, match="confirmed"):
            vault.retention.set(Retained.SESSIONS, days)
    assert vault.retention.set(Retained.SESSIONS, 60, confirmed=True).loose
    assert vault.retention.set(Retained.SESSIONS, 45).days == 45  # less than it was
    assert vault.retention.set(Retained.SESSIONS, 30).loose is False


def test_each_change_is_logged_and_told(vault: Vault) -> None:
    vault.retention.set(Retained.LOG, None, confirmed=True)
    (stored,) = vault.log.entries()
    assert stored.entry is not None
    assert stored.entry.description == "log: kept until erased"
    assert stored.entry.purpose == "how long things are kept, as was said"
    assert [n.event for n in vault.notifications.unseen()] == [RetentionChanged("log", None)]


def test_a_rule_like_the_default_leaves_nothing_behind(vault: Vault) -> None:
    vault.retention.set(Retained.SESSIONS, 5)
    vault.retention.set(Retained.SESSIONS, 30, confirmed=True)
    assert vault.database.read(lambda c: c.execute("SELECT * FROM retention").fetchall()) == []


@pytest.mark.parametrize("days", [-1, MOST_DAYS + 1])
def test_impossible_times_are_refused(vault: Vault, days: int) -> None:
    with pytest.raises(VaultError, match="36,500"):
        vault.retention.set(Retained.SESSIONS, days, confirmed=True)


def test_times_are_said_as_a_person_would() -> None:
    assert [in_words(days) for days in (None, 0, 1, 30)] == ["until erased", "not at all", "1 day", "30 days"]


# Files that were left behind


def old(path: Path, hours: float = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, ns=(0, time.time_ns() - int(hours * 3600e9)))
    return path


def test_half_written_files_of_ours_go_and_nothing_else_does(home: Home, vault: Vault) -> None:
    left = [
        old(home.vault / ".keyslots.json.0123456789ab.new"),
        old(home.data / ".config.toml.0123456789ab.new"),
        old(home.models / ".0123456789ab.new"),
    ]
    unfinished = old(home.data / ".vault.0123456789ab.new" / "keyslots.json").parent
    os.utime(unfinished, ns=(0, 0))
    others = [
        old(home.data / "letter.new"),
        old(home.models / ".mine.new"),
        old(home.vault / ".x.0123456789ab.new", hours=0.5),
    ]
    assert vault.retention.run().files == 4
    assert not any(path.exists() for path in [*left, unfinished])
    assert all(path.exists() for path in others)


def test_a_copy_that_a_killed_scrub_left_goes_at_once_and_is_no_leftover_file(home: Home, vault: Vault) -> None:
    copy = old(home.vault / ".scrub.0123456789ab.new" / "vault.db", hours=0.1)
    ancient = old(home.vault / ".scrub.ba9876543210.new" / "vault.db").parent
    os.utime(ancient, ns=(0, 0))
    assert vault.retention.run().files == 0
    assert not copy.parent.exists()
    assert not ancient.exists()


def test_parts_of_downloads_go_after_a_week_unless_one_is_going_on(home: Home) -> None:
    parts = home.models / "partial"
    young, gone, busy = old(parts / "a.part", 24 * 6), old(parts / "b.part", 24 * 8), old(parts / "c.part", 24 * 8)
    with busy.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_leftovers(home, None, now() - 7 * DAY, now()) == 1
    assert (young.exists(), gone.exists(), busy.exists()) == (True, False, True)


def test_a_link_in_the_place_of_a_leftover_is_not_followed(home: Home, tmp_path: Path) -> None:
    precious = old(tmp_path / "precious")
    link = home.data / ".x.0123456789ab.new"
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)
    os.utime(link, ns=(0, 0), follow_symlinks=False)
    remove_leftovers(home, now(), None, now())
    assert precious.exists()


def test_a_home_without_folders_has_no_leftovers(home: Home) -> None:
    assert remove_leftovers(home, now(), now(), now()) == 0
    assert not home.data.exists()
