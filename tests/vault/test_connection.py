"""One connection: every silent trap of SQLCipher, and files that are none, or not any more."""

import os
import signal
import sqlite3
from pathlib import Path

import pytest
import sqlcipher3

from tests.fixtures.databases import KEY, WRONG, contents, note, titles
from tests.fixtures.processes import run_function, start_function
from vault import connection
from vault.database import Database
from vault.errors import DatabaseDamaged, PlaintextDatabase, VaultError
from vault.migrations import newest_version

CANARY = "the canary sang of pomegranates at midnight"
MAGIC = b"SQLite format 3\x00"

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
    assert sorted(contents(path.parent)) == ["vault.anchor", "vault.db"]
    assert in_clear(tmp_path) == []


def sing(path: str) -> None:
    kept = Database.open(Path(path), KEY)
    while True:
        n = len(titles(kept))
        note(kept, f"{CANARY} {n}")
        kept.write(
            lambda c, n=n: c.execute(  # type: ignore[misc]
                "INSERT INTO messages VALUES (NULL, ?, ?, NULL, 'user', ?, 'complete', 1, NULL)",
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
    assert kept.alarm == ""  # nobody put an older page there: the disk did this
    with pytest.raises(DatabaseDamaged, match="damaged"):
        kept.read(lambda c: c.execute("SELECT sum(length(system_prompt)) FROM sessions").fetchall())
    assert kept.integrity_errors()[0].startswith("HMAC verification failed for page")
    kept.close()
    again = Database.open(filled, KEY)  # SQLCipher lets a connection that met damage read no more
    assert again.read(lambda c: c.execute("SELECT count(*) FROM messages").fetchone()) == (0,)
    again.close()


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


# Pragmas


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
        ("user_version", newest_version()),
        ("wal_autocheckpoint", 0),
        ("query_only", 1),
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
    monkeypatch.setattr(connection, "_BUSY_TIMEOUT_MS", 2**40)  # SQLite takes it for something else, silently
    with pytest.raises(VaultError, match="did not take busy_timeout"):
        Database.open(filled, KEY)
