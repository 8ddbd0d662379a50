"""The process that holds the key: what it hides, how it starts and ends, and who may speak with it."""

import contextlib
import ctypes
import fcntl
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.fixtures.processes import ends, run_function, start_function
from tests.vault.test_memory import NOBODY, become_nobody
from vault.errors import VaultError
from vault.holder import KeyHolder
from vault.holder.address import reachable, socket_paths
from vault.holder.peer import peer
from vault.holder.protocol import MOST_SETUP_BYTES, Get, Setup, Status
from vault.home import Home
from vault.keys import MasterKey, VaultId
from vault.lock import LockLatch, LockLimits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="keys are held on Linux alone")

LIMITS = LockLimits(900, on_suspend=True)
WITHIN_S = 20
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def process_of(holder: KeyHolder) -> psutil.Process:
    """The process that answers for a holder."""
    with socket.socket(socket.AF_UNIX) as connection, reachable(address(holder)) as reached:
        connection.connect(reached)
        return psutil.Process(peer(connection)[0])


def address(holder: KeyHolder) -> Path:
    return holder._paths[0]


def same(key: MasterKey | None, master: MasterKey) -> bool:
    return key is not None and key.expose() == master.expose() and key.vault_id == master.vault_id


def test_later_commands_get_the_key_from_it(home: Home, holder: KeyHolder, master: MasterKey) -> None:
    held = holder.start(master, LIMITS)
    assert held.vault_id == master.vault_id
    assert held.left_s is not None
    assert 0 < held.left_s <= 900
    assert same(KeyHolder(home).key(master.vault_id), master)
    assert KeyHolder(home).touch() is not None
    assert KeyHolder(home).key(VaultId("cd" * 16)) is None


def test_without_one_nobody_has_the_key(holder: KeyHolder, master: MasterKey) -> None:
    assert holder.key(master.vault_id) is None
    assert holder.status() is None
    assert holder.touch() is None
    assert not holder.end()


# What it hides


def test_it_is_detached_from_who_started_it(holder: KeyHolder, master: MasterKey) -> None:
    held = holder.start(master, LIMITS)
    process = process_of(holder)
    assert held.hardened
    assert process.cmdline()[1:] == ["-I", "-m", "vault.holder"]
    assert process.terminal() is None
    assert os.getsid(process.pid) == process.pid
    assert "Max core file size        0                    0" in Path(f"/proc/{process.pid}/limits").read_text()
    assert not process.children()


def test_nobody_but_root_can_look_into_it(holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LIMITS)
    folder = Path(f"/proc/{process_of(holder).pid}")
    for name in ("mem", "environ", "maps", "fd", "cwd"):
        if os.geteuid() == 0:
            assert folder.joinpath(name).stat().st_uid == 0
        else:
            with pytest.raises(PermissionError):
                os.listdir(folder / name) if name in ("fd", "cwd") else folder.joinpath(name).read_bytes()


@as_root
def test_it_has_no_environment_no_key_in_its_arguments_and_no_file_of_ours(
    holder: KeyHolder, master: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAW_CANARY", "osprey")
    holder.start(master, LIMITS)
    folder = Path(f"/proc/{process_of(holder).pid}")
    assert folder.joinpath("environ").read_bytes() == b""
    for form in (master.expose(), master.expose().hex().encode()):
        assert form not in folder.joinpath("cmdline").read_bytes()
    assert os.readlink(folder / "cwd") == "/"
    opened = {os.readlink(link) for link in folder.joinpath("fd").iterdir()}
    assert {name for name in opened if name.startswith("/")} == {"/dev/null", f"{address(holder)}.lock"}


def test_it_is_nobodys_child_so_that_it_outlives_who_started_it(holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LIMITS)
    assert process_of(holder).ppid() != os.getpid()
    with pytest.raises(ChildProcessError):
        os.waitpid(process_of(holder).pid, os.WNOHANG)


def test_only_its_owner_can_reach_the_socket(holder: KeyHolder, master: MasterKey, loose_umask: None) -> None:
    holder.start(master, LIMITS)
    status = address(holder).stat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert stat.S_IMODE(address(holder).parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(address(holder).with_suffix(".sock.lock").stat().st_mode) == 0o600


def test_it_leaves_no_core_when_it_crashes(home: Home) -> None:
    run_function(crash_the_holder, home.data)


def crash_the_holder(folder: str) -> None:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: its end is told to us
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    before = set(Path("/").glob("core*"))
    home = Home.locate({"CLAW_HOME": folder})
    home.vault.mkdir(parents=True)
    holder = KeyHolder(home, {})
    holder.start(MasterKey(bytes(32), VaultId("ab" * 16)), LIMITS)
    process = process_of(holder)
    process.send_signal(signal.SIGSEGV)
    _, status = os.waitpid(process.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert not os.WCOREDUMP(status)
    assert set(Path("/").glob("core*")) == before


@as_root
def test_another_user_is_not_answered_even_where_the_folder_lets_them_in(
    tmp_path: Path, holder: KeyHolder, master: MasterKey
) -> None:
    holder.start(master, LIMITS)
    place = address(holder)
    for folder in [place.parent, *place.parent.parents]:
        if folder.is_relative_to("/tmp/") and folder.stat().st_uid == 0:
            folder.chmod(0o755)
    place.chmod(0o666)
    run_function(ask_as_somebody_else, place)
    assert same(holder.key(master.vault_id), master)


def ask_as_somebody_else(path: str) -> None:
    from vault.frames import frame

    become_nobody()
    for request in (Get(vault_id="0123456789abcdef" * 2), Status()):
        with socket.socket(socket.AF_UNIX) as connection, reachable(Path(path)) as reached:
            connection.connect(reached)
            with contextlib.suppress(ConnectionError):
                connection.sendall(frame(request))
                assert connection.recv(4096) == b""


@as_root
def test_a_process_of_another_user_in_its_place_is_told_nothing(
    home: Home, holder: KeyHolder, master: MasterKey
) -> None:
    place = address(holder)
    place.parent.mkdir()
    for folder in [place.parent, *place.parent.parents]:
        if folder.is_relative_to("/tmp/") and folder.stat().st_uid == 0:
            folder.chmod(0o755)
    os.chown(place.parent, NOBODY, NOBODY)
    with start_function(listen_as_somebody_else, place) as impostor:
        assert impostor.stdout is not None
        assert impostor.stdout.readline() == "listening\n"
        for use in (holder.status, holder.touch, holder.end, lambda: holder.key(master.vault_id)):
            with pytest.raises(VaultError, match="another user"):
                use()
        impostor.kill()
        assert impostor.stdout.read() == ""


def listen_as_somebody_else(path: str) -> None:
    become_nobody()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(Path(path).parent)
        listener.bind(Path(path).name)
        listener.listen()
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            if said := connection.recv(4096):
                print(said, flush=True)


# Its end


def test_a_lock_ends_it(holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LIMITS)
    process = process_of(holder)
    assert holder.end()
    assert ends(process.pid, 0)
    assert not address(holder).exists()
    assert holder.key(master.vault_id) is None


def test_a_lock_ends_one_that_does_not_listen(holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LIMITS)
    process = process_of(holder)
    process.suspend()
    assert holder.key(master.vault_id) is None
    assert holder.end()
    assert ends(process.pid, 0)


def test_a_latch_ends_it(home: Home, holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LIMITS)
    process = process_of(holder)
    LockLatch(home.data).engage()
    assert ends(process.pid)


def test_it_ends_by_itself_after_a_while(holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LockLimits(0.5))
    with contextlib.suppress(OSError):  # it may have ended by now
        assert ends(process_of(holder).pid)
    assert holder.key(master.vault_id) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(holder: KeyHolder, master: MasterKey, number: signal.Signals) -> None:
    holder.start(master, LIMITS)
    process = process_of(holder)
    process.send_signal(number)
    assert ends(process.pid)
    assert not address(holder).exists()


def test_it_ends_when_the_home_is_gone(home: Home, holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LIMITS)
    process = process_of(holder)
    shutil.rmtree(home.data, ignore_errors=True)  # it removes its own socket meanwhile
    assert ends(process.pid)


# Its start


def test_the_socket_that_a_killed_one_left_is_replaced(holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LIMITS)
    process = process_of(holder)
    process.kill()
    assert ends(process.pid)
    assert address(holder).exists()
    assert holder.status() is None
    assert not holder.end()
    holder.start(master, LIMITS)
    assert same(holder.key(master.vault_id), master)


def test_a_new_key_takes_the_place_of_the_old(holder: KeyHolder, master: MasterKey) -> None:
    holder.start(master, LIMITS)
    old = process_of(holder)
    fresh = MasterKey.generate(master.vault_id)
    holder.start(fresh, LIMITS)
    assert same(holder.key(master.vault_id), fresh)
    assert ends(old.pid, 0)


def test_of_those_who_start_it_at_once_one_wins(home: Home, holder: KeyHolder, master: MasterKey) -> None:
    together = threading.Barrier(4)
    held: list[str] = []

    def start() -> None:
        together.wait()
        held.append(KeyHolder(home).start(master, LIMITS).vault_id)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == [master.vault_id] * 4
    assert same(holder.key(master.vault_id), master)
    survivor = process_of(holder)
    assert holder.end()
    assert ends(survivor.pid, 0)
    assert holder.status() is None
    with address(holder).with_suffix(".sock.lock").open() as alone:  # every one of them would hold it
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_one_that_is_given_no_key_ends(holder: KeyHolder) -> None:
    for given in (b"", b"\0\0\0\1", b"\xff\xff\xff\xff", setup_without_a_key(holder)):
        assert run_holder(given) == b""


def setup_without_a_key(holder: KeyHolder) -> bytes:
    from vault.frames import frame

    setup = frame(Setup("ab" * 16, "/nowhere", "/nowhere", str(address(holder)), LIMITS))
    assert len(setup) < MOST_SETUP_BYTES
    return setup + bytes(31)


def run_holder(given: bytes) -> bytes:
    """What the bare process says to what it is given; read until nobody holds its output any more."""
    done = subprocess.run(
        [sys.executable, "-I", "-m", "vault.holder"], input=given, capture_output=True, timeout=WITHIN_S, env={}
    )
    assert done.stderr == b""
    return done.stdout


def test_a_folder_that_can_not_be_made_is_an_error(home: Home, holder: KeyHolder, master: MasterKey) -> None:
    (home.data / "run").write_text("a file")
    with pytest.raises(VaultError, match="can't be written"):
        holder.start(master, LIMITS)


def test_a_wiped_key_starts_nothing(holder: KeyHolder, master: MasterKey) -> None:
    master.wipe()
    with pytest.raises(VaultError):
        holder.start(master, LIMITS)
    assert holder.status() is None


# Its place


def test_it_answers_in_the_sessions_own_folder_if_that_is_ours(home: Home, tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir(mode=0o700)
    first, second = socket_paths(home.vault, home.data, {"XDG_RUNTIME_DIR": str(session)})
    assert first.parent == session / "openclaw-core"
    assert second.parent == home.data / "run"
    assert first.name == second.name
    for other in ("", "relative", str(tmp_path / "missing"), *(["/proc/1"] if os.geteuid() else [])):
        assert socket_paths(home.vault, home.data, {"XDG_RUNTIME_DIR": other}) == [second]


@as_root
def test_another_users_session_is_not_ours(home: Home, tmp_path: Path) -> None:
    session = tmp_path / "session"
    session.mkdir()
    os.chown(session, NOBODY, NOBODY)
    assert len(socket_paths(home.vault, home.data, {"XDG_RUNTIME_DIR": str(session)})) == 1


def test_each_vault_has_its_own_and_a_link_to_it_the_same(home: Home, tmp_path: Path) -> None:
    home.vault.mkdir(parents=True)
    (tmp_path / "link").symlink_to(home.data)
    (name,) = {path.name for path in socket_paths(home.vault, home.data, {})}
    (linked,) = {path.name for path in socket_paths(tmp_path / "link" / "vault", home.data, {})}
    (other,) = {path.name for path in socket_paths(tmp_path / "other", home.data, {})}
    assert name == linked != other


def test_one_in_another_place_is_found_and_ended_too(
    home: Home, holder: KeyHolder, master: MasterKey, tmp_path: Path
) -> None:
    session = tmp_path / "session"
    session.mkdir(mode=0o700)
    holder.start(master, LIMITS)
    from_a_session = KeyHolder(home, {"XDG_RUNTIME_DIR": str(session)})
    assert same(from_a_session.key(master.vault_id), master)
    assert from_a_session.end()
    assert holder.status() is None


def test_a_path_longer_than_a_sockets_may_be_is_no_matter(tmp_path: Path, master: MasterKey) -> None:
    home = Home.locate({"CLAW_HOME": str(tmp_path / ("long" * 30) / ("longer" * 30))})
    home.vault.mkdir(parents=True)
    holder = KeyHolder(home, {})
    holder.start(master, LIMITS)
    try:
        assert same(holder.key(master.vault_id), master)
    finally:
        assert holder.end()


def test_a_hardened_process_of_no_special_user_reaches_it_by_a_long_path(tmp_path: Path) -> None:
    run_function(reach_as_nobody, "long" * 40)


def reach_as_nobody(name: str) -> None:
    import tempfile

    from vault.memory import harden_process

    become_nobody()
    harden_process()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name / "s.sock"
        path.parent.mkdir()
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
            with reachable(path) as reached:
                listener.bind(reached)
                listener.listen()
                caller.connect(reached)
            assert peer(caller) == (os.getpid(), os.geteuid())
