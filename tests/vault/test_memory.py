"""Memory for secrets: pinned, kept out of dumps, wiped; and processes that leave no core and show no memory."""

import copy
import ctypes
import os
import pickle
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import sqlcipher3

from tests.fixtures.processes import run_function
from vault.errors import Locked, SecretKept
from vault.memory import SecretBuffer, harden_process, is_hardened, pin_process

SECRET = bytes(range(1, 33))
NOBODY = 65534

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="what a process hides differs from system to system")


@pytest.fixture
def buffer() -> SecretBuffer:
    return SecretBuffer.of(SECRET)


def test_a_secret_is_there_until_it_is_wiped_and_then_refused(buffer: SecretBuffer) -> None:
    with buffer.opened() as view:
        assert bytes(view) == SECRET
    buffer.wipe()
    buffer.wipe()
    assert buffer.wiped
    with pytest.raises(Locked), buffer.opened():
        pass
    assert bytes(buffer._memory[: len(SECRET)]) == bytes(len(SECRET))


def test_a_secret_is_wiped_where_it_lies_and_with_the_last_who_knows_it() -> None:
    buffer = SecretBuffer.of(SECRET)
    page = memoryview(buffer._memory)
    assert bytes(page[: len(SECRET)]) == SECRET
    del buffer
    assert bytes(page[: len(SECRET)]) == bytes(len(SECRET))


def test_a_secret_is_not_wiped_under_the_hands_of_who_uses_it(buffer: SecretBuffer) -> None:
    wiping = threading.Thread(target=buffer.wipe)
    with buffer.opened() as view:
        wiping.start()
        wiping.join(0.05)
        assert bytes(view) == SECRET
    wiping.join()
    assert buffer.wiped


@pytest.mark.parametrize(
    "keep",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        lambda secret: sqlcipher3.connect(":memory:").execute("SELECT ?", (secret,)),
    ],
    ids=["pickle", "copy", "deepcopy", "sql"],
)
def test_a_secret_can_not_be_kept(buffer: SecretBuffer, keep: Callable[[object], object]) -> None:
    with pytest.raises(SecretKept):
        keep(buffer)


def test_a_secret_shows_itself_nowhere(buffer: SecretBuffer) -> None:
    assert f"{buffer} {buffer!r}" == "<SecretBuffer> <SecretBuffer>"
    with pytest.raises(TypeError):
        msgspec.msgpack.encode(buffer)


@on_linux
def test_the_page_of_a_secret_is_pinned_and_left_out_of_dumps(buffer: SecretBuffer) -> None:
    flags = flags_of(ctypes.addressof(ctypes.c_char.from_buffer(buffer._memory)))
    assert ("lo" in flags) == buffer.pinned
    assert "dd" in flags


def flags_of(address: int) -> list[str]:
    """What the kernel says of the mapping at an address (proc(5), VmFlags)."""
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            found = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif found and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("no mapping is there")


@on_linux
def test_where_no_memory_may_be_pinned_that_is_said_and_nothing_fails() -> None:
    run_function(use_a_secret_without_pinning)


def use_a_secret_without_pinning() -> None:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
    become_nobody()
    buffer = SecretBuffer.of(SECRET)
    assert not buffer.pinned
    assert not pin_process()
    with buffer.opened() as view:
        assert bytes(view) == SECRET


def become_nobody() -> None:
    """Be a user who may do nothing special."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


@on_linux
def test_a_hardened_process_hides_its_memory_and_environment_from_the_same_user() -> None:
    run_function(look_into_processes)


def look_into_processes() -> None:
    become_nobody()
    assert can_look(hardened=False)
    assert not can_look(hardened=True)


def can_look(*, hardened: bool) -> bool:
    """Whether a process of ours may read the memory of its child."""
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        set_dumpable()  # changing the user took it away
        if hardened:
            harden_process()
        os.write(ready[1], b"x")
        os.close(done[1])
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    seen = []
    for name in ("mem", "environ", "maps"):
        try:
            os.close(os.open(f"/proc/{child}/{name}", os.O_RDONLY))
        except PermissionError:
            continue
        seen.append(name)
    os.close(done[1])
    os.waitpid(child, 0)
    assert len(seen) in (0, 3), seen
    return bool(seen)


def set_dumpable() -> None:
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)


@on_linux
def test_a_hardened_process_leaves_no_core(tmp_path: Path) -> None:
    run_function(crash_in, tmp_path)


def crash_in(folder: str) -> None:
    os.chdir(folder)
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    if most and Path("/proc/sys/kernel/core_pattern").read_text().strip() == "core":
        assert dumps_core(hardened=False)
        for core in Path(folder).glob("core*"):
            core.unlink()
    assert not dumps_core(hardened=True)
    assert not list(Path(folder).iterdir())


def dumps_core(*, hardened: bool) -> bool:
    child = os.fork()
    if not child:
        if hardened:
            harden_process()
        os.kill(os.getpid(), signal.SIGSEGV)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGSEGV
    return os.WCOREDUMP(status)


@on_linux
def test_a_hardened_process_knows_it_and_what_it_starts_is_its_own_master_again() -> None:
    run_function(harden_and_start)


def harden_and_start() -> None:
    assert not is_hardened() or resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
    harden_process()
    harden_process()
    assert is_hardened()
    # As the inference worker is started; dumpable again, so that it can confine itself through /proc.
    run_function(see_a_fresh_process)


def see_a_fresh_process() -> None:
    assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 1
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
