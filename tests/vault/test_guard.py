"""The rollback alarm: raised by every older or foreign part put in, and by nothing else."""

import os
import shutil
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fixtures.databases import KEY, MANY, PAGE, append_frame, contents, image, note, read_frames, titles
from tests.fixtures.processes import start_function
from vault.anchor import LogHead
from vault.connection import connect
from vault.database import Database
from vault.errors import DatabaseDamaged, RolledBack, VaultError
from vault.guard import Guard, Newest, anchor_path

FRAME = 24 + PAGE
OTHER_KEY = bytes(range(2, 34))


class History(NamedTuple):
    """The files of one database at four moments, each as they lay there then."""

    old: Path
    old_killed: Path
    killed: Path
    closed: Path


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("history")
    path = folder / "data" / "vault.db"
    path.parent.mkdir()
    kept = Database.create(path, KEY)
    kept.write(lambda c: [c.execute(MANY, (f"session {n}", "prompt " * 80)) for n in range(60)])
    kept.close()
    old = image(path, folder / "old")
    kept = Database.open(path, KEY)
    retitle(kept, 30, "then")
    note(kept, "then")
    old_killed = image(path, folder / "old killed")
    retitle(kept, 30, "now")
    note(kept, "now")
    note(kept, "and now")
    killed = image(path, folder / "killed")
    kept.close()
    return History(old, old_killed, killed, path)


def retitle(database: Database, n: int, title: str) -> None:
    database.write(lambda c: c.execute("UPDATE sessions SET title = ? WHERE n = ?", (title, n)))


def log_of(path: Path) -> Path:
    return path.with_name("vault.db-wal")


def pages(path: Path) -> list[bytes]:
    data = path.read_bytes()
    return [data[at : at + PAGE] for at in range(0, len(data), PAGE)]


def changed_page(history: History) -> int:
    """A page that holds sessions and was written since the old image; not the one that holds the epoch."""
    connection = connect(history.closed, KEY, read_only=True)
    row = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'vault_state'").fetchone()
    connection.close()
    assert row is not None
    differing = [
        number
        for number, (one, other) in enumerate(zip(pages(history.old), pages(history.closed), strict=False), 1)
        if one != other
    ]
    return next(number for number in reversed(differing) if number not in (1, row[0]))


# The attacks: each changes the files in a folder to something that this vault wrote once, or never.


def roll_the_file_back(path: Path, history: History) -> None:
    shutil.copy(history.old, path)


def roll_file_and_log_back(path: Path, history: History) -> None:
    shutil.copy(history.old_killed, path)
    shutil.copy(log_of(history.old_killed), log_of(path))


def roll_the_log_back(path: Path, history: History) -> None:
    shutil.copy(log_of(history.old_killed), log_of(path))


def put_an_old_page_back(path: Path, history: History) -> None:
    number = changed_page(history)
    with path.open("r+b") as file:
        file.seek((number - 1) * PAGE)
        file.write(pages(history.old)[number - 1])


def commit_an_old_page(path: Path, history: History) -> None:
    number = changed_page(history)
    append_frame(log_of(path), number, pages(history.old)[number - 1], len(pages(history.closed)))


def replay_a_transaction(path: Path, history: History) -> None:
    for frame in read_frames(log_of(history.old_killed)):
        append_frame(log_of(path), frame.page, frame.content, frame.pages_after_commit)


def cut_the_log_after_a_commit(path: Path, history: History) -> None:
    commits = [n for n, frame in enumerate(read_frames(log_of(path)), 1) if frame.pages_after_commit]
    with log_of(path).open("r+b") as file:
        file.truncate(32 + commits[-2] * FRAME)


def cut_the_log_inside_a_transaction(path: Path, history: History) -> None:
    with log_of(path).open("r+b") as file:
        file.truncate(log_of(path).stat().st_size - FRAME)


def flip_a_bit_in_the_log(path: Path, history: History) -> None:
    data = bytearray(log_of(path).read_bytes())
    data[32 + FRAME + 1000] ^= 1  # SQLite takes this frame, and all that follow, for never written
    log_of(path).write_bytes(data)


def delete_the_log(path: Path, history: History) -> None:
    log_of(path).unlink()


def empty_the_log(path: Path, history: History) -> None:
    log_of(path).write_bytes(b"")


def delete_the_anchor(path: Path, history: History) -> None:
    anchor_path(path).unlink()


def empty_the_anchor(path: Path, history: History) -> None:
    anchor_path(path).write_bytes(b"")


def zero_the_anchor(path: Path, history: History) -> None:
    anchor_path(path).write_bytes(bytes(anchor_path(path).stat().st_size))


def put_another_vaults_anchor(path: Path, history: History) -> None:
    other = path.with_name("other.db")
    Database.create(other, OTHER_KEY).close()
    anchor_path(other).replace(anchor_path(path))
    other.unlink()


def cut_the_file(path: Path, history: History) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - PAGE)


def append_to_the_file(path: Path, history: History) -> None:
    path.write_bytes(path.read_bytes() + pages(history.old)[-1])


Attack = Callable[[Path, History], None]
ON_CLOSED: list[Attack] = [
    roll_the_file_back,
    roll_file_and_log_back,
    put_an_old_page_back,
    commit_an_old_page,
    replay_a_transaction,
    delete_the_anchor,
    empty_the_anchor,
    zero_the_anchor,
    put_another_vaults_anchor,
    append_to_the_file,
]
ON_KILLED: list[Attack] = [
    roll_file_and_log_back,
    roll_the_log_back,
    commit_an_old_page,
    replay_a_transaction,
    cut_the_log_after_a_commit,
    cut_the_log_inside_a_transaction,
    flip_a_bit_in_the_log,
    delete_the_log,
    empty_the_log,
    delete_the_anchor,
    zero_the_anchor,
    put_another_vaults_anchor,
]


@pytest.fixture(
    params=[("closed", attack) for attack in ON_CLOSED] + [("killed", attack) for attack in ON_KILLED],
    ids=lambda param: f"{param[0]}-{param[1].__name__}",
)
def attacked(request: pytest.FixtureRequest, history: History, tmp_path: Path) -> Path:
    """A database with something older or foreign in it."""
    state, attack = request.param
    path = image(getattr(history, state), tmp_path / "attacked")
    attack(path, history)
    return path


def test_what_is_attacked_is_whole_and_raises_no_alarm_before(history: History, tmp_path: Path) -> None:
    for number, moment in enumerate(history):
        kept = Database.open(image(moment, tmp_path / str(number)), KEY)
        assert (kept.alarm, kept.integrity_errors()) == ("", [])
        assert len(titles(kept)) == [60, 61, 63, 63][number]
        kept.close()


def test_looking_at_what_is_whole_writes_nothing(history: History, tmp_path: Path) -> None:
    path = image(history.closed, tmp_path / "looked at")
    before = contents(path.parent)
    for _ in range(2):
        kept = Database.open(path, KEY)
        assert len(titles(kept)) == 63
        kept.close()
    assert contents(path.parent) == before


def test_an_attack_raises_the_alarm_and_nothing_is_changed_by_looking(attacked: Path) -> None:
    before = contents(attacked.parent)
    for _ in range(2):
        kept = Database.open(attacked, KEY)
        assert kept.alarm
        assert kept.newest() is None
        assert len(titles(kept)) >= 60  # it can be read
        with pytest.raises(RolledBack) as refused:
            note(kept, "refused")
        assert (refused.value.message, refused.value.exit_code) == (kept.alarm, 6)
        assert "claw vault accept" in refused.value.hint
        with pytest.raises(RolledBack):
            kept.alone(lambda _: None)
        kept.close()
        after = contents(attacked.parent)
        added = {name: after.pop(name) for name in after.keys() - before.keys()}
        assert added.keys() <= {"vault.db-shm", "vault.db-wal"}
        assert not added.get("vault.db-wal")
        before.pop("vault.db-shm", None)
        after.pop("vault.db-shm", None)
        assert after == before


def test_what_a_person_accepts_can_be_written_again_and_the_alarm_stays_away(attacked: Path) -> None:
    accepted = Database.open(attacked, KEY, accept=True)
    assert accepted.alarm == ""
    note(accepted, "accepted")
    accepted.close()
    for n in range(2):
        kept = Database.open(attacked, KEY)
        assert kept.alarm == ""
        assert titles(kept)[-1] == ["accepted", "0"][n]
        note(kept, str(n))
        kept.close()


def test_accepting_is_no_way_back_for_what_came_before(attacked: Path, tmp_path: Path) -> None:
    Database.open(attacked, KEY, accept=True).close()
    before = image(attacked, tmp_path / "before")
    kept = Database.open(attacked, KEY)
    note(kept, "after")
    kept.close()
    shutil.copy(before, attacked)
    kept = Database.open(attacked, KEY)
    assert kept.alarm
    kept.close()


def test_being_killed_while_accepting_leaves_it_to_be_accepted(history: History, tmp_path: Path) -> None:
    path = image(history.closed, tmp_path / "put back")
    roll_the_file_back(path, history)
    with start_function(accept_and_die, path) as accepting:
        assert accepting.wait() == -signal.SIGKILL
    kept = Database.open(path, KEY)
    assert kept.alarm
    kept.close()
    Database.open(path, KEY, accept=True).close()
    kept = Database.open(path, KEY)
    assert kept.alarm == ""
    kept.close()


def accept_and_die(path: str) -> None:
    Guard.adopt = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    Database.open(Path(path), KEY, accept=True)


def test_the_alarm_says_how_much_is_missing(history: History, tmp_path: Path) -> None:
    found = []
    for moment, attack in ((history.closed, roll_the_file_back), (history.killed, cut_the_log_after_a_commit)):
        path = image(moment, tmp_path / attack.__name__)
        attack(path, history)
        kept = Database.open(path, KEY)
        found.append(kept.alarm)
        kept.close()
    assert "the last 5 changes are missing" in found[0]
    assert "a change is missing" in found[1]


def test_all_files_put_back_together_are_not_found_out_by_the_files(history: History, tmp_path: Path) -> None:
    """The honest limit: only what lies elsewhere, the keychain's mirror, can tell."""
    for moment in (history.old, history.old_killed):
        path = image(moment, tmp_path / moment.parent.name)
        kept = Database.open(path, KEY)
        assert kept.alarm == ""
        assert len(titles(kept)) < 63
        kept.close()
        again = Database.open(path, KEY, at_least=Newest(10_000, LogHead(0, b"")))
        assert "older than what was last written" in again.alarm
        again.close()


def test_accepting_what_was_put_back_goes_beyond_what_the_keychain_remembers(
    history: History, tmp_path: Path
) -> None:
    path = image(history.old, tmp_path / "put back")
    remembered = Newest(10_000, LogHead(0, b""))
    accepted = Database.open(path, KEY, at_least=remembered, accept=True)
    newest = accepted.newest()
    accepted.close()
    assert newest is not None
    assert newest.epoch > remembered.epoch
    kept = Database.open(path, KEY, at_least=remembered)
    assert kept.alarm == ""
    kept.close()


def test_an_older_anchor_alone_hides_nothing(history: History, tmp_path: Path) -> None:
    """Of the same log, it is an anchor that a crash left behind; of an earlier file, it raises the alarm."""
    path = image(history.killed, tmp_path / "same log")
    shutil.copy(anchor_path(history.old_killed), anchor_path(path))
    kept = Database.open(path, KEY)
    assert (kept.alarm, titles(kept)[-1]) == ("", "and now")
    kept.close()
    path = image(history.closed, tmp_path / "earlier file")
    shutil.copy(anchor_path(history.old), anchor_path(path))
    kept = Database.open(path, KEY)
    assert kept.alarm
    kept.close()


def test_a_rollback_journal_put_beside_it_is_not_played_back(history: History, tmp_path: Path) -> None:
    path = image(history.closed, tmp_path / "attacked")
    put_back_in_a_journal(path, pages(history.old)[-1])
    before = contents(path.parent)
    for accept in (False, True):
        with pytest.raises(DatabaseDamaged, match="journal") as refused:
            Database.open(path, KEY, accept=accept)
        assert "Move it away" in refused.value.hint
    assert contents(path.parent) == before


def put_back_in_a_journal(path: Path, content: bytes) -> None:
    """As https://www.sqlite.org/fileformat2.html#the_rollback_journal says: the last page, as it is to be."""
    number, nonce = len(pages(path)), 7
    header = struct.pack(">8sIIIII", bytes.fromhex("d9d505f920a163d7"), 1, nonce, number, 512, PAGE)
    total = sum(content[at] for at in range(PAGE - 200, 0, -200))
    record = struct.pack(">I", number) + content + struct.pack(">I", nonce + total)
    path.with_name("vault.db-journal").write_bytes(header.ljust(512, b"\0") + record)


# While it is open


def test_a_page_put_back_under_an_open_database_is_found_when_it_is_opened_again(
    history: History, tmp_path: Path
) -> None:
    path = image(history.closed, tmp_path / "open")
    kept = Database.open(path, KEY)
    put_an_old_page_back(path, history)
    note(kept, "after")
    kept.close()
    again = Database.open(path, KEY)
    assert again.alarm
    again.close()


def test_an_anchor_that_loses_its_records_while_open_stops_all_writing(path: Path) -> None:
    kept = Database.create(path, KEY)
    note(kept, "kept")
    anchor_path(path).write_bytes(b"")
    with pytest.raises(RolledBack, match="disappeared"):
        note(kept, "refused")
    assert kept.alarm
    assert titles(kept) == ["kept"]
    kept.close()
    again = Database.open(path, KEY)
    assert "anchor" in again.alarm
    again.close()


def test_a_database_that_was_taken_away_while_open_is_not_written(path: Path) -> None:
    kept = Database.create(path, KEY)
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(VaultError, match="taken away"):
        note(kept, "refused")
    kept.close()
