"""Restoring into a vault that is there: what is missing is added, what was erased since stays away."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.fixtures.models import PASSPHRASE
from tests.vault.portability.conftest import CANARY, rows_of
from tests.vault.portability.test_backup import KEY, plaintext, restored
from vault.errors import BackupRefused, WrongPassphrase
from vault.home import Home
from vault.log.entries import Action
from vault.notifications import Restored
from vault.portability.age_passphrase import Passphrase
from vault.portability.backup import back_up
from vault.portability.digests import Digest, Tally
from vault.portability.merge import Merged
from vault.portability.restore import merge_backup
from vault.portability.staging import tables_that_merge
from vault.store import Vault


@pytest.fixture
def backup(furnished: Vault, tmp_path: Path) -> Path:
    """A backup of the furnished vault."""
    back_up(furnished, tmp_path / "b.age", KEY)
    return tmp_path / "b.age"


def test_what_is_missing_is_added_and_what_is_here_stays(backup: Path, other: Vault) -> None:
    mine = other.conversations.start("mine", "")
    merged = merge_backup(other, backup, KEY)
    assert (merged.added, merged.messages, merged.models) == (2, 3, 1)
    assert len(other.conversations.sessions()) == 3
    assert other.conversations.find("mine") == mine
    assert other.conversations.search("question")


def test_merging_what_is_here_already_changes_no_row(furnished: Vault, backup: Path) -> None:
    before = rows_of(furnished, *tables_that_merge())
    assert merge_backup(furnished, backup, KEY) == Merged(known=2)
    assert rows_of(furnished, *tables_that_merge()) == before


def test_the_log_of_this_device_goes_on_and_the_person_is_told(backup: Path, other: Vault) -> None:
    before = other.log.verify()
    merge_backup(other, backup, KEY)
    after = other.log.verify([before.head])
    assert (after.origin, after.head.size) != (before.origin, before.head.size)
    entry = other.log.entries(1)[0].entry
    assert entry is not None
    assert entry.action is Action.RESTORE
    told = other.notifications.unseen()[-1].event
    assert isinstance(told, Restored)
    assert told.made_ms > 1_700_000_000_000


def test_what_was_erased_since_the_backup_isnt_brought_back(furnished: Vault, backup: Path) -> None:
    long = next(session for session in furnished.conversations.sessions() if session.head)
    branch = furnished.conversations.path(long.id)
    furnished.erasure.carry_out(furnished.erasure.of_message(branch[-1].id))
    assert merge_backup(furnished, backup, KEY) == Merged(known=2, erased=1)
    furnished.erasure.carry_out(furnished.erasure.of_sessions([long]))
    assert merge_backup(furnished, backup, KEY) == Merged(known=1, erased=1)
    assert furnished.conversations.search("question") == []
    assert [session.title for session in furnished.conversations.sessions()] == ["empty"]


def test_what_was_erased_where_the_backup_was_made_stays_away_here_too(
    furnished: Vault, other: Vault, tmp_path: Path
) -> None:
    back_up(furnished, tmp_path / "old.age", KEY)
    long = next(session for session in furnished.conversations.sessions() if session.head)
    furnished.erasure.carry_out(furnished.erasure.of_sessions([long]))
    back_up(furnished, tmp_path / "new.age", KEY)
    merge_backup(other, tmp_path / "new.age", KEY)
    assert merge_backup(other, tmp_path / "old.age", KEY).erased == 1
    assert other.conversations.search("question") == []


def test_a_refused_merge_changes_nothing(furnished: Vault, backup: Path, other: Vault) -> None:
    before = rows_of(other)
    with pytest.raises(WrongPassphrase):
        merge_backup(other, backup, Passphrase("a wrong one", work=1))
    whole = backup.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", whole[:-20] + b"x" + whole[-19:], b"", b"no backup"):
        backup.write_bytes(damaged)
        with pytest.raises(BackupRefused):
            merge_backup(other, backup, KEY)
    assert rows_of(other) == before
    assert [path.name for path in other.home.data.iterdir()] == ["vault"]


def test_the_keys_of_a_restored_vault_are_its_own(furnished: Vault, backup: Path, elsewhere: Home) -> None:
    from vault.keyslots import Keyslots

    with restored(elsewhere, backup):
        pass
    with pytest.raises(WrongPassphrase):
        Vault.open_with_passphrase(elsewhere, PASSPHRASE)
    ids = [Keyslots.read(home.keyslots).vault_id for home in (furnished.home, elsewhere)]
    assert ids[0] != ids[1]


def test_a_vault_made_of_a_backup_says_so_in_its_log_and_to_the_person(
    furnished: Vault, backup: Path, elsewhere: Home
) -> None:
    with restored(elsewhere, backup) as vault:
        entry = vault.log.entries(1)[0].entry
        told = vault.notifications.unseen()[-1].event
    assert entry is not None
    assert (entry.action, entry.purpose) == (Action.RESTORE, "a vault made of a backup")
    assert entry.description == "2 conversations, 3 messages"
    assert isinstance(told, Restored)
    assert CANARY not in str(entry)


def test_a_log_that_is_damaged_keeps_nothing_else_from_being_restored(
    furnished: Vault, tmp_path: Path, elsewhere: Home
) -> None:
    furnished.database.write(lambda c: c.execute("UPDATE log_state SET frontier = x'00'"))
    furnished.database.alarm = "Somebody was here."  # so that it can be backed up, without an entry
    back_up(furnished, tmp_path / "b.age", KEY)
    with restored(elsewhere, tmp_path / "b.age") as vault:
        assert vault.conversations.search("question")
        assert isinstance(vault.notifications.unseen()[-1].event, Restored)


def test_a_vault_with_the_same_keys_goes_on_with_the_log(furnished: Vault, backup: Path, elsewhere: Home) -> None:
    verified = furnished.log.verify()
    with restored(elsewhere, backup) as vault:
        before = vault.log.verify()
        back_up(vault, backup.with_name("again.age"), KEY)
        again = vault.log.verify([before.head])
    assert again.origin == before.origin == verified.origin
    assert again.head.size == before.head.size + 2


def older(file: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Make a backup one of the first schema: without the tables and columns that came later."""
    kept = ("sessions", "messages", "attachments", "generations", "models")
    lines, tables, table = [], dict[str, Tally](), ""
    for line in plaintext(file).splitlines():
        parsed = msgspec.json.decode(line)
        if isinstance(parsed, list):
            table = parsed[1] if parsed[0] == "table" else ""
            if table in kept:
                tables[table] = Tally()
                lines.append(line + b"\n")
            elif not table and parsed[0] != "end":
                lines.append(msgspec.json.encode([parsed[0], {**parsed[1], "schema": 1}]) + b"\n")
        elif table in kept:
            change(parsed)
            lines.append(msgspec.json.encode(parsed) + b"\n")
            tables[table].add(lines[-1])
    ends: dict[str, Digest] = {name: tally.digest for name, tally in tables.items()}
    lines.append(msgspec.json.encode(["end", ends]) + b"\n")
    with file.open("wb") as out:
        KEY.seal(iter(lines), out)


def test_a_backup_of_an_older_schema_gets_the_defaults_of_what_came_later(
    backup: Path, elsewhere: Home, tmp_path: Path
) -> None:
    def forget(row: dict[str, object]) -> None:
        row.pop("archived_ms", None)
        if "title" in row:
            del row["source"]

    older(backup, forget)
    with restored(elsewhere, backup) as vault:
        assert {(session.source, session.archived_ms) for session in vault.conversations.sessions()} == {("", None)}
        assert vault.conversations.search("question")
        assert vault.log.verify().head.size == 1  # that it was restored
    older(backup, lambda row: row.pop("created_ms", None))
    with pytest.raises(BackupRefused, match="created_ms is missing"):
        restored(Home.locate({"CLAW_HOME": str(tmp_path / "another")}), backup)
