"""Migrations: each once and whole, whoever is killed; and what earlier versions kept, brought up to date."""

import importlib.resources
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3

from tests.fixtures.databases import KEY, contents, decrypted, image, note, titles
from tests.fixtures.processes import start_function
from tests.torture import beginnings
from vault import migrations, opening
from vault.anchor import LogHead
from vault.conversations import Conversations
from vault.database import Connection, Database
from vault.errors import RolledBack, VaultError, VersionTooNew
from vault.fields import FieldCipher
from vault.guard import Guard, Newest, anchor_path
from vault.messages import Attachment, SessionId
from vault.store import Vault


def plan(*added: str) -> Callable[[], list[tuple[int, str]]]:
    known = migrations.migrations()
    return lambda: [*known, *enumerate(added, known[-1][0] + 1)]


def tables(kept: Database) -> set[Any]:
    return {row[0] for row in kept.read(lambda c: c.execute("SELECT name FROM sqlite_master").fetchall())}


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    numbers = [number for number, _ in migrations.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_older_schema_is_brought_up_to_date_and_keeps_its_rows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Database.create(path, KEY)
    note(old, "old")
    old.close()
    monkeypatch.setattr(
        migrations,
        "migrations",
        plan(
            "-- with; a semicolon in a comment\nCREATE TABLE second (a TEXT);\n",
            "CREATE TRIGGER t AFTER INSERT ON second BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
            "INSERT INTO second VALUES ('x;\ny');\n",
        ),
    )
    kept = Database.open(path, KEY)
    assert tables(kept) >= {"second", "t"}
    assert kept.read(lambda c: c.execute("SELECT a FROM second").fetchall()) == [("x;\ny",)]
    assert kept.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (migrations.newest_version(),)
    assert titles(kept) == ["old"]
    kept.close()


def test_a_migration_that_fails_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Database.create(path, KEY)
    note(old, "old")
    before = tables(old)
    old.close()
    with monkeypatch.context() as patched:
        broken = "CREATE TABLE half (a);\nDROP TABLE models;\nINSERT INTO nowhere VALUES (1);\n"
        patched.setattr(migrations, "migrations", plan(broken))
        with pytest.raises(VaultError, match="nowhere"):
            Database.open(path, KEY)
    kept = Database.open(path, KEY)
    assert tables(kept) == before
    assert kept.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (migrations.newest_version(),)
    assert titles(kept) == ["old"]
    assert kept.integrity_errors() == []
    kept.close()


def test_a_migration_that_ends_inside_a_statement_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database.create(path, KEY).close()
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "migrations", plan("CREATE TABLE half (a);\nCREATE TABLE other (b"))
        with pytest.raises(ValueError, match="inside a statement"):
            Database.open(path, KEY)
    kept = Database.open(path, KEY)
    assert "half" not in tables(kept)
    kept.close()


def test_whoever_waits_for_anothers_migration_does_not_repeat_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "CREATE TABLE once (a);"
    faster = Database.create(path, KEY)
    planning, version_is_read = plan(script), threading.Event()

    def planned() -> list[tuple[int, str]]:
        version_is_read.set()
        return planning()

    monkeypatch.setattr(migrations, "migrations", planned)
    with ThreadPoolExecutor(1) as pool:

        def migrate(connection: Connection) -> "Future[Database]":
            opening = pool.submit(Database.open, path, KEY)
            assert version_is_read.wait(60)  # and the one that opens waits for our lock now
            connection.execute(script)
            connection.execute(f"PRAGMA user_version={migrations.newest_version()}")
            return opening

        slower = faster.write(migrate).result()
    assert "once" in tables(slower)
    slower.close()
    faster.close()


def test_those_who_open_at_once_migrate_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database.create(path, KEY).close()
    monkeypatch.setattr(migrations, "migrations", plan("CREATE TABLE once (a);\nINSERT INTO once VALUES (1);\n"))
    together = threading.Barrier(4)

    def open_it(_: int) -> Database:
        together.wait()
        return Database.open(path, KEY)

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(open_it, range(4)))
    for kept in opened:
        assert kept.read(lambda c: c.execute("SELECT count(*) FROM once").fetchone()) == (1,)
    for kept in opened:
        kept.close()


def test_a_newer_schema_is_refused_and_not_changed(filled: Path) -> None:
    kept = Database.open(filled, KEY)
    kept.write(lambda c: c.execute("PRAGMA user_version=99"))
    kept.close()
    before = contents(filled.parent)
    with pytest.raises(VersionTooNew, match=r"schema 99; this one knows \d+") as refused:
        Database.open(filled, KEY)
    assert "Update" in refused.value.hint
    assert contents(filled.parent)["vault.db"] == before["vault.db"]


def test_a_migration_done_before_one_that_fails_is_kept_without_an_alarm(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database.create(path, KEY).close()
    good, broken = "CREATE TABLE good (a);", "INSERT INTO nowhere VALUES (1);"
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "migrations", plan(good, broken))
        with pytest.raises(VaultError, match="nowhere"):
            Database.open(path, KEY)
    monkeypatch.setattr(migrations, "migrations", plan(good, "CREATE TABLE mended (a);"))
    kept = Database.open(path, KEY)
    assert kept.alarm == ""
    assert tables(kept) >= {"good", "mended"}
    kept.close()


# Version 1: attached files in clear inside the encrypted database, and no anchor

CLEAR = "the attached canary sang of pomegranates "
FILES = (Attachment("notes.txt", CLEAR * 300), Attachment("empty.md", ""), Attachment("été.txt", CLEAR + "\x00à\n"))
V1 = SessionId("v1session0")


@pytest.fixture
def version_1(path: Path) -> Path:
    """A closed database as the first release left it."""
    make_version_1(path).close()
    return path


def make_version_1(path: Path) -> "sqlcipher3.Connection":
    connection = sqlcipher3.connect(str(path), isolation_level=None)
    connection.set_key(f"x'{KEY.hex()}'")
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    script = (importlib.resources.files("vault") / "schema" / "0001_conversations.sql").read_text(encoding="utf-8")
    connection.executescript(
        f"BEGIN; {script} PRAGMA application_id={migrations.APPLICATION_ID}; PRAGMA user_version=1; COMMIT;"
    )
    connection.execute("INSERT INTO sessions VALUES (1, ?, 'old', '', 1, 1, 'm', NULL)", (V1,))
    connection.execute("INSERT INTO messages VALUES (1, 'm', ?, NULL, 'user', 'read', 'complete', 1)", (V1,))
    for n, file in enumerate(FILES, 3):
        connection.execute("INSERT INTO attachments VALUES (?, 'm', ?, ?)", (n, file.name, file.text))
    return connection


def attached(kept: Database) -> tuple[Attachment, ...]:
    (message,) = Conversations(kept).path(V1)
    return message.attachments


def brought_to_version_2(path: Path) -> None:
    """Opens twice, without an alarm, with the attached files readable and sealed."""
    for _ in range(2):
        kept = Database.open(path, KEY)
        assert kept.alarm == ""
        assert attached(kept) == FILES
        assert kept.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (migrations.newest_version(),)
        for n, sealed in kept.read(lambda c: c.execute("SELECT n, text FROM attachments").fetchall()):
            assert isinstance(sealed, bytes)
            assert kept.fields.open("attachments", str(n), "text", sealed)
        assert kept.integrity_errors() == []
        note(kept, f"written {len(titles(kept))}")
        kept.close()
        assert anchor_path(path).exists()


def test_attached_files_of_version_1_are_sealed_and_nothing_in_clear_is_left_of_them(version_1: Path) -> None:
    assert CLEAR.encode() in decrypted(version_1, KEY)
    brought_to_version_2(version_1)
    assert b"canary" not in decrypted(version_1, KEY)


def test_version_1_left_by_a_killed_process_loses_nothing(path: Path, tmp_path: Path) -> None:
    connection = make_version_1(path)
    left = image(path, tmp_path / "killed")
    connection.close()
    assert left.with_name("vault.db-wal").stat().st_size
    brought_to_version_2(left)


def migrate_and_die(path: str, moment: str) -> None:
    """Bring version 1 to version 2, and be killed on the way."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def die_after(function: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object) -> None:
            function(*arguments)
            die()

        return run

    def anchor_the_old_state(*arguments: object) -> None:
        adopt(*arguments)  # type: ignore[arg-type]
        patched.setattr(Guard, "adopt", die_after(adopt))

    patched, adopt = pytest.MonkeyPatch(), Guard.adopt
    match moment:
        case "the anchor's file is made":
            patched.setattr(Guard, "adopt", die)
        case "the old state is anchored":
            patched.setattr(opening, "migrate", die)
        case "a file is sealed":
            patched.setattr(FieldCipher, "seal", die)
        case "the migration is done":
            patched.setattr(opening, "migrate", die_after(migrations.migrate))
        case "the new state is anchored":
            patched.setattr(Guard, "adopt", anchor_the_old_state)
    Database.open(Path(path), KEY)


@pytest.mark.parametrize(
    "moment",
    [
        "the anchor's file is made",
        "the old state is anchored",
        "a file is sealed",
        "the migration is done",
        "the new state is anchored",
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_version_1_killed_while_it_is_brought_to_version_2_opens_without_alarm(
    path: Path, tmp_path: Path, moment: str, closed: bool
) -> None:
    connection = make_version_1(path)
    left = path if closed else image(path, tmp_path / "killed")
    connection.close()
    with start_function(migrate_and_die, left, moment) as migrating:
        assert migrating.wait() == -signal.SIGKILL
    with start_function(migrate_and_die, left, moment) as migrating:
        migrating.wait()
    brought_to_version_2(left)


@pytest.mark.parametrize("anchor", [b"", bytes(4096), b"torn" * 500])
def test_version_1_beside_the_beginning_of_an_anchor_is_no_rollback(version_1: Path, anchor: bytes) -> None:
    anchor_path(version_1).write_bytes(anchor)
    brought_to_version_2(version_1)


def test_version_1_put_back_raises_the_alarm_and_can_be_accepted(version_1: Path, tmp_path: Path) -> None:
    old = version_1.read_bytes()
    brought_to_version_2(version_1)
    version_1.write_bytes(old)
    before = contents(version_1.parent)
    kept = Database.open(version_1, KEY)
    assert "older than what was last written" in kept.alarm
    assert titles(kept) == ["old"]
    with pytest.raises(RolledBack):
        note(kept, "refused")
    kept.close()
    assert contents(version_1.parent).items() >= before.items()
    Database.open(version_1, KEY, accept=True).close()
    brought_to_version_2(version_1)


def test_version_1_is_older_than_anything_that_the_keychain_remembers(version_1: Path) -> None:
    kept = Database.open(version_1, KEY, at_least=Newest(7, LogHead(0, b"")))
    assert kept.alarm
    assert kept.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (1,)
    kept.close()


def test_version_1_put_back_without_its_anchor_raises_the_alarm_where_the_slots_tell_of_a_later_life(
    tmp_path: Path,
) -> None:
    beginnings.version_1(tmp_path)
    home = beginnings.home_in(tmp_path)
    old = home.database.read_bytes()
    with Vault.open_with_passphrase(home, beginnings.PASSPHRASE) as vault:
        assert vault.alarm == ""
        vault.conversations.start("later", "")
    home.database.write_bytes(old)
    home.database.with_suffix(".anchor").unlink()
    before = contents(home.vault)
    for _ in range(2):
        with Vault.open_with_passphrase(home, beginnings.PASSPHRASE) as vault:
            assert "anchor is missing" in vault.alarm
    assert contents(home.vault).items() >= before.items()


# Version 2: anchored, and of messages nobody knows where they came from


@pytest.fixture
def version_2(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed vault's database as the version before left it."""
    first_two = migrations.migrations()[:2]
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "migrations", lambda: first_two)
        kept = Database.create(path, KEY)
        note(kept, "old")
        kept.write(
            lambda c: c.execute(
                "INSERT INTO messages VALUES (1, 'm', (SELECT id FROM sessions), NULL, 'user', 'x', 'complete', 1)"
            )
        )
        kept.close()
    return path


def test_version_2_is_brought_up_to_date_without_an_alarm_and_its_messages_have_no_source(version_2: Path) -> None:
    for _ in range(2):
        kept = Database.open(version_2, KEY)
        assert kept.alarm == ""
        assert kept.read(lambda c: c.execute("SELECT text, source FROM messages").fetchall()) == [("x", None)]
        assert kept.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (migrations.newest_version(),)
        assert kept.integrity_errors() == []
        kept.close()


def test_version_2_put_back_raises_the_alarm(version_2: Path) -> None:
    old = version_2.read_bytes()
    Database.open(version_2, KEY).close()
    version_2.write_bytes(old)
    kept = Database.open(version_2, KEY)
    assert "older than what was last written" in kept.alarm
    assert titles(kept) == ["old"]
    kept.close()
