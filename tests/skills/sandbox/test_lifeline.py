"""What runs is ended, and what it was given is removed, also where we are killed and can do neither."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.cgroup import Cgroup
from skills.sandbox.job import Job
from skills.sandbox.landlocked import Landlocked
from skills.sandbox.leftovers import claim, sweep
from skills.sandbox.run import run
from skills.sandbox.walls import Walls

TIERS: dict[str, type[Walls]] = {"bubblewrap": Bubblewrap, "landlock": Landlocked}
MEMORY = Path("/dev/shm")
OWNER = """
import os, resource, sys
from pathlib import Path
from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.job import PYTHON, Job
from skills.sandbox.landlocked import Landlocked
from skills.sandbox.run import run
from skills.sandbox.lifeline import Lifeline

tier, program, fifo, mark = sys.argv[1:]
inputs = {"program.py": program.encode(), "call.json": b"private: " + mark.encode()}
walls = {"bubblewrap": Bubblewrap, "landlock": Landlocked}[tier]()

def killed(*arguments):
    print(*arguments, flush=True)
    os.kill(os.getpid(), 9)

write = os.write
def write_and_be_killed(descriptor, data):
    write(descriptor, data)
    if data == b"\\n":
        killed()

{moment}
run(Job((*PYTHON, "in/program.py", fifo, mark), inputs, read_only=(Path(fifo),)), walls)
"""
MOMENTS = {
    "before the lifeline knows of it": "Lifeline.tell = lambda _, process: killed(process)",
    "before it has limits": "resource.prlimit = killed",
    "as soon as it may run": "os.write = write_and_be_killed",
}
SLEEPS = "import os, sys, time\nos.open(sys.argv[1], os.O_RDONLY)\ntime.sleep(600)\n"
HIDES = (
    "import os, sys, threading, time\n"
    "held = os.open(sys.argv[1], os.O_RDONLY)\n"
    "os.set_inheritable(held, True)\n"
    "try: os.setsid()\n"
    "except OSError: pass\n"
    "become = lambda: os.execv('/usr/bin/sleep', ['sleep', '600'])\n"
    "threading.Thread(target=become).start()\n"
    "time.sleep(600)\n"
)


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    if why_not := TIERS[request.param]().why_not():
        pytest.skip(why_not)
    return str(request.param)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    made = tmp_path / "fifo"
    os.mkfifo(made)
    return made


@pytest.fixture
def owned(tier: str, fifo: Path) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Starts a process that runs a program behind the walls."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str, moment: str = "") -> "subprocess.Popen[bytes]":
        arguments = [tier, program, str(fifo), mark_of(fifo)]
        owner = OWNER.replace("{moment}", moment)
        started.append(subprocess.Popen([sys.executable, "-c", owner, *arguments], stdout=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()
    for pid in running(mark_of(fifo)):  # what a test that fails found
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def mark_of(fifo: Path) -> str:
    return f"{fifo.parent.name} {os.getpid()}"


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def kept(mark: str) -> list[Path]:
    """What lies in memory of a job with this mark."""
    found = []
    for path in MEMORY.glob("claw-run-*/in/call.json"):
        try:
            found += [path] if mark in path.read_text() else []
        except OSError:
            continue
    return found


def running(mark: str) -> list[str]:
    def command_line(pid: str) -> str:
        try:
            return Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            return ""

    return [pid for pid in os.listdir("/proc") if pid.isdigit() and mark in command_line(pid)]


@pytest.mark.parametrize("program", [SLEEPS, HIDES], ids=["waits", "leaves its group and becomes another"])
def test_a_program_dies_with_its_owner_and_what_it_was_given_goes_too(
    program: str, fifo: Path, owned: Callable[[str], "subprocess.Popen[bytes]"], tier: str
) -> None:
    owner = owned(program)
    read_by_it = os.open(fifo, os.O_WRONLY)  # waits until it reads
    assert bool(kept(mark_of(fifo))) is (tier == "landlock")
    owner.kill()
    poll = select.poll()
    poll.register(read_by_it, 0)
    assert poll.poll(30_000) == [(read_by_it, select.POLLERR)]  # nobody holds the other end
    os.close(read_by_it)
    wait_until(lambda: not kept(mark_of(fifo)) and not running(mark_of(fifo)))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_program_whose_owner_is_killed_while_it_starts_does_not_run(
    moment: str, fifo: Path, owned: Callable[[str, str], "subprocess.Popen[bytes]"], tier: str
) -> None:
    if tier == "landlock" and "knows" not in moment:
        pytest.skip("it takes its limits itself, and is never kept waiting")
    for _ in range(5):  # it would get away most of the time, not always
        owner = owned(SLEEPS, MOMENTS[moment])
        said, _ = owner.communicate()
        assert owner.returncode == -signal.SIGKILL
        its_own = [Path("/proc", word.decode()) for word in said.split()[:1]]
        wait_until(lambda: not running(mark_of(fifo)) and not any(path.exists() for path in its_own))  # noqa: B023
    wait_until(lambda: not kept(mark_of(fifo)))


def test_what_everybody_was_killed_too_early_to_remove_is_removed_by_the_next_run(tmp_path: Path) -> None:
    nobodys, lock = claim(tmp_path)
    os.close(lock)
    used, lock = claim(tmp_path)
    foreign = tmp_path / "something else"
    foreign.mkdir()
    sweep(tmp_path, Path.rmdir)
    assert sorted(tmp_path.iterdir()) == sorted((used, foreign))
    os.close(lock)
    sweep(tmp_path, Path.rmdir)
    assert list(tmp_path.iterdir()) == [foreign]
    assert nobodys != used


def test_what_is_swept_before_it_is_held_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Path.mkdir
    swept: list[Path] = []

    def make_and_be_swept(folder: Path, mode: int = 0o777) -> None:
        made(folder, mode)
        if len(swept) < 3:
            swept.append(folder)
            sweep(tmp_path, Path.rmdir)

    monkeypatch.setattr(Path, "mkdir", make_and_be_swept)
    folder, lock = claim(tmp_path)
    os.close(lock)
    assert list(tmp_path.iterdir()) == [folder]
    assert len(set(swept)) == 3


def test_the_next_run_removes_what_was_left_in_memory_and_nothing_in_use(
    fifo: Path, owned: Callable[[str], "subprocess.Popen[bytes]"], tier: str
) -> None:
    if tier != "landlock":
        pytest.skip("nothing of it lies in a folder")
    left, lock = claim(MEMORY)
    os.close(lock)
    owned(SLEEPS)
    with open(fifo, "wb"):
        assert not left.exists()
        assert run(Job(("true",)), TIERS[tier]()).ok
        assert kept(mark_of(fifo))


def test_a_control_group_that_was_left_is_removed_by_the_next() -> None:
    left, used = Cgroup.create(1 << 28, 10), Cgroup.create(1 << 28, 10)
    if not left._folders:
        pytest.skip("this system lets us make none")
    for lock in left._locks:
        os.close(lock)
    another = Cgroup.create(1 << 28, 10)
    assert not any(folder.exists() for folder in left._folders)
    assert all(folder.exists() for folder in (*used._folders, *another._folders))
    used.remove()
    another.remove()
