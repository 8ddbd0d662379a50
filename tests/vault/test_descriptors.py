"""Descriptors are kept as long as closing them could drop somebody's locks, and no longer."""

import contextlib
import fcntl
import os
from pathlib import Path

import pytest

from tests.fixtures.processes import run_function
from vault.descriptors import Descriptors


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "vault.db").write_bytes(b"content")
    return tmp_path / "vault.db"


def still_open(file: Path) -> int:
    """How many descriptors of a file this process has."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed them
            found += os.readlink(f"/proc/self/fd/{name}") == str(file)
    return found


def test_the_last_user_closes_what_all_have_opened(file: Path) -> None:
    one, other = Descriptors(file), Descriptors(file.parent / "." / "vault.db")
    descriptor = one.open(file)
    assert os.pread(descriptor, 7, 0) == b"content"
    one.close()
    one.close()
    assert os.pread(descriptor, 7, 0) == b"content"
    other.close()
    assert still_open(file) == 0
    with pytest.raises(OSError, match="Bad file"):
        os.pread(descriptor, 7, 0)


def test_opening_again_and_again_uses_up_none(file: Path) -> None:
    first = Descriptors(file)
    first.open(file)
    for _ in range(50):
        other = Descriptors(file)
        other.open(file)
        other.close()
    assert still_open(file) == 1
    first.close()
    assert still_open(file) == 0


def test_a_file_that_took_the_place_of_another_is_opened_anew(file: Path) -> None:
    user = Descriptors(file)
    before = user.open(file)
    file.with_name("new").write_bytes(b"another")
    file.with_name("new").replace(file)
    assert os.pread(user.open(file), 7, 0) == b"another"
    assert os.pread(before, 7, 0) == b"content"
    file.unlink()
    with pytest.raises(FileNotFoundError):
        user.open(file)
    user.close()


def test_a_user_that_comes_after_the_last_one_left_begins_anew(file: Path) -> None:
    first = Descriptors(file)
    first.open(file)
    first.close()
    second = Descriptors(file)
    descriptor = second.open(file)
    first.close()  # long gone: it closes nothing of the second's
    assert os.pread(descriptor, 7, 0) == b"content"
    second.close()


def test_a_lock_outlasts_another_users_leaving(file: Path) -> None:
    holder, other = Descriptors(file), Descriptors(file)
    with file.open("r+b") as locked:
        fcntl.lockf(locked, fcntl.LOCK_EX)
        other.open(file)
        other.close()
        run_function(find_it_locked, file)
    holder.close()


def find_it_locked(file: str) -> None:
    with open(file, "r+b") as wanted, pytest.raises(BlockingIOError):
        fcntl.lockf(wanted, fcntl.LOCK_EX | fcntl.LOCK_NB)
