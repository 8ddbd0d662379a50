"""Restoring into a vault that is there: what is missing is added, what was erased since stays away."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from vault.survey import traffic


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


def test_a_backup_of_before_messages_had_sources_is_restored_with_all_that_is_in_it(
    furnished: Vault, backup: Path, elsewhere: Home
) -> None:
    before = rows_of(furnished, *tables_that_merge())

    def forget(tables: Tables) -> None:
        for row in tables["messages"]:
            del row["source"]

    remake(backup, forget, schema=2)
    with restored(elsewhere, backup) as vault:
        assert rows_of(vault, *tables_that_merge()) == before
        assert vault.log.verify().head.size > 0


@pytest.mark.parametrize(("schema", "lacking"), [(0, "models"), (1, "messages"), (2, "tombstones")])
def test_an_older_backup_lacks_no_table_that_there_was_then(
    backup: Path, elsewhere: Home, schema: int, lacking: str
) -> None:
    remake(backup, lambda tables: tables.pop(lacking), schema)
    with pytest.raises(BackupRefused):
        restored(elsewhere, backup)
    assert not elsewhere.vault.exists()


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


def test_a_vault_with_the_same_keys_goes_on_with_the_log(furnished: Vault, backup: Path, elsewhere: Home) -> None:
    verified = furnished.log.verify()
    with restored(elsewhere, backup) as vault:
        before = vault.log.verify()
        back_up(vault, backup.with_name("again.age"), KEY)
        again = vault.log.verify([before.head])
    assert again.origin == before.origin == verified.origin
    assert again.head.size == before.head.size + 2


Tables = dict[str, list[dict[str, Any]]]


def remake(file: Path, change: Callable[[Tables], object], schema: int | None = None) -> None:
    """Make a backup whose rows were changed, with an end that fits them: as anybody can for a recipient's key."""
    tables: Tables = {}
    first, *lines = plaintext(file).splitlines()
    for line in map(msgspec.json.decode, lines[:-1]):
        if isinstance(line, list):
            rows = tables.setdefault(line[1], [])
        else:
            rows.append(line)
    change(tables)
    kind, about = msgspec.json.decode(first)
    about["schema"] = about["schema"] if schema is None else schema
    written, ends = [msgspec.json.encode([kind, about]) + b"\n"], {}
    for name, changed in tables.items():
        tally = Tally()
        written.append(msgspec.json.encode(["table", name]) + b"\n")
        for row in changed:
            written.append(msgspec.json.encode(row) + b"\n")
            tally.add(written[-1])
        ends[name] = tally.digest
    written.append(msgspec.json.encode(["end", ends]) + b"\n")
    with file.open("wb") as out:
        KEY.seal(iter(written), out)


def clear_frontier(tables: Tables) -> None:
    tables["log_state"][0]["frontier"] = {"base64": ""}


def change_body(tables: Tables) -> None:
    tables["log_entries"][0]["body"] = {"base64": "AAAA"}


def forget_key(tables: Tables) -> None:
    tables["secrets"].clear()


def forget_entry(tables: Tables) -> None:
    tables["log_entries"].pop()


def other_key(tables: Tables) -> None:
    tables["secrets"][0]["value"] = "x" * 32


@pytest.mark.parametrize("change", [clear_frontier, change_body, forget_key, forget_entry, other_key])
def test_a_log_that_doesnt_verify_isnt_put_in_place_and_the_rest_can_be_merged(
    backup: Path, elsewhere: Home, other: Vault, change: Callable[[Tables], object], tmp_path: Path
) -> None:
    remake(backup, change)
    fresh = Home.locate({"CLAW_HOME": str(tmp_path / "fresh")})
    with pytest.raises(BackupRefused, match="log in the backup doesn't verify") as refused:
        restored(fresh, backup)
    assert "restore --merge" in refused.value.hint
    assert not fresh.vault.exists()
    assert merge_backup(other, backup, KEY).added == 2
    assert other.log.verify()


DETAILS = '{"kind":"%s",%s}'


def rule(permission: str, resource: str) -> dict[str, Any]:
    """A rule that opens something."""
    return {
        "permission": permission,
        "resource": resource,
        "data_class": "medium",
        "decision": "allow",
        "set_ms": 1,
    }


def federation(**others: str) -> dict[str, Any]:
    digest = {"base64": base64.b64encode(bytes(32)).decode()}
    row: dict[str, Any] = {
        "id": "fe" * 32,
        "name": "ours",
        "address": "https://here",
        "pins": digest,
        "registrar": digest,
        "log": digest,
        "identity": "i" * 32,
        "invite": None,
        "certificate": None,
        "counter": 1,
        "log_size": 0,
        "log_root": digest,
        "checkpoint": "",
        "joined_ms": 1,
    }
    return row | others


def consent(**others: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "version": 1,
        "federation": "fe" * 32,
        "name": "ours",
        "task": "",
        "task_name": "",
        "message": {"base64": "bQ=="},
        "source": "",
        "text": "What was shown.",
        "installs": "ask",
        "given_ms": 1,
        "withdrawn_ms": None,
    }
    return row | others


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("secrets", {"name": "another-key", "value": "x" * 32}),
        ("secrets", {"name": "device-signing-key", "value": "too short"}),
        ("retention", {"kind": "sessions", "days": 36_501}),
        ("retention", {"kind": "archived-sessions", "days": -10}),
        ("retention", {"kind": "everything", "days": 1}),
        ("tombstones", {"kind": "person", "id": "0123456789", "erased_ms": 1}),
        ("tombstones", {"kind": "session", "id": "../..", "erased_ms": 1}),
        ("egress_days", {"day": "2026-13-01", "sent": 1, "received": 1}),
        ("egress_days", {"day": "20260101", "sent": 1, "received": 1}),
        ("egress_days", {"day": "2026-01-01", "sent": -1, "received": 1}),
        ("egress_days", {"day": "2026-01-01", "sent": 1, "received": 2**62}),
        ("learning_days", {"day": "yesterday", "trained_ms": 1, "uploaded": 1}),
        ("learning_days", {"day": "2026-01-01", "trained_ms": -1, "uploaded": 1}),
        ("learning_days", {"day": "2026-01-01", "trained_ms": 1, "uploaded": 2**62}),
        ("federations", federation(id="no digest")),
        ("federations", federation(identity="x" * 31)),
        ("federations", federation(address="http://in.the.clear")),
        ("federations", federation(name="\u001b]52;c;AA\u0007")),
        ("consents", consent(installs="always")),
        ("consents", consent(federation="ours")),
        ("consents", consent(text="\u202e")),
        ("notifications", DETAILS % ("unheard-of", '"a":1')),
        ("notifications", DETAILS % ("restored", '"made_ms":99999999999999999999')),
        ("notifications", DETAILS % ("many-failed-unlocks", '"count":5,"since_ms":9000000000000000000')),
        ("notifications", DETAILS % ("new-slot-used", '"slot":"\\u001b]52;c;AA\\u0007"')),
        ("notifications", DETAILS % ("slots-changed", '"added":["\\u202e"]')),
        ("notifications", "no JSON"),
        ("permissions", rule("*", "*")),
        ("permissions", rule("files.read", "file:")),
        ("permissions", rule("files.read", "file:here")),
        ("permissions", rule("files.read", "everything")),
        ("permissions", rule("web.fetch", "host:*")),
    ],
)
def test_bookkeeping_that_this_program_never_writes_is_refused(
    backup: Path, elsewhere: Home, table: str, row: dict[str, Any] | str
) -> None:
    if isinstance(row, str):
        row = {"n": 1, "at_ms": 1, "kind": "restored", "details": row, "seen_ms": None}

    def change(tables: Tables) -> None:
        tables[table] = [row]

    remake(backup, change)
    with pytest.raises(BackupRefused, match="never writes"):
        restored(elsewhere, backup)
    assert not elsewhere.vault.exists()


def test_how_long_the_person_wanted_things_kept_is_restored_also_where_that_is_longer(
    backup: Path, elsewhere: Home
) -> None:
    def loosen(tables: Tables) -> None:
        tables["retention"] = [{"kind": "sensitive-log", "days": None}, {"kind": "sessions", "days": 36_500}]

    remake(backup, loosen)
    with restored(elsewhere, backup) as vault:
        assert {rule.what: rule.days for rule in vault.retention.rules() if rule.loose} == {
            "sensitive-log": None,
            "sessions": 36_500,
        }
        vault.retention.run()


def test_what_left_on_many_days_can_be_added_up(backup: Path, elsewhere: Home) -> None:
    def change(tables: Tables) -> None:
        most = {"sent": 2**50 - 1, "received": 2**50 - 1}
        tables["egress_days"] = [{"day": f"{year}-01-01", **most} for year in range(1000, 9999)]

    remake(backup, change)
    with restored(elsewhere, backup) as vault:
        assert traffic(vault.database).sent == 8999 * (2**50 - 1)


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
        if "title" in row or "parent_id" in row:
            del row["source"]

    older(backup, forget)
    with restored(elsewhere, backup) as vault:
        assert {(session.source, session.archived_ms) for session in vault.conversations.sessions()} == {("", None)}
        assert vault.conversations.search("question")
        assert vault.log.verify().head.size == 1  # that it was restored
    older(backup, lambda row: row.pop("created_ms", None))
    with pytest.raises(BackupRefused, match="created_ms is missing"):
        restored(Home.locate({"CLAW_HOME": str(tmp_path / "another")}), backup)
