"""No rollback alarm but for a rollback: whoever is killed, wherever, and however many use a database at once."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.fixtures.databases import KEY, PAGE, Peer, append_frame, image, note, titles
from tests.fixtures.processes import run_function, start_function
from vault import connection as connection_module
from vault import guard, migrations
from vault.anchor import Anchor
from vault.database import Database
from vault.errors import DiskFull, VaultError
from vault.guard import anchor_path

LONG = "x" * 200_000  # fifty pages

Start = Callable[[Path], Peer]


def quiet(path: Path) -> list[str]:
    """The titles in a database that opens without an alarm, twice, and can be written in between."""
    kept = Database.open(path, KEY)
    assert kept.alarm == ""
    found = titles(kept)
    kept.write(lambda _: None)
    kept.close()
    again = Database.open(path, KEY)
    assert again.alarm == ""
    assert again.integrity_errors() == []
    assert titles(again) == found
    again.close()
    return found


# Kills


def test_it_can_be_killed_after_every_step_of_normal_use(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_LONG_LOG", 20)  # folds every few transactions
    kept = Database.create(path, KEY)
    expected: list[str] = []
    random = Random(1)
    for step in range(40):
        if step % 13 == 12:
            kept.close()
            kept = Database.open(path, KEY)
        expected.append(str(step))
        note(kept, str(step), random.choice(["", LONG[:9000]]))
        if step % 3 == 0:
            kept.write(lambda c: c.execute("UPDATE sessions SET system_prompt = '' WHERE n % 3 = 1"))
        assert quiet(image(path, tmp_path / str(step))) == expected
    kept.close()


def die_when_the_anchor_is_written(path: str, title: str, after: str) -> None:
    """Write; then be killed right before, or after, the anchor's next record, and before the log is folded."""
    kept = Database.open(Path(path), KEY)
    note(kept, title)
    guard._LONG_LOG = 1
    write = Anchor.write

    def die(*arguments: object, **options: bool) -> None:
        if after:
            write(*arguments, **options)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGKILL)

    pytest.MonkeyPatch().setattr(Anchor, "write", die)
    note(kept, f"{title} again")


@pytest.mark.parametrize("after", ["", "after"])
def test_being_killed_about_the_anchors_record_is_no_rollback(path: Path, after: str) -> None:
    Database.create(path, KEY).close()
    for title in ("one", "two", "three"):
        with start_function(die_when_the_anchor_is_written, path, title, after) as writer:
            assert writer.wait() == -signal.SIGKILL
    assert quiet(path) == [f"{title}{more}" for title in ("one", "two", "three") for more in ("", " again")]


def test_a_database_ahead_of_its_anchor_stays_so_when_opening_it_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database.create(path, KEY).close()
    with start_function(die_when_the_anchor_is_written, path, "kept", "") as writer:
        assert writer.wait() == -signal.SIGKILL
    broken = [*migrations.migrations(), (migrations.newest_version() + 1, "INSERT INTO nowhere VALUES (1);")]
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "migrations", lambda: broken)
        with pytest.raises(VaultError, match="nowhere"):
            Database.open(path, KEY)
    assert quiet(path) == ["kept", "kept again"]


def test_whoever_reads_after_a_kill_and_never_closes_does_no_harm(path: Path) -> None:
    Database.create(path, KEY).close()
    with start_function(die_when_the_anchor_is_written, path, "kept", "") as writer:
        assert writer.wait() == -signal.SIGKILL
    run_function(open_and_forget, path)
    assert quiet(path) == ["kept", "kept again"]


def open_and_forget(path: str) -> None:
    assert titles(Database.open(Path(path), KEY)) == ["kept", "kept again"]


def test_one_killed_before_its_record_while_another_goes_on_is_no_rollback(path: Path, peer: Start) -> None:
    Database.create(path, KEY).close()
    other = peer(path)
    for title in ("one", "two"):
        with start_function(die_when_the_anchor_is_written, path, title, "") as writer:
            assert writer.wait() == -signal.SIGKILL
        other.do("note", f"after {title}")
    with start_function(die_when_the_anchor_is_written, path, "three", "") as writer:
        assert writer.wait() == -signal.SIGKILL
    other.close()  # folds what that one left
    expected = ["one", "one again", "after one", "two", "two again", "after two", "three", "three again"]
    assert quiet(path) == expected


# The anchor


def test_a_record_that_can_not_be_written_costs_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise DiskFull("full")

    kept, other = Database.create(path, KEY), Database.open(path, KEY)
    with monkeypatch.context() as patched:
        patched.setattr(Anchor, "write", refuse)
        note(kept, "one")
        note(other, "two")
        note(kept, "three", LONG)
        other.close()
        kept.close()
    assert quiet(path) == ["one", "two", "three"]


@pytest.mark.parametrize("torn", ["the newest", "the one before"])
def test_a_record_that_a_power_cut_tore_is_no_rollback(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: str
) -> None:
    monkeypatch.setattr(guard, "_LONG_LOG", 20)
    kept = Database.create(path, KEY)
    for n in range(6):
        note(kept, str(n), LONG[:30_000])
        left = image(path, tmp_path / str(n))
        tear(left, newest_record(left) if torn == "the newest" else 1 - newest_record(left))
        assert quiet(left) == [str(k) for k in range(n + 1)]
    kept.close()


def newest_record(path: Path) -> int:
    data = anchor_path(path).read_bytes()
    turns = [int.from_bytes(data[slot * 4096 + 8 : slot * 4096 + 16], "big") for slot in (0, 1)]
    return turns.index(max(turns))


def tear(path: Path, slot: int) -> None:
    with anchor_path(path).open("r+b") as file:
        file.seek(slot * 4096 + 60)
        file.write(b"torn")


def test_a_record_torn_while_it_is_written_at_the_closing_leaves_the_one_before(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was folded since that one."""
    kept = Database.create(path, KEY)
    note(kept, "one", LONG)
    assert kept.fold()
    note(kept, "two", LONG)
    left: list[Path] = []
    write = Anchor.write

    def tear_it(anchor: Anchor, *arguments: object, **options: bool) -> object:
        record = write(anchor, *arguments, **options)  # type: ignore[arg-type]
        left.append(image(path, tmp_path / "left"))
        tear(left[-1], newest_record(left[-1]))
        return record

    with monkeypatch.context() as patched:
        patched.setattr(Anchor, "write", tear_it)
        kept.close()
    assert quiet(left[0]) == ["one", "two"]


def test_a_log_that_a_power_cut_brought_back_is_no_rollback(path: Path) -> None:
    """Its removal wasn't synced, and all that it holds is in the file already."""
    kept = Database.create(path, KEY)
    note(kept, "one")
    kept.close()
    content = path.read_bytes()
    pages = len(content) // PAGE
    for number in range(1, pages + 1):
        log, page = path.with_name("vault.db-wal"), content[(number - 1) * PAGE : number * PAGE]
        append_frame(log, number, page, pages if number % 5 == 0 or number == pages else 0)
    with start_function(die_before_the_first_record, path, "two") as writer:
        assert writer.wait() == -signal.SIGKILL
    assert quiet(path) == ["one", "two"]


def die_before_the_first_record(path: str, title: str) -> None:
    kept = Database.open(Path(path), KEY)
    pytest.MonkeyPatch().setattr(Anchor, "write", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    note(kept, title)


# Many at once


def test_several_processes_may_write_and_fold_at_once(path: Path, peer: Start) -> None:
    Database.create(path, KEY).close()
    writers = [peer(path) for _ in range(3)]
    for n in range(25):
        for name, writer in enumerate(writers):
            writer.start("note", f"{name}.{n}", LONG)
    for writer in writers:
        for _ in range(25):
            writer.told()
        writer.close()
    assert sorted(quiet(path)) == sorted(f"{name}.{n}" for name in range(3) for n in range(25))
    assert sorted(file.name for file in path.parent.iterdir()) == ["vault.anchor", "vault.db"]


def test_two_that_write_by_turns_need_not_read_the_whole_file_again(
    filled: Path, peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, other = Database.open(filled, KEY), peer(filled)
    with monkeypatch.context() as patched:
        patched.setattr("vault.pages.Pages.scan", None)
        for n in range(5):
            other.do("note", f"theirs {n}")
            note(kept, f"ours {n}")
    other.close()
    kept.close()
    assert len(quiet(filled)) == 310


def test_those_who_close_at_once_leave_no_doubt(path: Path, peer: Start) -> None:
    Database.create(path, KEY).close()
    for n in range(10):
        leaving = [peer(path) for _ in range(2)]
        for name, process in enumerate(leaving):
            process.start("note", f"{n}.{name}")
            process.start("close")
        for process in leaving:
            process.told()
            process.told()
    assert len(quiet(path)) == 20


def test_a_reader_keeps_the_log_from_being_folded_and_that_is_all(path: Path, peer: Start) -> None:
    Database.create(path, KEY).close()
    reader, writer = peer(path), peer(path)
    expected = []
    for n in range(60):
        if n % 20 == 5:
            reader.do("hold")
        writer.do("note", str(n), LONG)
        expected.append(str(n))
        if n % 20 == 15:
            reader.do("release")
            assert reader.do("titles") == expected
    reader.do("hold")
    writer.close()
    reader.kill()
    assert quiet(path) == expected


def test_the_whole_file_may_be_checked_while_others_have_it_open(
    path: Path, peer: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_BUSY_TIMEOUT_MS", 50)
    kept, other = Database.create(path, KEY), peer(path)
    other.do("note", "one", LONG)
    assert kept.integrity_errors() == []
    other.do("note", "two", LONG)
    other.do("hold")
    note(kept, "three", LONG)
    assert kept.integrity_errors() == []  # of what the reader doesn't keep from being folded
    assert not kept.fold()
    other.do("release")
    assert other.do("check") == []
    assert kept.fold()
    note(kept, "four")
    other.close()
    kept.close()
    assert quiet(path) == ["one", "two", "three", "four"]


def test_one_process_may_open_a_database_twice(path: Path, peer: Start) -> None:
    """Closing one of the two must not drop SQLite's locks on the files of the other."""
    kept = Database.create(path, KEY)
    note(kept, "one")
    Database.open(path, KEY).close()
    peer(path).close()  # would take itself for the last, and remove the log
    note(kept, "two")
    assert quiet_beside(path, peer) == ["one", "two"]
    with pytest.raises(VaultError):
        Database.create(path, KEY)
    with pytest.raises(VaultError):
        Database.open(path, bytes(32))
    peer(path).close()
    note(kept, "three")
    assert quiet_beside(path, peer) == ["one", "two", "three"]
    kept.close()
    assert quiet(path) == ["one", "two", "three"]


def quiet_beside(path: Path, peer: Start) -> object:
    other = peer(path)
    found = other.do("titles")
    other.close()
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_order_of_writing_reading_checking_closing_and_killing_raises_an_alarm(
    path: Path, tmp_path: Path, peer: Start, seed: int
) -> None:
    random = Random(seed)
    Database.create(path, KEY).close()
    here: list[Peer] = []
    holding: list[Peer] = []
    acknowledged: set[object] = set()
    for step in range(60):
        idle = [process for process in here if process not in holding]
        match random.choice(["open", "write", "write", "write", "burst", "hold", "check", "close", "kill", "look"]):
            case "open" if len(here) < 3:
                here.append(peer(path))
            case "write" if idle:
                acknowledged.add(random.choice(idle).do("note", str(step), random.choice(["", LONG, LONG * 10])))
            case "burst" if idle:
                victim = random.choice(idle)
                for n in range(30):
                    victim.start("note", f"{step}.{n}", random.choice(["", LONG]))
                for _ in range(random.randrange(30)):
                    acknowledged.add(victim.told())
                acknowledged.update(victim.kill())
                here.remove(victim)
            case "hold" if idle:
                holding.append(random.choice(idle))
                holding[-1].do("hold")
            case "hold" if holding:
                holding.pop().do("release")
            case "check" if idle and not holding:
                assert random.choice(idle).do("check") == []
            case "close" if idle:
                here.remove(leaving := random.choice(idle))
                leaving.close()
            case "kill" if here:
                here.remove(victim := random.choice(here))
                victim.kill()
                holding = [process for process in holding if process is not victim]
            case "look":
                kept = Database.open(path, KEY)
                assert kept.alarm == ""
                assert acknowledged <= {*titles(kept)}
                kept.close()
    for process in here:
        process.kill()
    assert acknowledged <= {*quiet(path)}
