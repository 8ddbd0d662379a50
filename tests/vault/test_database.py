"""The database: transactions, threads, processes, kills and full disks."""

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlcipher3

from tests.fixtures.databases import KEY, MANY, WRONG, contents, note, titles
from tests.fixtures.processes import SmallDisk, fill, make_read_only, start_function
from vault import anchor, connection
from vault.database import Connection, Database
from vault.errors import DatabaseDamaged, DiskFull, VaultError

SECRET = "the canary sang of pomegranates at midnight"

# Transactions


def test_a_row_without_its_parent_is_refused_in_our_own_words(path: Path) -> None:
    kept = Database.create(path, KEY)
    with pytest.raises(VaultError, match="FOREIGN KEY") as refused:
        kept.write(
            lambda c: c.execute(
                "INSERT INTO messages VALUES (1, 'm', 'nowhere', NULL, 'user', '', 'complete', 1, NULL)"
            )
        )
    assert isinstance(refused.value.__cause__, sqlcipher3.Error)
    kept.close()


def test_no_error_quotes_what_was_being_stored(path: Path) -> None:
    kept = Database.create(path, KEY)
    note(kept, SECRET)
    with pytest.raises(VaultError) as refused:
        note(kept, SECRET)
    assert SECRET not in str(refused.value) + str(refused.value.__cause__)
    kept.close()


def test_work_that_fails_leaves_nothing_of_its_transaction(path: Path) -> None:
    kept = Database.create(path, KEY)
    note(kept, "before")

    def fail(connection: Connection) -> None:
        connection.execute(MANY, ("half", ""))
        raise KeyError("a mistake of the caller")

    with pytest.raises(KeyError, match="of the caller"):
        kept.write(fail)
    note(kept, "after")
    assert titles(kept) == ["before", "after"]
    kept.close()


def test_a_read_sees_one_state_while_another_process_writes(path: Path) -> None:
    reader, writer = Database.create(path, KEY), Database.open(path, KEY)

    def read_twice(connection: Connection) -> tuple[object, object]:
        first = connection.execute("SELECT count(*) FROM sessions").fetchone()
        note(writer, "meanwhile")
        return first, connection.execute("SELECT count(*) FROM sessions").fetchone()

    assert reader.read(read_twice) == ((0,), (0,))
    assert titles(reader) == ["meanwhile"]
    reader.close()
    writer.close()


def test_a_read_can_not_change_anything_behind_the_anchors_back(path: Path) -> None:
    kept = Database.create(path, KEY)
    with pytest.raises(VaultError):
        kept.read(lambda c: c.execute(MANY, ("smuggled", "")))
    note(kept, "kept")
    with pytest.raises(VaultError):
        note(kept, "kept")  # twice: refused, and over
    with pytest.raises(VaultError):
        kept.read(lambda c: c.execute("DELETE FROM sessions"))
    assert titles(kept) == ["kept"]
    kept.close()


def test_a_database_in_memory_touches_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = Database.in_memory(), Database.in_memory()
    note(one, SECRET)
    assert (titles(one), titles(other)) == ([SECRET], [])
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


def test_a_database_held_by_another_claw_is_said_to_be_that(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchor, "_LOCK_WITHIN_S", 0.05)
    holder, other = Database.open(filled, KEY), Database.open(filled, KEY)

    def hold(connection: Connection) -> None:
        connection.execute(MANY, ("held", ""))
        with pytest.raises(VaultError, match="Another program holds") as refused:
            note(other, "refused")
        assert "close it" in refused.value.hint

    holder.write(hold)
    note(other, "accepted")
    assert titles(holder)[-2:] == ["held", "accepted"]
    holder.close()
    other.close()


def test_a_database_held_by_another_program_is_said_to_be_that(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_BUSY_TIMEOUT_MS", 50)
    kept, foreign = Database.open(filled, KEY), connection.connect(filled, KEY)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(VaultError, match="Another program holds"):
        note(kept, "refused")
    foreign.execute("ROLLBACK")
    note(kept, "accepted")
    assert titles(kept)[-1] == "accepted"
    foreign.close()
    kept.close()


def test_the_check_covers_what_is_only_in_the_log_yet(path: Path) -> None:
    kept = Database.create(path, KEY)
    log = path.with_name("vault.db-wal")
    kept.write(lambda c: [c.execute(MANY, (f"session {n}", "prompt " * 200)) for n in range(300)])
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


# Interruptions

LONG = (
    "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000000000) SELECT count(*) FROM n"
)


def test_no_ctrl_c_ends_up_with_the_thread_that_is_waited_for(path: Path) -> None:
    """The kernel gives a signal to any thread that takes it; the main one would go on waiting, and not hear it."""
    kept = Database.create(path, KEY)
    assert kept.read(lambda _connection: signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    kept.close()


@pytest.mark.usefixtures("heard_ctrl_c")
def test_ctrl_c_ends_what_is_waited_for_and_undoes_it(path: Path) -> None:
    kept = Database.create(path, KEY)
    note(kept, "before")

    def work(connection: Connection) -> None:
        connection.execute(MANY, ("half", ""))
        os.kill(os.getpid(), signal.SIGINT)
        connection.execute(LONG).fetchone()

    with pytest.raises(KeyboardInterrupt):
        kept.write(work)
    with pytest.raises(KeyboardInterrupt):
        kept.read(work_without_an_end)
    note(kept, "after")
    assert titles(kept) == ["before", "after"]
    kept.close()
    again = Database.open(path, KEY)
    assert again.alarm == ""
    again.close()


@pytest.mark.usefixtures("heard_ctrl_c")
def test_ctrl_c_is_heard_also_where_another_thread_was_given_it(path: Path) -> None:
    """As those of a library for arithmetic, which keep no signal out."""
    kept = Database.create(path, KEY)
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()

    def work(connection: Connection) -> None:
        assert other.ident
        time.sleep(0.1)  # until the main thread waits
        signal.pthread_kill(other.ident, signal.SIGINT)
        connection.execute(LONG).fetchone()

    try:
        with pytest.raises(KeyboardInterrupt):
            kept.write(work)
    finally:
        end.set()
        other.join()
    kept.close()


def test_work_that_runs_into_a_time_of_its_own_says_so(path: Path) -> None:
    kept = Database.create(path, KEY)

    def late(_connection: Connection) -> None:
        raise TimeoutError("of the work")

    for _ in range(2):
        with pytest.raises(TimeoutError, match="of the work"):
            kept.read(late)
    kept.close()


def work_without_an_end(connection: Connection) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    connection.execute(LONG).fetchone()


@pytest.mark.usefixtures("heard_ctrl_c")
def test_work_that_is_nearly_done_is_done_when_ctrl_c_comes(path: Path) -> None:
    kept = Database.create(path, KEY)

    def work(connection: Connection) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        connection.execute(MANY, ("whole", ""))

    with pytest.raises(KeyboardInterrupt):
        kept.write(work)
    assert titles(kept) == ["whole"]
    kept.close()


@pytest.mark.usefixtures("heard_ctrl_c")
def test_work_that_looks_for_it_is_undone_when_ctrl_c_comes_however_near_its_end(path: Path) -> None:
    kept = Database.create(path, KEY)
    interrupted = threading.Event()

    def work(connection: Connection) -> None:
        connection.execute(MANY, ("half", ""))
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(30)

    with pytest.raises(KeyboardInterrupt):
        kept.write(work, interrupted)
    assert titles(kept) == []
    kept.close()


@pytest.mark.usefixtures("heard_ctrl_c")
def test_work_that_was_just_handed_over_when_ctrl_c_comes_isnt_left_running(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Database.create(path, KEY)
    submit = kept._worker.submit

    def interrupted(*given: Any) -> Any:  # noqa: ANN401  those of an executor
        submit(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(kept._worker, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kept.write(lambda c: c.execute(MANY, ("half", "")) and c.execute(LONG).fetchone())
    monkeypatch.undo()
    assert titles(kept) == []
    kept.close()


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


def test_a_transaction_that_waits_for_another_is_an_error_and_no_deadlock(path: Path) -> None:
    kept = Database.create(path, KEY)
    with pytest.raises(RuntimeError, match="can't wait for another"):
        kept.write(lambda _connection: kept.read(lambda c: c.execute("SELECT 1").fetchone()))
    assert kept.read(lambda c: c.execute("SELECT 1").fetchone()) == (1,)
    kept.close()
