"""Encrypted backups: whole, of one moment, never in the clear on the disk, and restored as they were made."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyrage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.vault.portability.conftest import (
    CANARY,
    before_the_log_tells_of_it,
    files_of,
    furnish,
    reopened,
    rows_of,
    twin_of,
)
from vault.adapter_store import AdapterStore
from vault.connection import Connection
from vault.database import Database
from vault.errors import BackupRefused, ClawError, VaultError, VersionTooNew, WrongPassphrase
from vault.home import Home
from vault.log.entries import Action
from vault.notifications import LargeExport, Notifications
from vault.permission_store import PermissionStore
from vault.portability import stream
from vault.portability.age_passphrase import Passphrase
from vault.portability.age_recipients import Identities, Recipients
from vault.portability.backup import back_up
from vault.portability.export import export
from vault.portability.restore import fill_from_backup, read_backup
from vault.portability.stream import tables_in_backups
from vault.skill_store import SkillStore
from vault.store import Vault

KEY = Passphrase("a passphrase of the backup", work=1)
MARKS = [b'["table","sessions"]\n', b'["end",{}]\n', b"{}\n", b"\n"]


def restored(home: Home, file: Path, key: Passphrase | Identities = KEY) -> Vault:
    return Vault.create(home, "another passphrase", cost=CHEAP, fill=fill_from_backup(file, key))


def plaintext(file: Path) -> bytes:
    found: list[bytes] = []
    with file.open("rb") as encrypted:
        KEY.open(encrypted, found.append)
    return b"".join(found)


class Tray:
    """A database that backups are tried on. Each that is refused must leave it as it was."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file = folder / "b.age"
        self.database = Database.create(folder / "vault.db", bytes(32))

    def refuses(self, data: bytes, key: Passphrase | Identities = KEY) -> type[ClawError] | None:
        """How a file that holds this is refused; `None` when it isn't."""
        self._file.write_bytes(data)
        try:
            read_backup(self.database, self._file, key)
        except ClawError as error:
            assert self.database.read(_count) == 0
            return type(error)
        self.database.write(_empty)
        return None


def _count(connection: Connection) -> int:
    return sum(len(connection.execute(f"SELECT 1 FROM {t}").fetchall()) for t in tables_in_backups())


def _empty(connection: Connection) -> None:
    for table in reversed(tables_in_backups()):
        connection.execute(f"DELETE FROM {table}")


@pytest.fixture
def tray(tmp_path: Path) -> Iterator[Tray]:
    tray = Tray(tmp_path / "tray")
    yield tray
    tray.database.close()


def sealed(text: bytes) -> bytes:
    file = io.BytesIO()
    KEY.seal(iter([text]), file)
    return file.getvalue()


def test_a_vault_made_of_a_backup_is_equal_row_for_row_and_its_log_verifies(
    furnished: Vault, elsewhere: Home, tmp_path: Path
) -> None:
    before = rows_of(furnished, *tables_in_backups())
    assert all(before.values()), "a table without a row shows nothing"
    logged = len(before["log_entries"])
    before = before_the_log_tells_of_it(before, logged)
    done = back_up(furnished, tmp_path / "b.age", KEY)
    verified = furnished.log.verify()
    with restored(elsewhere, tmp_path / "b.age") as vault:
        rows = rows_of(vault, *tables_in_backups())
        told = rows["notifications"][-1:]
        assert before_the_log_tells_of_it(rows, logged) == {
            **before,
            "notifications": before["notifications"] + told,
        }
        assert done.rows == sum(map(len, rows.values())) - 2  # that it was restored, logged and told
        assert vault.log.verify().origin == verified.origin
        assert [hit.session_title for hit in vault.conversations.search("question")] != []
        assert vault.integrity_errors() == []
        assert vault.database.alarm == ""
    with Vault.open_with_passphrase(elsewhere, "another passphrase") as vault:
        assert rows_of(vault, *tables_in_backups()) == rows


def test_exports_of_a_vault_and_of_its_restoration_are_byte_identical_but_for_the_log(
    home: Home, tmp_path: Path
) -> None:
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        furnish(vault)
    with reopened(twin_of(home, tmp_path / "twin")) as twin:
        back_up(twin, tmp_path / "b.age", KEY)
    with reopened(home) as vault:
        export(vault, tmp_path / "before")
    fresh = Home.locate({"CLAW_HOME": str(tmp_path / "fresh")})
    with restored(fresh, tmp_path / "b.age") as vault:
        export(vault, tmp_path / "after")
    before, after = files_of(tmp_path / "before"), files_of(tmp_path / "after")
    assert len(before) >= 16
    assert before.keys() == after.keys()
    differing = {name for name in before if before[name] != after[name]}
    telling = ("log_entries", "log_state", "notifications")
    assert differing == {"manifest.json", *(f"tables/{name}.jsonl" for name in telling)}


def test_a_backup_to_a_recipient_opens_by_its_identity_alone(
    furnished: Vault, elsewhere: Home, tmp_path: Path
) -> None:
    identity = pyrage.x25519.Identity.generate()
    before = rows_of(furnished, "messages", "attachments", "secrets")
    back_up(furnished, tmp_path / "b.age", Recipients([str(identity.to_public())]))
    with pytest.raises(BackupRefused):
        restored(elsewhere, tmp_path / "b.age", Identities([str(pyrage.x25519.Identity.generate())]))
    assert not elsewhere.vault.exists()
    with restored(elsewhere, tmp_path / "b.age", Identities([str(identity)])) as vault:
        # Anybody can write one for that key: it opens nothing, and lets no skill and no adapter be used.
        assert PermissionStore(vault.database).all() == []
        assert [skill.enabled for skill in SkillStore(vault.database).all()] == [False]
        assert [adapter.active for adapter in AdapterStore(vault.database).records()] == [False]
        assert rows_of(vault, "messages", "attachments", "secrets") == before


def test_a_person_without_this_program_reads_it_with_age(furnished: Vault, tmp_path: Path) -> None:
    back_up(furnished, tmp_path / "b.age", KEY)
    text = pyrage.passphrase.decrypt((tmp_path / "b.age").read_bytes(), "a passphrase of the backup")
    lines = [msgspec.json.decode(line) for line in text.splitlines()]
    assert lines[0][0] == "openclaw-core backup"
    assert any(isinstance(line, dict) and line.get("title") == "empty" for line in lines)
    assert set(lines[-1][1]) == set(tables_in_backups())


def test_a_backup_is_logged_before_it_appears_and_a_large_one_is_told(furnished: Vault, tmp_path: Path) -> None:
    session = furnished.conversations.start("long", "")
    furnished.conversations.append(session.id, None, "user", "x" * 2_000_000)
    done = back_up(furnished, tmp_path / "b.age", KEY)
    entry = furnished.log.entries(1)[0].entry
    assert entry is not None
    assert (entry.action, entry.bytes, entry.payload_sha256) == (Action.BACKUP, done.bytes, done.sha256)
    assert entry.sensitive
    assert CANARY not in str(entry)
    events = [told.event for told in Notifications(furnished.database).unseen()]
    assert events[-1] == LargeExport(bytes=done.bytes, rows=done.rows)


def test_it_is_readable_by_its_owner_alone_and_never_put_over_another_file(
    furnished: Vault, tmp_path: Path, loose_umask: None
) -> None:
    file = tmp_path / "b.age"
    back_up(furnished, file, KEY)
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    with pytest.raises(VaultError, match="there already"):
        back_up(furnished, file, KEY)
    assert file.read_bytes() == before
    back_up(furnished, file, KEY, replace=True)
    assert file.read_bytes() != before
    assert sorted(os.listdir(tmp_path)) == ["b.age", "home"]


def test_nothing_of_it_lies_in_the_clear_while_it_is_made_and_restored(
    furnished: Vault, elsewhere: Home, tmp_path: Path
) -> None:
    seen: list[str] = []

    def look(doing: str, _done: int, _total: int | None) -> None:
        for path in (path for path in tmp_path.rglob("*") if path.is_file()):
            seen.append(doing)
            assert CANARY.encode() not in path.read_bytes(), path

    back_up(furnished, tmp_path / "b.age", KEY, progress=look)
    Vault.create(
        elsewhere, "another passphrase", cost=CHEAP, fill=fill_from_backup(tmp_path / "b.age", KEY, look)
    ).close()
    assert {"Backing up", "Restoring"} <= set(seen)
    assert CANARY.encode() in plaintext(tmp_path / "b.age")


def test_every_altered_cut_or_lengthened_backup_is_refused_and_keeps_nothing(
    furnished: Vault, tray: Tray, tmp_path: Path
) -> None:
    identity = pyrage.x25519.Identity.generate()
    for sealer, key in ((KEY, KEY), (Recipients([str(identity.to_public())]), Identities([str(identity)]))):
        back_up(furnished, tmp_path / "b.age", sealer, replace=True)
        whole = (tmp_path / "b.age").read_bytes()
        for position in range(0, len(whole), 7):
            altered = bytearray(whole)
            altered[position] ^= 1 << position % 8
            assert tray.refuses(bytes(altered), key) in (BackupRefused, WrongPassphrase)
        for length in range(0, len(whole), 19):
            assert tray.refuses(whole[:length], key) is BackupRefused
        for more in (b"\0", whole, b"\n" * 70_000):
            assert tray.refuses(whole + more, key) is BackupRefused
        assert tray.refuses(whole, key) is None


def test_a_refused_backup_leaves_the_home_as_it_was(furnished: Vault, elsewhere: Home, tmp_path: Path) -> None:
    file = tmp_path / "b.age"
    back_up(furnished, file, KEY)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(BackupRefused):
        restored(elsewhere, file)
    with pytest.raises(WrongPassphrase):
        restored(elsewhere, file, Passphrase("a wrong one", work=1))
    assert list(elsewhere.data.iterdir()) == []


def lines_of(vault: Vault, file: Path) -> list[bytes]:
    back_up(vault, file, KEY, replace=True)
    return plaintext(file).splitlines(keepends=True)


def test_contents_that_somebody_with_the_key_tampered_with_are_refused(
    furnished: Vault, tray: Tray, tmp_path: Path
) -> None:
    lines = lines_of(furnished, tmp_path / "b.age")
    assert tray.refuses(sealed(b"".join(lines))) is None
    message = next(at for at, line in enumerate(lines) if b'"role":"user"' in line)
    table = lines.index(b'["table","messages"]\n')
    tampered = {
        "a row is missing": lines[:message] + lines[message + 1 :],
        "a row is there twice": [*lines[: message + 1], *lines[message:]],
        "a row was changed": [line.replace(b"question", b"answer") for line in lines],
        "a table is missing": lines[:table] + lines[table + 1 :],
        "a table is there twice": [*lines[:-1], b'["table","sessions"]\n', lines[-1]],
        "a table nobody knows": [*lines[:-1], b'["table","vault_state"]\n', lines[-1]],
        "the end is missing": lines[:-1],
        "something follows": [*lines, b"{}\n"],
        "it begins twice": [lines[0], *lines],
        "it doesn't begin": lines[1:],
        "the end comes first": [lines[0], lines[-1], *lines[1:-1]],
        "a row belongs to no table": [lines[0], *lines[2:]],
        "the last line is cut": [*lines[:-1], lines[-1].rstrip()],
        "no line is one": [b"\xff\n"],
        "it is nested for ever": [lines[0], b"[" * 100_000 + b"\n"],
    }
    assert {name: tray.refuses(sealed(b"".join(text))) for name, text in tampered.items()} == dict.fromkeys(
        tampered, BackupRefused
    )


def test_a_line_that_never_ends_is_refused_before_memory_is_taken_for_it(
    tray: Tray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_LINE", 100_000)
    assert tray.refuses(sealed(b'["openclaw-core backup",' + b" " * 300_000)) is BackupRefused


def test_rows_that_dont_hold_together_are_refused(furnished: Vault, tray: Tray, tmp_path: Path) -> None:
    from vault.portability.digests import Tally

    def remade(lines: list[bytes]) -> bytes:
        """The backup of these lines, with an end that fits them."""
        digests, tally = {}, Tally()
        for line in lines[1:-1]:
            if line.startswith(b"["):
                tally = Tally()
                digests[msgspec.json.decode(line)[1]] = tally
            else:
                tally.add(line)
        end = msgspec.json.encode(["end", {name: tally.digest for name, tally in digests.items()}])
        return sealed(b"".join([*lines[:-1], end, b"\n"]))

    lines = lines_of(furnished, tmp_path / "b.age")
    ids = [msgspec.json.decode(line)["id"].encode() for line in lines if b'"role":' in line]
    assert tray.refuses(remade(lines)) is None
    first = b'"parent_id":null'
    circle = [line.replace(first, b'"parent_id":"%s"' % ids[1]) for line in lines]
    orphan = [line.replace(first, b'"parent_id":"0000000000000000"') for line in lines]
    assert tray.refuses(remade(circle)) is BackupRefused
    assert tray.refuses(remade(orphan)) is BackupRefused


def test_a_backup_of_a_newer_version_is_told_as_such(furnished: Vault, tray: Tray, tmp_path: Path) -> None:
    lines = lines_of(furnished, tmp_path / "b.age")
    kind, about = msgspec.json.decode(lines[0])
    for newer in ({"version": 2}, {"schema": 99}):
        beginning = msgspec.json.encode([kind, {**about, **newer}]) + b"\n"
        assert tray.refuses(sealed(b"".join([beginning, *lines[1:]]))) is VersionTooNew


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=60) | st.sampled_from(MARKS), max_size=8))
def test_noise_inside_a_backup_is_refused(tray: Tray, parts: list[bytes]) -> None:
    about = b'["openclaw-core backup",{"version":1,"app":"0","schema":2,"made_ms":1}]\n'
    for text in (b"".join(parts), about + b"".join(parts)):
        assert tray.refuses(sealed(text)) is BackupRefused
