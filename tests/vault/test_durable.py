"""Small files replaced so that no moment leaves neither the old nor the new."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.fixtures.processes import SmallDisk, command, fill, make_read_only, run_function
from vault import durable
from vault.durable import at_work_in, make_private_folder, remove_abandoned, replace_file
from vault.errors import DiskFull, HomeNotWritable, VaultError

OLD, NEW = b"old " * 2000, b"the new " * 2000


def test_a_file_is_made_and_replaced_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, OLD)
    assert path.read_bytes() == OLD
    replace_file(path, NEW)
    assert path.read_bytes() == NEW
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_owner_can_read_it_whatever_it_was_before(tmp_path: Path, loose_umask: None) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    path.chmod(0o666)
    replace_file(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_whoever_holds_the_old_file_open_still_reads_the_old(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, OLD)
    with path.open("rb") as held:
        replace_file(path, NEW)
        assert held.read() == OLD


def test_a_process_killed_at_any_step_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    run_function(die_at_every_step, tmp_path)


def die_at_every_step(folder: str) -> None:
    path = Path(folder) / "file"
    seen = []
    for step in count(1):
        replace_file(path, OLD)
        child = os.fork()
        if not child:
            kill_at_step(step, durable.__file__)
            replace_file(path, NEW)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert path.read_bytes() in (OLD, NEW)
        seen.append(path.read_bytes())
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            break
    assert len(seen) > 8
    assert seen == sorted(seen)  # once it is there, the new one stays
    assert {*seen} == {OLD, NEW}


def kill_at_step(step: int, *files: str) -> None:
    """Kill this process when it comes to the nth line of some source files."""
    lines = count(1)

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line" and next(lines) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace isn't installed: the order of the calls can't be seen")
    path = tmp_path / "file"
    trace = subprocess.run(
        ["strace", "-f", "-y", "-e", "trace=write,fsync,rename,renameat,renameat2", *command(replace, path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if trace.returncode != 0 and "Operation not permitted" in trace.stderr:
        pytest.skip("strace isn't allowed here: the order of the calls can't be seen")
    assert trace.returncode == 0, trace.stderr
    calls = [
        line.split("(")[0].split()[-1] + (" file" if f"{path.parent}/.file" in line else " folder")
        for line in trace.stderr.splitlines()
        if str(tmp_path) in line and not line.startswith(("execve", "+++"))
    ]
    assert calls == ["write file", "fsync file", "rename file", "fsync folder"]


def replace(path: str) -> None:
    replace_file(Path(path), NEW)


def test_a_full_disk_leaves_the_old_file_and_no_debris(small_disk: SmallDisk) -> None:
    small_disk.run("64k", replace_on_a_full_disk)


def replace_on_a_full_disk(folder: str) -> None:
    path = Path(folder) / "file"
    replace_file(path, OLD)
    filler = fill(Path(folder))
    for size in (1, 4096, 100_000):
        with pytest.raises(DiskFull, match="is full") as refused:
            replace_file(path, b"x" * size)
        assert "Free some room" in refused.value.hint
        assert path.read_bytes() == OLD
        assert sorted(Path(folder).iterdir()) == [path, filler]
    filler.unlink()
    replace_file(path, NEW)
    assert path.read_bytes() == NEW


def test_a_read_only_disk_leaves_the_old_file_and_says_what_to_do(small_disk: SmallDisk) -> None:
    small_disk.run("64k", replace_on_a_read_only_disk)


def replace_on_a_read_only_disk(folder: str) -> None:
    path = Path(folder) / "file"
    replace_file(path, OLD)
    make_read_only(Path(folder))
    with pytest.raises(HomeNotWritable, match="Read-only") as refused:
        replace_file(path, NEW)
    assert "CLAW_HOME" in refused.value.hint
    with pytest.raises(HomeNotWritable, match="Read-only"):
        make_private_folder(Path(folder) / "new")
    assert list(Path(folder).iterdir()) == [path]
    assert path.read_bytes() == OLD


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions don't stop root; the read-only disk does")
def test_a_folder_without_write_permission_says_what_to_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(HomeNotWritable, match="Permission denied"):
            replace_file(tmp_path / "file", NEW)
    finally:
        tmp_path.chmod(0o700)


def test_a_missing_folder_and_a_folder_in_the_files_place_are_errors_without_debris(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="No such file"):
        replace_file(tmp_path / "missing" / "file", NEW)
    (tmp_path / "folder").mkdir()
    with pytest.raises(VaultError, match="Is a directory"):
        replace_file(tmp_path / "folder", NEW)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_private_folder_is_made_or_made_private(tmp_path: Path, loose_umask: None) -> None:
    make_private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    (tmp_path / "open").mkdir(mode=0o777)
    make_private_folder(tmp_path / "open")
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_a_file_in_the_folders_place_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(VaultError, match="can't be written"):
            make_private_folder(path)
    assert (tmp_path / "file").read_bytes() == OLD


def test_a_folder_in_which_somebody_is_at_work_is_not_taken_for_abandoned(tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"
    folder.mkdir()
    (folder / "half").write_text("written")
    with at_work_in(folder):
        assert not remove_abandoned(folder)
        assert (folder / "half").exists()
    assert remove_abandoned(folder)
    assert not folder.exists()
    assert remove_abandoned(folder)
