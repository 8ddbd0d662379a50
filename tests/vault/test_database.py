"""The database: every silent trap of SQLCipher, and what a damaged disk or a killed process leaves."""

import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3

from tests.fixtures.processes import SmallDisk, fill, make_read_only, run_function, start_function
from vault import database
from vault.database import Database
from vault.errors import DatabaseDamaged, DiskFull, PlaintextDatabase, VaultError, VersionTooNew

KEY = bytes(range(32))
WRONG = bytes(range(1, 33))
CANARY = "the canary sang of pomegranates at midnight"
MAGIC = b"SQLite format 3\x00"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "vault.db"


def note(database: Database, title: str) -> None:
    database.write(
        lambda c: c.execute(
            "INSERT INTO sessions (id, title, system_prompt, created_ms, updated_ms) VALUES (?, ?, '', 1, 1)",
            (title, title),
        )
    )


def titles(database: Database) -> list[str]:
    return [
        row[0] for row in database.read(lambda c: c.execute("SELECT title FROM sessions ORDER BY n").fetchall())
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def filled(path: Path) -> Path:
    """A closed database with three hundred sessions, large enough to have pages to damage."""
    kept = Database.create(path, KEY)
    kept.write(lambda c: [c.execute(_MANY, (f"session {n}", "prompt " * 200)) for n in range(300)])
    kept.close()
    return path


_MANY = "INSERT INTO sessions (id, title, system_prompt, created_ms, updated_ms) VALUES (?1, ?1, ?2, 1, 1)"


# Keys


def test_what_was_written_is_there_after_closing(path: Path) -> None:
    first = Database.create(path, KEY)
    note(first, "kept")
    first.close()
    again = Database.open(path, KEY)
    assert titles(again) == ["kept"]
    assert again.integrity_errors() == []
    again.close()


def test_the_file_is_no_sqlite_database_to_anybody_without_the_key(filled: Path) -> None:
    assert not filled.read_bytes().startswith(MAGIC)
    plain = sqlite3.connect(filled)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        plain.execute("SELECT count(*) FROM sqlite_master")
    plain.close()
    cipher = sqlcipher3.connect(str(filled))
    cipher.execute("PRAGMA cipher_log_level=NONE")
    with pytest.raises(sqlcipher3.DatabaseError, match="not a database"):
        cipher.execute("SELECT count(*) FROM sqlite_master")
    cipher.close()


def test_the_key_is_taken_raw_and_not_as_a_passphrase(filled: Path) -> None:
    raw = sqlcipher3.connect(str(filled))
    raw.execute(f"PRAGMA key=\"x'{KEY.hex()}'\"")
    assert raw.execute("SELECT count(*) FROM sessions").fetchone() == (300,)
    assert raw.execute("PRAGMA cipher_use_hmac").fetchone() == ("1",)
    raw.close()


@pytest.mark.parametrize("key", [b"", KEY[:-1], KEY + b"\0", KEY.hex().encode()])
def test_a_key_of_another_length_is_refused_and_nothing_made(path: Path, key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Database.create(path, key)
    assert not path.exists()


@pytest.mark.parametrize("key", [b"", KEY[:-1], KEY + b"\0"])
def test_a_key_of_another_length_opens_nothing(filled: Path, key: bytes) -> None:
    before = contents(filled.parent)
    with pytest.raises(ValueError, match="32 bytes"):
        Database.open(filled, key)
    assert contents(filled.parent) == before


def test_a_wrong_key_is_an_error_at_once_and_changes_nothing(filled: Path) -> None:
    before = contents(filled.parent)
    with pytest.raises(DatabaseDamaged, match="another key") as refused:
        Database.open(filled, WRONG)
    assert "backup" in refused.value.hint
    assert refused.value.exit_code == 6
    assert contents(filled.parent) == before


def test_a_wrong_key_writes_nothing_to_the_terminal(filled: Path) -> None:
    ended = run_function(open_with_wrong_key, filled)
    assert ended.stdout == ended.stderr == ""


def open_with_wrong_key(path: str) -> None:
    with pytest.raises(DatabaseDamaged):
        Database.open(Path(path), WRONG)


def test_no_error_tells_the_key(filled: Path) -> None:
    with pytest.raises(DatabaseDamaged) as refused:
        Database.open(filled, WRONG)
    assert WRONG.hex() not in str(refused.value) + refused.value.hint + str(refused.value.__cause__)


# Plaintext


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_a_plaintext_file_in_its_place_is_refused_and_not_touched(path: Path, journal: str) -> None:
    plain = sqlite3.connect(path)
    plain.execute(f"PRAGMA journal_mode={journal}")
    plain.execute("CREATE TABLE sessions (title)")
    plain.commit()
    plain.close()
    before = contents(path.parent)
    with pytest.raises(PlaintextDatabase, match="unencrypted") as refused:
        Database.open(path, KEY)
    assert "backup" in refused.value.hint
    assert refused.value.exit_code == 6
    assert contents(path.parent) == before


def test_a_library_that_ignores_the_key_stores_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyless(sqlcipher3.Connection):  # type: ignore[misc]
        def set_key(self, key: str) -> None:
            pass

    connect = sqlcipher3.connect
    monkeypatch.setattr(sqlcipher3, "connect", lambda *a, **k: connect(*a, **k, factory=Keyless))
    with pytest.raises(PlaintextDatabase, match="about to be written unencrypted"):
        Database.create(path, KEY)


def test_a_library_without_encryption_stores_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlcipher3, "connect", sqlite3.connect)
    with pytest.raises(VaultError, match="has no encryption") as refused:
        Database.create(path, KEY)
    assert "Reinstall" in refused.value.hint
    assert not path.exists() or path.read_bytes() == b""


def test_a_sentence_is_nowhere_in_clear_while_open_after_a_kill_and_after_closing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "control").write_text(CANARY)
    assert in_clear(tmp_path) == ["control"]  # it would be found
    (tmp_path / "control").unlink()

    Database.create(path, KEY).close()
    with start_function(sing, path) as writer:
        assert writer.stdout is not None
        for _ in range(5):
            assert writer.stdout.readline() == "sung\n"
        assert in_clear(tmp_path) == []
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    assert "vault.db-wal" in contents(path.parent)
    assert in_clear(tmp_path) == []

    again = Database.open(path, KEY)
    assert len(titles(again)) >= 5
    assert in_clear(tmp_path) == []
    assert again.integrity_errors() == []
    again.close()
    assert list(contents(path.parent)) == ["vault.db"]
    assert in_clear(tmp_path) == []


def sing(path: str) -> None:
    kept = Database.open(Path(path), KEY)
    while True:
        n = len(titles(kept))
        note(kept, f"{CANARY} {n}")
        kept.write(
            lambda c, n=n: c.execute(  # type: ignore[misc]
                "INSERT INTO messages VALUES (NULL, ?, ?, NULL, 'user', ?, 'complete', 1)",
                (str(n), f"{CANARY} {n}", f"{CANARY} " * 500),
            )
        )
        # Sorting and joining take temporary space.
        kept.read(
            lambda c: c.execute("SELECT a.text FROM messages a, messages b ORDER BY b.text || a.text").fetchall()
        )
        print("sung", flush=True)


def in_clear(folder: Path) -> list[str]:
    """The files below a folder that hold the canary, or a good part of it, in UTF-8 or UTF-16."""
    parts = [CANARY[:16], CANARY[-16:], "pomegranates"]
    needles = [part.encode(encoding) for part in parts for encoding in ("utf-8", "utf-16-le", "utf-16-be")]
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if any(needle in file.read_bytes() for needle in needles)]


# Files that are none, or not any more


def test_a_missing_file_is_damage_with_its_mend(path: Path) -> None:
    with pytest.raises(DatabaseDamaged, match="is missing") as refused:
        Database.open(path, KEY)
    assert "backup" in refused.value.hint
    assert not path.exists()


@pytest.mark.parametrize("length", [0, 1, 15])
def test_an_empty_or_cut_file_is_damage_and_not_filled_anew(filled: Path, length: int) -> None:
    os.truncate(filled, length)
    before = contents(filled.parent)
    with pytest.raises(DatabaseDamaged, match=rf"cut off \({length} bytes\)"):
        Database.open(filled, KEY)
    assert contents(filled.parent) == before


@pytest.mark.parametrize("length", [16, 100, 4095])
def test_a_file_cut_inside_its_first_page_is_damage_and_not_filled_anew(filled: Path, length: int) -> None:
    os.truncate(filled, length)
    before = contents(filled.parent)
    with pytest.raises(DatabaseDamaged):
        Database.open(filled, KEY)
    assert contents(filled.parent) == before


def test_a_file_cut_between_pages_is_found(filled: Path) -> None:
    os.truncate(filled, filled.stat().st_size // 4096 // 2 * 4096)
    assert found_damaged(filled)


@pytest.mark.parametrize("at", [0, 16, 100, 4000, -4096, -1])
def test_one_flipped_bit_is_found(filled: Path, at: int) -> None:
    content = bytearray(filled.read_bytes())
    content[at] ^= 1
    filled.write_bytes(content)
    assert found_damaged(filled)


def found_damaged(path: Path) -> bool:
    """Whether opening, or the check of every page, finds the damage."""
    try:
        kept = Database.open(path, KEY)
    except DatabaseDamaged:
        return True
    try:
        return kept.integrity_errors() != []
    except DatabaseDamaged:
        return True
    finally:
        kept.close()


def test_a_damaged_page_is_damage_when_it_is_read_and_the_rest_stays_readable(filled: Path) -> None:
    size = filled.stat().st_size
    with filled.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096 + 500)
        file.write(b"\xff" * 8)
    kept = Database.open(filled, KEY)
    with pytest.raises(DatabaseDamaged, match="damaged"):
        kept.read(lambda c: c.execute("SELECT sum(length(system_prompt)) FROM sessions").fetchall())
    assert kept.integrity_errors()[0].startswith("HMAC verification failed for page")
    assert kept.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (1,)
    kept.close()


@pytest.mark.parametrize("content", [bytes(8192), b"\xff" * 8192, b"text " * 2000])
def test_a_file_of_something_else_is_damage_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged):
        Database.open(path, KEY)
    assert contents(path.parent) == {"vault.db": content}


def test_a_folder_in_its_place_is_damage(path: Path) -> None:
    path.mkdir()
    with pytest.raises(DatabaseDamaged, match="Is a directory"):
        Database.open(path, KEY)


def test_nothing_is_made_where_something_lies(path: Path) -> None:
    path.write_bytes(b"somebody's")
    with pytest.raises(VaultError, match="already exists"):
        Database.create(path, KEY)
    assert path.read_bytes() == b"somebody's"


# Pragmas and transactions


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("secure_delete", 1),
        ("temp_store", 2),
        ("cache_size", -64000),
        ("busy_timeout", 10000),
        ("application_id", 0x4F434C57),
        ("user_version", 1),
    ],
)
def test_the_pragmas_are_in_force_when_made_and_when_opened(path: Path, pragma: str, value: object) -> None:
    for opened in (Database.create, Database.open):
        kept = opened(path, KEY)
        # Outside a transaction, where `synchronous` and `foreign_keys` tell the truth.
        cursor = kept._worker.submit(kept._connection.execute, f"PRAGMA {pragma}").result()
        found = kept._worker.submit(cursor.fetchone).result()
        kept.close()
        assert found == (value,)


def test_a_pragma_that_is_not_taken_keeps_the_vault_closed(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_MS", 2**40)  # SQLite takes it for something else, silently
    with pytest.raises(VaultError, match="did not take busy_timeout"):
        Database.open(filled, KEY)


def test_a_row_without_its_parent_is_refused_in_our_own_words(path: Path) -> None:
    kept = Database.create(path, KEY)
    with pytest.raises(VaultError, match="FOREIGN KEY") as refused:
        kept.write(
            lambda c: c.execute("INSERT INTO messages VALUES (1, 'm', 'nowhere', NULL, 'user', '', 'complete', 1)")
        )
    assert isinstance(refused.value.__cause__, sqlcipher3.Error)
    kept.close()


def test_no_error_quotes_what_was_being_stored(path: Path) -> None:
    kept = Database.create(path, KEY)
    note(kept, CANARY)
    with pytest.raises(VaultError) as refused:
        note(kept, CANARY)
    assert CANARY not in str(refused.value) + str(refused.value.__cause__)
    kept.close()


def test_work_that_fails_leaves_nothing_of_its_transaction(path: Path) -> None:
    kept = Database.create(path, KEY)
    note(kept, "before")

    def fail(connection: database.Connection) -> None:
        connection.execute(_MANY, ("half", ""))
        raise KeyError("a mistake of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        kept.write(fail)
    note(kept, "after")
    assert titles(kept) == ["before", "after"]
    kept.close()


def test_a_read_sees_one_state_while_another_process_writes(path: Path) -> None:
    reader, writer = Database.create(path, KEY), Database.open(path, KEY)

    def read_twice(connection: database.Connection) -> tuple[object, object]:
        first = connection.execute("SELECT count(*) FROM sessions").fetchone()
        note(writer, "meanwhile")
        return first, connection.execute("SELECT count(*) FROM sessions").fetchone()

    assert reader.read(read_twice) == ((0,), (0,))
    assert titles(reader) == ["meanwhile"]
    reader.close()
    writer.close()


def test_a_database_in_memory_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = Database.in_memory(), Database.in_memory()
    note(one, CANARY)
    assert (titles(one), titles(other)) == ([CANARY], [])
    assert list(tmp_path.iterdir()) == []
    one.close()
    other.close()


# Many at once


def test_threads_that_write_at_once_lose_nothing(path: Path) -> None:
    kept = Database.create(path, KEY)
    together = threading.Barrier(8)

    def write(worker: int) -> None:
        together.wait()
        for n in range(40):
            note(kept, f"{worker}.{n}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert sorted(titles(kept)) == sorted(f"{worker}.{n}" for worker in range(8) for n in range(40))
    assert kept.integrity_errors() == []
    kept.close()


def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    Database.create(path, KEY).close()
    writers = [start_function(write_many, path, name) for name in ("a", "b", "c")]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    kept = Database.open(path, KEY)
    assert sorted(titles(kept)) == sorted(f"{name}.{n}" for name in "abc" for n in range(100))
    assert kept.integrity_errors() == []
    kept.close()


def write_many(path: str, name: str) -> None:
    kept = Database.open(Path(path), KEY)
    for n in range(100):
        note(kept, f"{name}.{n}")
    kept.close()


def test_a_database_held_by_another_program_is_said_to_be_that(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_MS", 50)
    holder, other = Database.open(filled, KEY), Database.open(filled, KEY)

    def hold(connection: database.Connection) -> None:
        connection.execute(_MANY, ("held", ""))
        with pytest.raises(VaultError, match="Another program holds") as refused:
            note(other, "refused")
        assert "Close it" in refused.value.hint

    holder.write(hold)
    note(other, "accepted")
    assert titles(holder)[-2:] == ["held", "accepted"]
    holder.close()
    other.close()


def test_the_check_covers_what_is_only_in_the_log_yet(path: Path) -> None:
    kept = Database.create(path, KEY)
    log = path.with_name("vault.db-wal")
    kept.write(lambda c: [c.execute(_MANY, (f"session {n}", "prompt " * 200)) for n in range(300)])
    assert log.stat().st_size > path.stat().st_size
    assert kept.integrity_errors() == []
    assert log.stat().st_size == 0
    assert path.stat().st_size > 300 * 1400
    kept.close()


# Kills


def test_what_was_acknowledged_survives_kills_and_the_file_stays_whole(path: Path) -> None:
    Database.create(path, KEY).close()
    expected = 0
    for round_ in range(5):
        with start_function(write_and_say, path, round_) as writer:
            assert writer.stdout is not None
            for _ in range(10 + 7 * round_):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            acknowledged = int(([str(acknowledged), *writer.stdout.read().split()])[-1])
        expected += acknowledged + 1
        kept = Database.open(path, KEY)
        found = titles(kept)
        assert kept.integrity_errors() == []
        kept.close()
        assert [f"{round_}.{n}" for n in range(acknowledged + 1)] == [
            title for title in found if title.startswith(f"{round_}.")
        ][: acknowledged + 1]
        assert len(found) >= expected


def write_and_say(path: str, name: str) -> None:
    kept = Database.open(Path(path), KEY)
    n = 0
    while True:
        note(kept, f"{name}.{n}")
        os.write(1, f"{n}\n".encode())
        n += 1


def test_a_wrong_key_loses_nothing_that_a_killed_writer_left_in_its_log(path: Path) -> None:
    Database.create(path, KEY).close()
    with start_function(write_and_say, path, "kept") as writer:
        assert writer.stdout is not None
        for _ in range(10):
            writer.stdout.readline()
        writer.kill()
    assert contents(path.parent)["vault.db-wal"]
    with pytest.raises(DatabaseDamaged):
        Database.open(path, WRONG)
    kept = Database.open(path, KEY)
    assert len(titles(kept)) >= 10
    assert kept.integrity_errors() == []
    kept.close()


# Migrations


def migrations(*added: str) -> Callable[[], list[tuple[int, str]]]:
    known = database._migrations()
    return lambda: [*known, *enumerate(added, known[-1][0] + 1)]


def tables(kept: Database) -> set[Any]:
    return {row[0] for row in kept.read(lambda c: c.execute("SELECT name FROM sqlite_master").fetchall())}


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    numbers = [number for number, _ in database._migrations()]
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_older_schema_is_brought_up_to_date_and_keeps_its_rows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Database.create(path, KEY)
    note(old, "old")
    old.close()
    monkeypatch.setattr(
        database,
        "_migrations",
        migrations(
            "-- with; a semicolon in a comment\nCREATE TABLE second (a TEXT);\n",
            "CREATE TRIGGER t AFTER INSERT ON second BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
            "INSERT INTO second VALUES ('x;\ny');\n",
        ),
    )
    kept = Database.open(path, KEY)
    assert tables(kept) >= {"second", "t"}
    assert kept.read(lambda c: c.execute("SELECT a FROM second").fetchall()) == [("x;\ny",)]
    assert kept.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (3,)
    assert titles(kept) == ["old"]
    kept.close()


def test_a_migration_that_fails_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Database.create(path, KEY)
    note(old, "old")
    before = tables(old)
    old.close()
    with monkeypatch.context() as patched:
        broken = "CREATE TABLE half (a);\nDROP TABLE models;\nINSERT INTO nowhere VALUES (1);\n"
        patched.setattr(database, "_migrations", migrations(broken))
        with pytest.raises(VaultError, match="nowhere"):
            Database.open(path, KEY)
    kept = Database.open(path, KEY)
    assert tables(kept) == before
    assert kept.read(lambda c: c.execute("PRAGMA user_version").fetchone()) == (1,)
    assert titles(kept) == ["old"]
    assert kept.integrity_errors() == []
    kept.close()


def test_a_migration_that_ends_inside_a_statement_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database.create(path, KEY).close()
    with monkeypatch.context() as patched:
        patched.setattr(database, "_migrations", migrations("CREATE TABLE half (a);\nCREATE TABLE other (b"))
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
    plan, version_is_read = migrations(script), threading.Event()

    def planned() -> list[tuple[int, str]]:
        version_is_read.set()
        return plan()

    monkeypatch.setattr(database, "_migrations", planned)
    with ThreadPoolExecutor(1) as pool:

        def migrate(connection: database.Connection) -> "Future[Database]":
            opening = pool.submit(Database.open, path, KEY)
            assert version_is_read.wait(60)  # and the one that opens waits for our lock now
            connection.execute(script)
            connection.execute("PRAGMA user_version=2")
            return opening

        slower = faster.write(migrate).result()
    assert "once" in tables(slower)
    slower.close()
    faster.close()


def test_those_who_open_at_once_migrate_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database.create(path, KEY).close()
    monkeypatch.setattr(
        database, "_migrations", migrations("CREATE TABLE once (a);\nINSERT INTO once VALUES (1);\n")
    )
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
    with pytest.raises(VersionTooNew, match=r"schema 99; this one knows 1") as refused:
        Database.open(filled, KEY)
    assert "Update" in refused.value.hint
    assert contents(filled.parent)["vault.db"] == before["vault.db"]


# Disks


def test_a_full_disk_is_said_to_be_full_and_loses_nothing_saved_before(small_disk: SmallDisk) -> None:
    small_disk.run("1m", write_until_the_disk_is_full)


def write_until_the_disk_is_full(folder: str) -> None:
    path = Path(folder) / "vault.db"
    kept = Database.create(path, KEY)
    saved: list[str] = []

    def write_on() -> None:
        while True:
            title = f"{len(saved)} {'x' * 3000}"
            note(kept, title)
            saved.append(title)

    with pytest.raises(DiskFull, match="is full") as refused:
        write_on()
    assert "nothing that was saved before is lost" in refused.value.hint
    assert titles(kept) == saved
    with pytest.raises(DiskFull):
        note(kept, "y" * 100_000)
    kept.close()

    filler = fill(Path(folder))
    kept = Database.open(path, KEY)  # can still be read
    assert titles(kept) == saved
    kept.close()
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", folder], check=True)
    kept = Database.open(path, KEY)
    note(kept, "after")
    assert titles(kept) == [*saved, "after"]
    assert kept.integrity_errors() == []
    kept.close()


@pytest.mark.parametrize("size", ["8k", "16k", "32k", "64k", "96k"])
def test_a_disk_too_small_for_a_database_is_said_to_be_full(small_disk: SmallDisk, size: str) -> None:
    small_disk.run(size, create_on_a_tiny_disk)


def create_on_a_tiny_disk(folder: str) -> None:
    with pytest.raises(DiskFull, match="is full"):
        Database.create(Path(folder) / "vault.db", KEY)


def test_a_read_only_disk_is_a_clear_error_and_changes_nothing(small_disk: SmallDisk) -> None:
    small_disk.run("2m", open_on_a_read_only_disk)


def open_on_a_read_only_disk(folder: str) -> None:
    path = Path(folder) / "vault.db"
    kept = Database.create(path, KEY)
    note(kept, "kept")
    kept.close()
    before = contents(Path(folder))
    make_read_only(Path(folder))
    with pytest.raises(VaultError, match="can't be written") as refused:
        Database.open(path, KEY)
    assert "CLAW_HOME" in refused.value.hint
    with pytest.raises(VaultError, match="can't be written"):
        Database.create(Path(folder) / "other.db", KEY)
    assert contents(Path(folder)) == before
