"""Every way out that we know, tried from inside each tier, as root and as an unprivileged person."""

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.job import PYTHON, Job, Outcome
from skills.sandbox.landlocked import Landlocked
from skills.sandbox.run import run
from skills.sandbox.walls import Walls
from tests.fixtures.processes import ROOT

PROBES = (Path(__file__).parent / "inside" / "probes.py").read_bytes()
TIERS: dict[str, type[Walls]] = {"bubblewrap": Bubblewrap, "landlock": Landlocked}
NOBODY = 65534


def try_everything(tier: str, folder: str) -> None:
    """Run all probes behind one tier, and say what came of them, as JSON."""
    print(json.dumps(found(TIERS[tier](), Path(folder))))


def found(walls: Walls, folder: Path, only: Sequence[str] = ()) -> dict[str, dict[str, object]]:
    """What came of the probes behind these walls: of all, or of some."""
    os.environ["CANARY_IN_THE_ENVIRONMENT"] = "canary"
    canary = folder / "canary.txt"
    canary.write_text("canary outside")
    with contextlib.suppress(OSError):  # not every file system has them
        os.setxattr(canary, "user.canary", b"canary outside")
    (folder / "link").symlink_to(canary)
    left_open = [os.open(canary, os.O_RDONLY), os.open(folder, os.O_RDONLY)]
    for descriptor in left_open:
        os.set_inheritable(descriptor, True)
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as listener, _datagrams(folder) as datagrams:
        port.bind(("127.0.0.1", 0))
        port.listen()
        listener.bind(str(folder / "listener"))
        listener.listen()
        outside = {
            "canary": str(canary),
            "folder": str(folder),
            "home": str(Path.home()),
            "root": os.geteuid() == 0,
            "pid": os.getpid(),
            "group": os.getpgrp(),
            "port": port.getsockname()[1],
            "listener": str(folder / "listener"),
            "datagrams": datagrams.getsockname(),
            "passed_on": 3,
            "only": only,
        }
        job = Job(
            (*PYTHON, "in/probes.py"),
            {"probes.py": PROBES, "outside.json": json.dumps(outside).encode()},
            ("found.json", "spare"),
        )
        outcome = run(job, walls)
    assert outcome.ok, (outcome, outcome.stderr.decode())
    assert canary.read_text() == "canary outside"
    assert sorted(path.name for path in folder.iterdir()) == ["canary.txt", "datagrams", "link", "listener"]
    return dict(json.loads(outcome.outputs["found.json"]))


def _datagrams(folder: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(folder / "datagrams"))
    return made


def as_nobody(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a function of this module as a person without rights, who may not enter our own folders."""
    home, base = "/srv/claw-test", "/srv/claw-python"
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    script = (
        f"mount -t tmpfs none /srv && mkdir -m 755 {home} {base} {home}/repository {home}/packages && "
        f"mount --bind {sys.base_prefix} {base} && mount --bind {ROOT} {home}/repository && "
        f"mount --bind {packages} {home}/packages && mkdir -m 777 {home}/folder && cd {home}/repository && "
        f'exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups "$@"'
    )
    interpreter = Path(base) / Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
    launch = (
        "import sys; from tests.skills.sandbox import test_escapes as t; getattr(t, sys.argv[1])(*sys.argv[2:])"
    )
    return subprocess.run(
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            script,
            "sh",
            str(interpreter),
            "-B",
            "-c",
            launch,
            *arguments,
            f"{home}/folder",
        ],
        env={"PYTHONPATH": f"{home}/repository:{home}/packages", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
    )


def say_outcome(tier: str, program: str, _folder: str) -> None:
    """Run a program behind one tier, beside many others of the same person, and say what came of it, as JSON."""
    others = [subprocess.Popen(["sleep", "600"]) for _ in range(100)]
    try:
        job = Job((*PYTHON, "in/program.py"), {"program.py": program.encode()})
        print(msgspec.json.encode(run(job, TIERS[tier]())).decode())
    finally:
        for other in others:
            other.kill()
            other.wait()


def outcome_as_nobody(tier: str, program: str) -> Outcome:
    """What comes of a program behind one tier when a person without rights runs it."""
    skip_unless_somebody_else_can_be()
    ended = as_nobody("say_outcome", tier, program)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return msgspec.json.decode(ended.stdout, type=Outcome)


def skip_unless_somebody_else_can_be() -> None:
    if os.geteuid():
        pytest.skip("this isn't root: the other tests are run by an ordinary person")
    if not shutil.which("setpriv"):
        pytest.skip("setpriv(1) isn't installed: nobody else to run as")
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/srv"], capture_output=True).returncode:
        pytest.skip("this system lets us mount nothing: nobody else could read our own Python")


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    if why_not := TIERS[request.param]().why_not():
        pytest.skip(why_not)
    return str(request.param)


def test_nothing_gets_out(tier: str, tmp_path: Path) -> None:
    tried = found(TIERS[tier](), tmp_path)
    assert len(tried) >= 60
    assert {title: probe["why"] for title, probe in tried.items() if probe["allowed"]} == {}


def test_nothing_gets_out_when_an_unprivileged_person_runs_it(tier: str) -> None:
    skip_unless_somebody_else_can_be()
    ended = as_nobody("try_everything", tier)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tried = json.loads(ended.stdout)
    assert len(tried) >= 60
    assert {title: probe["why"] for title, probe in tried.items() if probe["allowed"]} == {}


CLOSED_BY_THE_FILTER_ALONE = (
    *(
        "socket_inet_stream",
        "socket_inet_datagram",
        "socket_netlink_raw",
        "socket_vsock_stream",
        "socket_unix_stream",
    ),
    *("keys_of_the_session", "a_key_is_added", "tracing_is_asked_for", "a_user_namespace", "io_uring"),
    *("memory_without_a_limit_by_memfd", "shared_memory", "inotify", "personality", "dumps_of_our_core"),
)
NO_FILTER = """
import struct

def program_filter(*_, **__):
    return struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
"""


def test_without_the_filter_these_probes_would_get_out(
    tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skills.sandbox import bubblewrap, landlocked

    monkeypatch.setattr(bubblewrap, "program_filter", lambda *_, **__: struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    shutil.copytree(ROOT / "skills", tmp_path / "package" / "skills")
    (tmp_path / "package" / "skills" / "sandbox" / "program_filter.py").write_text(NO_FILTER)
    monkeypatch.setattr(landlocked, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "folder"
    folder.mkdir()
    tried = found(TIERS[tier](), folder, CLOSED_BY_THE_FILTER_ALONE)
    assert {title for title, probe in tried.items() if not probe["allowed"]} == {"dumps_of_our_core"}
