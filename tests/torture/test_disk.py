"""The disk under test: it sees every change, and fails as it is told to."""

import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.processes import command, run_function
from tests.torture.recorder import Event, Fault, Operation, environment, events, mark
from tests.torture.replay import Point, replayed, snapshot
from vault.database import Database

KEY = bytes(range(32))


class Bench:
    """A folder, and a process on the disk under test in it."""

    def __init__(self, disk: Path, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.trace = folder / "trace"
        self.trace.touch()
        self._disk = disk

    def told(self, fault: Fault | None) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._disk), **environment(self.root, self.trace, fault)}


@pytest.fixture
def bench(disk: Path, tmp_path: Path) -> Bench:
    return Bench(disk, tmp_path)


def write_to_a_database(root: str) -> None:
    database = Database.create(Path(root) / "vault.db", KEY)
    mark("begun")
    database.write(lambda c: c.execute("INSERT INTO retention VALUES ('kind', 1)"))
    mark("acknowledged")
    database.close()


def test_sqlciphers_writes_are_seen_and_its_log_is_synced_before_a_commit_returns(bench: Bench) -> None:
    run_function(write_to_a_database, bench.root, environment=bench.told(None))
    found = list(events(bench.trace))
    marks = [index for index, event in enumerate(found) if event.operation is Operation.MARK]
    log = [event for event in found[marks[0] : marks[1]] if event.path.endswith("vault.db-wal")]
    assert [event.operation for event in log[:-1]] == [Operation.WRITE] * (len(log) - 1)
    assert len(log) > 1
    assert log[-1].operation is Operation.SYNC
    assert not any(event.path.endswith("-shm") for event in found)


def do_everything(root: str) -> None:
    folder = Path(root)
    (folder / "kept").write_bytes(b"one" * 5000)
    with (folder / "kept").open("ab") as file:
        file.write(b"appended")
        file.flush()
        os.pwrite(file.fileno(), b"appended whatever the offset", 0)
    with (folder / "kept").open("r+b", buffering=0) as file:
        os.pwritev(file.fileno(), [b"at", b" four"], 4)
        other = os.dup(file.fileno())
        os.write(other, b"through a duplicate")
        os.close(other)
    with (folder / "kept").open("r+b") as file:
        file.truncate(15_020)
    shutil.copyfile(folder / "kept", folder / "copied")
    os.truncate(folder / "copied", 100)
    os.posix_fallocate(opened := os.open(folder / "copied", os.O_RDWR), 0, 200)
    os.close(opened)
    (folder / "below").mkdir()
    os.link(folder / "kept", folder / "below" / "linked")
    (folder / "copied").replace(folder / "below" / "moved")
    (folder / "below" / "moved").write_text("anew")
    os.chdir(folder / "below")
    Path("relative").write_text("relative")
    Path("doomed").mkdir()
    Path("doomed/file").touch()
    shutil.rmtree("doomed")
    (folder / "kept").unlink()
    subprocess.run(["sh", "-c", "echo from a child > child"], check=True)


def test_a_trace_replayed_to_its_end_is_what_lies_there(bench: Bench) -> None:
    (bench.root / "before").write_text("before")
    before = snapshot(bench.root)
    run_function(do_everything, bench.root, environment=bench.told(None))
    found = list(events(bench.trace))
    (disk,) = replayed(before, bench.root, found, [Point(len(found), 0)])
    there = {
        path.relative_to(bench.root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in bench.root.rglob("*")
    }
    assert disk.now() == there
    assert set(there) == {"before", "below", "below/linked", "below/moved", "below/relative", "below/child"}


def write_thrice(root: str) -> None:
    descriptor = os.open(Path(root) / "file", os.O_WRONLY | os.O_CREAT)  # the first change
    for letter in (b"a", b"b", b"c"):
        try:
            mark(f"wrote {os.write(descriptor, letter * 1000)}")
        except OSError as error:
            mark(errno.errorcode[error.errno or 0])
    (Path(root) / "file").unlink()
    mark("unlinked")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(3, "once", errno.EIO), ["wrote 1000", "EIO", "wrote 1000", "unlinked"]),
        (Fault(3, "always", errno.ENOSPC), ["wrote 1000", "ENOSPC", "ENOSPC", "unlinked"]),
        (Fault(3, "short", errno.ENOSPC), ["wrote 1000", "wrote 500", "ENOSPC", "unlinked"]),
        (Fault(9, "always", errno.EIO), ["wrote 1000"] * 3 + ["unlinked"]),
    ],
)
def test_the_nth_change_fails_as_told_and_a_full_disk_still_frees_room(
    bench: Bench, fault: Fault, told: list[str]
) -> None:
    run_function(write_thrice, bench.root, environment=bench.told(fault))
    assert texts(events_of(bench)) == told


@pytest.mark.parametrize(("manner", "size"), [("kill", 1000), ("tear", 1500)])
def test_a_process_is_killed_before_or_within_a_write(bench: Bench, manner: str, size: int) -> None:
    fault = Fault(3, "kill" if manner == "kill" else "tear")
    told = {**os.environ, **bench.told(fault)}
    ended = subprocess.run(command(write_thrice, bench.root), env=told, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert texts(events_of(bench)) == ["wrote 1000"]
    assert (bench.root / "file").stat().st_size == size


def sync_twice(root: str) -> None:
    with (Path(root) / "file").open("wb") as file:  # 1
        file.write(b"content")
        file.flush()  # 2
        for _ in range(2):
            try:
                os.fsync(file.fileno())
            except OSError as error:
                mark(errno.errorcode[error.errno or 0])


def test_a_failed_sync_is_recorded_as_none(bench: Bench) -> None:
    run_function(sync_twice, bench.root, environment=bench.told(Fault(3, "once", errno.EIO)))
    assert [event.operation.name for event in events_of(bench)] == [
        "CREATE",
        "WRITE",
        "SYNC_FAILED",
        "MARK",
        "SYNC",
    ]


def test_files_elsewhere_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_function(sync_twice, elsewhere, environment=bench.told(Fault(1, "always", errno.EIO)))
    assert events_of(bench) == []


def events_of(bench: Bench) -> list[Event]:
    return list(events(bench.trace))


def texts(found: list[Event]) -> list[str]:
    return [event.data.decode() for event in found if event.operation is Operation.MARK]
