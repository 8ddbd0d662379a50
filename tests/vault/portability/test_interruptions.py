"""Backups, restorations, exports and imports that end early: nothing half is left, and what was there stays."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.models import CHEAP, PASSPHRASE
from tests.fixtures.processes import ROOT, SmallDisk, command, fill, start_function
from tests.vault.portability.conftest import files_of, reopened, rows_of
from vault.connection import Connection
from vault.errors import DiskFull
from vault.home import Home
from vault.log.entries import Action, Status, StoredEntry, fold
from vault.portability.age_passphrase import Passphrase
from vault.portability.backup import back_up
from vault.portability.export import export
from vault.portability.imports import import_path
from vault.portability.progress import Progress
from vault.portability.restore import fill_from_backup, merge_backup
from vault.store import Vault

KEY = Passphrase("a passphrase of the backup", work=1)
MESSAGES = 4000

Work = Callable[[Path, Progress], object]


def lengthen(vault: Vault, messages: int = MESSAGES, length: int = 10) -> None:
    """Put many messages into a vault at once."""
    session = vault.conversations.start("long", "")

    def insert(connection: Connection) -> None:
        for n in range(messages):
            connection.execute(
                "INSERT INTO messages (id, session_id, role, text, status, created_ms) "
                "VALUES (?, ?, 'user', ?, 'complete', 1)",
                (f"message{n:09}", session.id, f"{n} " + "x" * length),
            )

    vault.database.write(insert)


def home_in(folder: Path, name: str) -> Home:
    return Home.locate({"CLAW_HOME": str(folder / name)})


def prepare(folder: Path) -> None:
    """A vault, its backup and its export; and a vault without anything."""
    with Vault.create(home_in(folder, "full"), PASSPHRASE, cost=CHEAP) as vault:
        lengthen(vault)
        back_up(vault, folder / "made.age", KEY)
        export(vault, folder / "made")
    Vault.create(home_in(folder, "bare"), PASSPHRASE, cost=CHEAP).close()


def backs_up(folder: Path, progress: Progress) -> None:
    with reopened(home_in(folder, "full")) as vault:
        back_up(vault, folder / "new.age", KEY, progress=progress)


def exports(folder: Path, progress: Progress) -> None:
    with reopened(home_in(folder, "full")) as vault:
        export(vault, folder / "new", progress=progress)


def restores(folder: Path, progress: Progress) -> None:
    fresh = home_in(folder, "fresh")
    Vault.create(fresh, PASSPHRASE, cost=CHEAP, fill=fill_from_backup(folder / "made.age", KEY, progress)).close()


def merges(folder: Path, progress: Progress) -> None:
    with reopened(home_in(folder, "bare")) as vault:
        merge_backup(vault, folder / "made.age", KEY, progress)


def imports(folder: Path, progress: Progress) -> None:
    with reopened(home_in(folder, "bare")) as vault:
        import_path(vault, folder / "made", progress=progress)


def imports_conversations(folder: Path, progress: Progress) -> None:
    with reopened(home_in(folder, "bare")) as vault:
        import_path(vault, folder / "made" / "conversations.json", progress=progress)


EVERY_WORK = [backs_up, exports, restores, merges, imports, imports_conversations]


def left(folder: Path) -> list[str]:
    """What lies there beside what was prepared."""
    kept = {"made.age", "made", "full", "bare"}
    homes = [folder / "full", folder / "bare", folder / "fresh"]
    inside = [path for home in homes if home.exists() for path in home.iterdir() if path.name != "vault"]
    return [path.name for path in [*folder.iterdir(), *inside] if path.name not in {*kept, "fresh"}]


def everything(folder: Path) -> list[object]:
    found: list[object] = [files_of(folder / "made")]
    for name in ("full", "bare"):
        with reopened(home_in(folder, name)) as vault:
            found.append(rows_of(vault, "sessions", "messages", "notifications"))
            found.append([stored for stored in vault.log.entries() if not is_departure(stored)])
    return found


def is_departure(stored: StoredEntry) -> bool:
    return stored.entry is not None and stored.entry.action in (Action.BACKUP, Action.EXPORT)


def check_last_departure(folder: Path, work: Work, status: Status) -> None:
    """Look for what the log says of a backup, or an export, that ended early."""
    if work in (backs_up, exports):
        with reopened(home_in(folder, "full")) as vault:
            assert fold(filter(is_departure, vault.log.entries()))[0].status is status


@pytest.mark.parametrize("work", EVERY_WORK)
def test_ctrl_c_leaves_nothing_half(tmp_path: Path, work: Work) -> None:
    prepare(tmp_path)
    before = everything(tmp_path)
    told = 0
    pause = threading.Event()

    def press_ctrl_c(_doing: str, _done: int, _total: int | None) -> None:
        nonlocal told
        told += 1
        if told == 3:
            os.kill(os.getpid(), signal.SIGINT)
            pause.wait(0.4)  # the signal reaches the waiting thread while this one works on

    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, press_ctrl_c)
    assert told >= 3
    assert left(tmp_path) == []
    assert not (tmp_path / "fresh" / "vault").exists()
    assert everything(tmp_path) == before
    check_last_departure(tmp_path, work, Status.REFUSED)


def _until_killed(folder: str, name: str) -> None:
    def report(_doing: str, done: int, _total: int | None) -> None:
        if done:
            print("at work", flush=True)
            threading.Event().wait()

    work = next(work for work in EVERY_WORK if work.__name__ == name)
    work(Path(folder), report)


@pytest.mark.parametrize("work", EVERY_WORK)
def test_a_kill_leaves_nothing_in_place_and_the_next_run_succeeds(tmp_path: Path, work: Work) -> None:
    prepare(tmp_path)
    before = everything(tmp_path)
    running = start_function(_until_killed, tmp_path, work.__name__)
    assert running.stdout is not None
    assert running.stdout.readline() == "at work\n"
    running.kill()
    running.communicate()
    for name in ("new.age", "new", "fresh/vault"):
        assert not (tmp_path / name).exists()
    assert all(name.startswith(".") for name in left(tmp_path))
    assert everything(tmp_path) == before
    check_last_departure(tmp_path, work, Status.PREPARED)
    for path in tmp_path.rglob(".*"):
        os.utime(path, (0, 0))
    work(tmp_path, lambda _doing, _done, _total: None)
    assert [name for name in left(tmp_path) if name.startswith(".") and "import" not in name] == []


def _on_a_full_disk(folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        prepare(Path(folder))
    before = everything(Path(folder))
    for work in EVERY_WORK:
        filler = fill(Path(folder))
        os.truncate(filler, filler.stat().st_size - 300_000)
        try:
            work(Path(folder), lambda _doing, _done, _total: None)
        except DiskFull:
            filler.unlink()
        else:
            raise AssertionError(f"{work.__name__} found room")
        assert left(Path(folder)) == [], work.__name__
        assert not (Path(folder) / "fresh" / "vault").exists()
        assert everything(Path(folder)) == before, work.__name__
        check_last_departure(Path(folder), work, Status.REFUSED)


def test_a_full_disk_leaves_nothing_half(small_disk: SmallDisk) -> None:
    small_disk.run("60m", _on_a_full_disk)


def test_memory_doesnt_grow_with_the_vault(tmp_path: Path) -> None:
    done = subprocess.run(command(_back_up_within, tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    grown, size = map(int, done.stdout.split())
    assert size > 60_000_000
    assert grown < 30_000_000


def _back_up_within(folder: str) -> None:
    import resource

    home = home_in(Path(folder), "home")
    with Vault.create(home, PASSPHRASE, cost=CHEAP) as vault:
        lengthen(vault, 70, 1_000_000)
    with reopened(home) as vault:
        back_up(vault, Path(folder) / "warm.age", KEY)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        done = back_up(vault, Path(folder) / "b.age", KEY)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, done.bytes)
