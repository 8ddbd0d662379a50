"""Writing all pages anew: what is left out, what stays, and what happens when it is disturbed."""

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.fixtures.databases import KEY, MANY, PAGE, image, note, read_frames, titles
from tests.fixtures.decrypted import everything_readable
from tests.fixtures.processes import SmallDisk, fill
from vault import connection, database, scrub
from vault.database import Connection, Database
from vault.errors import DatabaseDamaged, DiskFull, Locked

GONE, KEPT = "zyxcanary", "kept"


def fill_and_delete(kept: Database, rows: int = 900) -> None:
    """Leave copies of what is gone in the unused parts of pages."""

    def insert(c: Connection) -> None:
        for number in range(rows):
            c.execute(MANY, (f"{GONE * 3}{number}" if number % 3 else f"{KEPT}{number}", "k" * 15))

    kept.write(insert)
    kept.write(lambda c: c.execute("DELETE FROM sessions WHERE title LIKE ?", (f"{GONE}%",)))
    assert kept.fold()
    assert remains(kept)


def remains(kept: Database) -> bool:
    return kept.read(scrub.has_remains)


def readable(path: Path) -> bytes:
    return everything_readable(path, KEY)


def others_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("vault."))


def test_what_was_deleted_is_in_no_page_and_the_file_is_shorter(path: Path) -> None:
    kept = Database.create(path, KEY)
    fill_and_delete(kept)
    size, before = path.stat().st_size, titles(kept)
    assert GONE.encode() in readable(path)
    assert kept.clear_away() == ""
    assert GONE.encode() not in readable(path)
    assert titles(kept) == before
    assert path.stat().st_size < size
    assert kept.integrity_errors() == []
    assert others_in(path.parent) == []
    kept.close()
    again = Database.open(path, KEY)
    assert again.alarm == ""
    assert titles(again) == before
    again.close()


def test_it_is_done_once_and_again_only_after_something_went(path: Path) -> None:
    kept = Database.create(path, KEY)
    kept.scrub()
    newest = kept.newest()
    assert not remains(kept)
    kept.scrub()
    assert kept.newest() == newest
    note(kept, "stays")
    assert not remains(kept)
    kept.write(lambda c: c.execute("DELETE FROM sessions"))
    assert remains(kept)
    kept.scrub()
    assert not remains(kept)
    kept.close()


def test_it_is_one_transaction_that_the_epoch_counts(path: Path) -> None:
    kept = Database.create(path, KEY)
    fill_and_delete(kept)
    before = kept.newest()
    kept.scrub()
    after = kept.newest()
    assert before is not None
    assert after is not None
    assert after.epoch == before.epoch + 1
    frames = read_frames(path.with_name("vault.db-wal"))
    assert [frame.pages_after_commit > 0 for frame in frames] == [False] * (len(frames) - 1) + [True]
    kept.close()


def test_other_processes_read_and_write_on(path: Path) -> None:
    kept, other = Database.create(path, KEY), Database.open(path, KEY)
    fill_and_delete(kept)
    assert len(titles(other)) == 300
    kept.scrub()
    note(other, "by the other")
    note(kept, "by the first")
    assert titles(other)[-2:] == titles(kept)[-2:] == ["by the other", "by the first"]
    other.close()
    kept.close()
    Database.open(path, KEY).close()


def test_while_another_program_reads_it_is_done_and_that_one_reads_on(path: Path) -> None:
    kept, reader = Database.create(path, KEY), connection.connect(path, KEY)
    fill_and_delete(kept)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM sessions").fetchone() == (300,)
    assert "another program was reading" in kept.clear_away()
    assert not remains(kept)
    assert reader.execute("SELECT count(*) FROM sessions").fetchone() == (300,)
    reader.execute("COMMIT")
    reader.close()
    assert kept.fold()
    assert GONE.encode() not in readable(path)
    kept.close()


def test_while_another_program_writes_it_gives_up_and_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(scrub, "_BUSY_FOR_S", 0.1)
    kept, foreign = Database.create(path, KEY), connection.connect(path, KEY)
    fill_and_delete(kept)
    foreign.execute("BEGIN IMMEDIATE")
    said = kept.clear_away()
    assert "until retention next runs" in said
    assert "Another program holds" in said
    foreign.execute("ROLLBACK")
    foreign.close()
    assert kept.clear_away() == ""
    assert GONE.encode() not in readable(path)
    kept.close()


def test_a_copy_from_before_its_record_in_the_anchor_opens_without_an_alarm(path: Path, tmp_path: Path) -> None:
    """What a kill leaves between the commit and the anchor's record."""
    kept = Database.create(path, KEY)
    fill_and_delete(kept)
    anchor = path.with_suffix(".anchor").read_bytes()
    kept.scrub()
    killed = image(path, tmp_path / "killed")
    killed.with_suffix(".anchor").write_bytes(anchor)
    again = Database.open(killed, KEY)
    assert again.alarm == ""
    assert len(titles(again)) == 300
    assert not remains(again)
    again.close()
    kept.close()


def test_locked_in_the_middle_nothing_is_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Database.create(path, KEY)
    fill_and_delete(kept)
    begun, locked = threading.Event(), threading.Event()

    def slowly(copy: Path, connection: Connection) -> int:
        epoch = scrub.copy_into(copy, connection)
        begun.set()
        assert locked.wait(30)
        return epoch

    monkeypatch.setattr(database, "copy_into", slowly)
    said: list[str] = []
    clearing = threading.Thread(target=lambda: said.append(kept.clear_away()))
    clearing.start()
    assert begun.wait(30)
    closing = threading.Thread(target=lambda: kept.close("It was locked.", patience_s=0))
    closing.start()
    while not kept._given_up:
        pass
    locked.set()
    clearing.join()
    closing.join()
    assert "It was locked." in said[0]
    assert others_in(path.parent) == []
    again = Database.open(path, KEY)
    assert again.alarm == ""
    assert remains(again)
    again.close()


def test_what_others_write_while_the_copy_is_made_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, other = Database.create(path, KEY), Database.open(path, KEY)
    fill_and_delete(kept)
    copies: list[int] = []

    def overtaken(copy: Path, connection: Connection) -> int:
        epoch = scrub.copy_into(copy, connection)
        copies.append(epoch)
        if len(copies) < 3:  # the third is made while nobody else can write
            note(other, f"written meanwhile {len(copies)}")
        return epoch

    monkeypatch.setattr(database, "copy_into", overtaken)
    assert kept.clear_away() == ""
    assert len(copies) == 3
    assert titles(kept)[-2:] == titles(other)[-2:] == ["written meanwhile 1", "written meanwhile 2"]
    assert GONE.encode() not in readable(path)
    other.close()
    kept.close()
    again = Database.open(path, KEY)
    assert again.alarm == ""
    assert again.integrity_errors() == []
    again.close()


@pytest.mark.usefixtures("heard_ctrl_c")
def test_interrupted_by_the_person_nothing_is_changed_and_it_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Database.create(path, KEY)
    fill_and_delete(kept)
    interrupted, interrupt = threading.Event(), kept._interrupt

    def ctrl_c(copy: Path, connection: Connection) -> int:
        epoch = scrub.copy_into(copy, connection)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupted.wait(30)
        return epoch

    def interrupting(begun: threading.Event, over: threading.Event) -> None:
        interrupted.set()
        interrupt(begun, over)

    monkeypatch.setattr(kept, "_interrupt", interrupting)
    monkeypatch.setattr(database, "copy_into", ctrl_c)
    assert "it was interrupted" in kept.clear_away()
    monkeypatch.undo()
    assert remains(kept)
    assert others_in(path.parent) == []
    assert kept.clear_away() == ""
    kept.close()


def test_where_it_cannot_be_done_rows_that_went_are_in_no_file_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, other = Database.create(path, KEY), Database.open(path, KEY)
    kept.write(lambda c: [c.execute(MANY, (f"{GONE}{n}", "")) for n in range(3)])
    kept.fold()
    kept.write(lambda c: c.execute("DELETE FROM sessions"))

    def full(*_: object) -> int:
        raise DiskFull("The disk is full.")

    monkeypatch.setattr(database, "copy_into", full)
    assert "The disk is full" in kept.clear_away()
    assert GONE.encode() not in readable(path)
    other.close()
    kept.close()


def test_stopped_between_two_steps_of_writing_nothing_is_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Database.create(path, KEY)
    fill_and_delete(kept)
    monkeypatch.setattr(scrub, "_STEP_PAGES", 5)
    steps: list[int] = []

    class Stopped(scrub._Progress):
        def __call__(self, status: int, remaining: int, total: int) -> None:
            super().__call__(status, remaining, total)
            steps.append(remaining)
            if len(steps) == 3:
                raise Locked("It was locked.")

    monkeypatch.setattr(scrub, "_Progress", Stopped)
    newest = kept.newest()
    assert "It was locked." in kept.clear_away()
    assert steps[-1] > 0
    assert newest is not None
    assert kept.newest() == newest
    assert remains(kept)
    assert len(titles(kept)) == 300
    note(kept, "after")
    assert kept.integrity_errors() == []
    kept.close()
    again = Database.open(path, KEY)
    assert again.alarm == ""
    again.close()


@pytest.mark.parametrize("something_went", [True, False])
def test_a_copy_that_a_kill_left_behind_goes_with_the_next(path: Path, something_went: bool) -> None:
    kept = Database.create(path, KEY)
    kept.scrub()
    if something_went:
        fill_and_delete(kept)
    left = path.with_name(f"{scrub._FOLDER}0123456789ab.new")
    left.mkdir()
    (left / path.name).write_bytes(bytes(4096))
    kept.scrub()
    assert others_in(path.parent) == []
    kept.close()


def test_on_a_full_disk_it_says_so_and_is_done_when_there_is_room(small_disk: SmallDisk) -> None:
    small_disk.run("4m", delete_on_a_full_disk)


def delete_on_a_full_disk(folder: str) -> None:
    path = Path(folder) / "vault.db"
    kept = Database.create(path, KEY)
    fill_and_delete(kept, rows=3000)
    filler = fill(Path(folder))
    said = kept.clear_away()
    assert "until retention next runs" in said
    assert "full" in said
    assert remains(kept)
    assert len(titles(kept)) == 1000
    filler.unlink()
    assert kept.clear_away() == ""
    assert not remains(kept)
    assert kept.integrity_errors() == []
    assert others_in(path.parent) == []
    kept.close()


def test_a_damaged_page_is_an_error_and_is_carried_nowhere(path: Path) -> None:
    kept = Database.create(path, KEY)
    fill_and_delete(kept)
    row = kept.read(lambda c: c.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sessions'").fetchone())
    assert row is not None
    kept.close()
    with path.open("r+b") as file:
        file.seek(row[0] * PAGE - PAGE // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    before = path.read_bytes()
    kept = Database.open(path, KEY)
    with pytest.raises(DatabaseDamaged):
        kept.scrub()
    kept.close()
    assert path.read_bytes() == before
    assert others_in(path.parent) == []
