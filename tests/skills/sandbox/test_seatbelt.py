"""The sandbox of macOS: its profile, read anywhere; what is the same on Linux, run there; and escapes, on a Mac."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skills.errors import JobRefused
from skills.sandbox import limited
from skills.sandbox.channel import channel, without_a_name
from skills.sandbox.ending import end_by_thread, end_of
from skills.sandbox.footprint import exceeds
from skills.sandbox.job import PYTHON, Ended, Job, Limits
from skills.sandbox.run import run
from skills.sandbox.seatbelt import Seatbelt, lay_out, orders_of
from skills.sandbox.seatbelt_profile import Profile, profile_of

Form = list["str | Form"]

FOLDER, BASE = Path("/private/var/folders/x/claw-1"), Path("/opt/python")
PROGRAM = BASE / "bin" / "python3.12"
HOSTILE = [
    '/a") (allow network*) ("',
    "/a (allow default)",
    "/a\n(allow file-write*)",
    '/a\\") #| ; comment',
    '/Ünïcode "param" \udcff',
    "/-D FOLDER=",
    "/a=b",
]


def forms(text: str) -> list[Form]:
    """The profile, read as the list of lists that it is. Strings keep their quotation marks."""
    top: list[Form] = []
    stack: list[Form] = []
    for line in text.splitlines():
        code = line if not line.startswith(";") else ""
        for word in _words(code):
            if word == "(":
                stack.append([])
            elif word == ")":
                form = stack.pop()
                (stack[-1] if stack else top).append(form)
            else:
                stack[-1].append(word)
    assert stack == []
    return top


def _words(code: str) -> Iterator[str]:
    word, quoted = "", False
    for letter in code:
        if quoted or (letter not in '() "' and letter):
            word += letter
            if letter == '"':
                quoted = False
                yield word
                word = ""
        elif letter == '"':
            assert not word
            word, quoted = '"', True
        else:
            if word:
                yield word
                word = ""
            if letter in "()":
                yield letter
    assert not quoted
    if word:
        yield word


def made(*read_only: str) -> Profile:
    return profile_of(FOLDER, BASE, [PROGRAM], [Path(path) for path in read_only])


def decisions(decision: str, text: str) -> dict[str, list[Form | str]]:
    """What is allowed, or denied, by operation."""
    found: dict[str, list[Form | str]] = {}
    for form in forms(text):
        if form[0] == decision:
            operations = [word for word in form[1:] if isinstance(word, str)]
            for operation in operations:
                found.setdefault(operation, []).extend(part for part in form[1:] if not isinstance(part, str))
    return found


# The profile


def test_everything_is_denied_first_and_the_worst_again_in_the_end() -> None:
    read = forms(made().text)
    assert read[:2] == [["version", "1"], ["deny", "default"]]
    last = max(number for number, form in enumerate(read) if form[0] == "allow")
    assert [form[1] for form in read[last + 1 :]] == [
        "network*",
        "process-fork",
        "mach-lookup",
        "ipc-posix*",
        "iokit-open",
    ]
    denied = decisions("deny", made().text)
    assert {"process-info*", "nvram*", "iokit-get-properties", "file-map-executable"} <= denied.keys()
    assert all(filters == [] for filters in denied.values()), "a denial has no exceptions"


def test_this_and_nothing_else_is_allowed() -> None:
    allowed = decisions("allow", made("/given").text)
    assert set(allowed) == {
        "process-exec",
        "file-read*",
        "file-map-executable",
        "file-read-metadata",
        "file-write-data",
        "signal",
        "sysctl-read",
    }
    assert all(allowed.values()), "nothing is allowed without saying of what"

    def of(name: str) -> Form:
        return ["param", f'"{name}"']

    assert allowed["process-exec"] == [["literal", of("PROGRAM_0")]]
    assert allowed["file-write-data"] == [
        ["literal", '"/dev/null"'],
        ["require-all", ["subpath", of("OUT")], ["vnode-type", "REGULAR-FILE"]],
    ]
    assert allowed["signal"] == [["target", "self"]]
    libraries: list[Form | str] = [
        ["subpath", f'"{path}"']
        for path in (
            "/usr/lib",
            "/System/Library",
            "/System/Cryptexes/OS",
            "/System/Volumes/Preboot/Cryptexes/OS",
        )
    ]
    assert allowed["file-map-executable"] == [
        ["literal", of("PROGRAM_0")],
        *libraries,
        ["subpath", of("PYTHON")],
    ]
    assert allowed["file-read*"] == [
        ["literal", of("PROGRAM_0")],
        ["literal", '"/"'],
        *libraries,
        ["subpath", of("PYTHON")],
        *([["literal", f'"/dev/{name}"'] for name in ("null", "random", "urandom")]),
        ["subpath", of("FOLDER")],
        ["subpath", of("READ_0")],
    ]


def test_no_name_of_the_machine_and_nothing_of_other_processes_is_told() -> None:
    names = [str(form[1]).strip('"') for form in decisions("allow", made().text)["sysctl-read"]]
    assert len(names) == len(set(names))
    assert not [name for name in names if "host" in name or name.startswith(("kern.proc", "net.", "kern.boot"))]
    assert all(not name.endswith((".", "*")) for name in names)


def test_every_rule_says_what_it_is_for() -> None:
    lines = made("/given").text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("(allow "):
            assert lines[number - 1].startswith("; ")
            assert len(lines[number - 1]) > len("; a word")


def test_the_profile_is_ascii_and_whole() -> None:
    text = made(*HOSTILE).text
    assert text.isascii()
    assert all(form[0] in ("version", "deny", "allow") for form in forms(text))


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_is_a_parameter_and_never_a_part_of_the_text(path: str) -> None:
    hostile = profile_of(Path(path), Path(f"{path}/py"), [Path(f"{path}/py/bin")], [Path(f"{path}/read")])
    harmless = profile_of(Path("/f"), Path("/p"), [Path("/p/bin")], [Path("/read")])
    assert hostile.text == harmless.text
    assert hostile.parameters == {
        "FOLDER": path,
        "OUT": f"{path}/out",
        "PYTHON": f"{path}/py",
        "PROGRAM_0": f"{path}/py/bin",
        "READ_0": f"{path}/read",
    }


def test_every_parameter_is_given_and_spoken_of() -> None:
    for read_only in ([], ["/a"], ["/a", "/b", "/c"]):
        told = made(*read_only)
        spoken = {part[1].strip('"') for part in _parameters(forms(told.text))}
        assert spoken == set(told.parameters)


def _parameters(form: list[Form]) -> Iterator[list[str]]:
    for part in form:
        if isinstance(part, list):
            if part and part[0] == "param":
                yield [str(word) for word in part]
            yield from _parameters(part)  # type: ignore[arg-type]


# How it is started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "claw-1"
    made.mkdir()
    return made


def test_what_sandbox_exec_is_told(folder: Path) -> None:
    job = Job((*PYTHON, "in/it.py", "an argument"), read_only=(Path(f"{folder}/a=b (x)"),))
    with channel(job) as given:
        orders = json.loads(orders_of(folder, job, given))
    program, flag, text, *rest = orders["argv"]
    assert (program, flag) == ("/usr/bin/sandbox-exec", "-p")
    assert text.startswith("(version 1)\n(deny default)\n")
    defined = rest[: 2 * rest.count("-D")]
    assert set(defined[::2]) == {"-D"}
    named = dict(word.split("=", 1) for word in defined[1::2])
    assert named["READ_0"] == f"{os.path.realpath(folder)}/a=b (x)"
    assert named["PROGRAM_0"] == str(Path(sys.executable).resolve())
    assert rest[len(defined) :] == [named["PROGRAM_0"], *PYTHON[1:], "in/it.py", "an argument"]
    assert set(orders["environment"]) == {"PATH", "LANG", "HOME", "CLAW_PROGRESS"}
    limits = {what: values for what, *values in orders["limits"]}
    assert resource.RLIMIT_CPU in limits
    assert resource.RLIMIT_FSIZE in limits
    assert limits[resource.RLIMIT_CORE] == [0, 0]


@pytest.mark.parametrize(("name", "found"), [("cat", "/usr/bin/cat"), ("no-such-program", None), ("in/it", None)])
def test_a_program_is_named_by_its_whole_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, found: str | None
) -> None:
    (folder.parent / "in").mkdir()
    ours = folder.parent / "in" / "it"
    ours.touch(mode=0o700)
    monkeypatch.chdir(folder.parent)  # what lies where we are is not what is meant
    job = Job((name,))
    with channel(job) as given:
        argv = json.loads(orders_of(folder, job, given))["argv"]
    assert os.path.realpath(argv[-1]) == os.path.realpath(found or folder / name)


def test_more_than_one_process_is_refused() -> None:
    job = Job((*PYTHON, "-c", ""), limits=Limits(processes=2))
    with channel(job) as given, pytest.raises(JobRefused, match="more than one process"):
        Seatbelt().start(job, given)


def test_elsewhere_it_says_that_it_is_of_macos() -> None:
    if sys.platform == "darwin":
        pytest.skip("this is a Mac")
    assert Seatbelt().why_not() == "Seatbelt is a part of macOS"


# Its parts that are the same on Linux


def test_what_goes_in_is_laid_out_and_what_comes_out_is_read_from_its_file(folder: Path) -> None:
    job = Job(("cat",), {"a": b"1", "deep/er/b": b"2"}, ("result", "spare"))
    with channel(job) as given:
        lay_out(folder, job, given)
        assert (folder / "in" / "deep" / "er" / "b").read_bytes() == b"2"
        (folder / "out" / "result").write_bytes(b"written twice")
        (folder / "out" / "result").write_bytes(b"written")
        assert given.written(100) == {"result": b"written"}
        assert given.written(3) == {}
        assert [path.stat().st_mode & 0o777 for path in (folder / "out").iterdir()] == [0o600, 0o600]
        assert not any(os.get_inheritable(descriptor) for descriptor in given.outputs.values())


def test_limits_are_taken_before_another_program_is_begun(folder: Path) -> None:
    text = "import os, resource; print(os.getcwd(), resource.getrlimit(resource.RLIMIT_FSIZE), sorted(os.environ))"
    orders = {
        "argv": [sys.executable, "-I", "-S", "-c", text],
        "folder": str(folder),
        "environment": {"ONLY": "this"},
        "limits": [[resource.RLIMIT_FSIZE, 4096, 4096]],
    }
    descriptor = without_a_name()
    os.write(descriptor, json.dumps(orders).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(limited.__file__), str(descriptor)],
        pass_fds=[descriptor],
        env={"SECRET": "canary"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(descriptor)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{folder} (4096, 4096) ['")
    assert "'ONLY'" in done.stdout
    assert "SECRET" not in done.stdout


def test_a_file_without_a_name_holds_what_is_written() -> None:
    descriptor = without_a_name()
    os.write(descriptor, b"words")
    assert os.pread(descriptor, 10, 0) == b"words"
    assert os.fstat(descriptor).st_nlink == 0
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("watch", [end_of, end_by_thread])
def test_the_end_of_a_process_is_heard(watch: object) -> None:
    import select

    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    assert process.stdin
    with watch(process) as descriptor:  # type: ignore[operator]
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(0) == []
        process.stdin.close()
        assert poll.poll(60_000)
    assert process.wait() in (0, 1)


def test_a_process_that_is_watched_by_a_thread_is_ended_when_nobody_waits_any_more() -> None:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
    before = len(os.listdir("/dev/fd"))
    with end_by_thread(process):
        pass
    assert process.returncode == -9
    assert len(os.listdir("/dev/fd")) == before


def test_the_memory_that_a_process_takes_is_seen() -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            "held = bytearray(64 << 20); held[::4096] = held[::4096]; print(1); input()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    with process.stdin, process.stdout:
        process.stdout.readline()
        assert exceeds(process.pid, 32 << 20)
        assert not exceeds(process.pid, 1 << 30)
    process.wait()
    assert not exceeds(process.pid, 0)


# On a Mac

ATTEMPTS = """
import json, os, socket, subprocess, sys
given = json.load(open("in/given.json"))
out = {}

def attempt(name, work):
    try:
        work()
    except OSError as error:
        out[name] = ""
    except Exception as error:
        out[name] = ""
    else:
        out[name] = "allowed"

def reach(family, kind, address):
    made = socket.socket(family, kind)
    made.settimeout(2)
    made.sendto(b"x", address) if kind == socket.SOCK_DGRAM else made.connect(address)

attempt("tcp", lambda: reach(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", given["port"])))
attempt("tcp6", lambda: reach(socket.AF_INET6, socket.SOCK_STREAM, ("::1", given["port"])))
attempt("udp", lambda: reach(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 9)))
attempt("unix", lambda: reach(socket.AF_UNIX, socket.SOCK_STREAM, given["listener"]))
attempt("syslog", lambda: reach(socket.AF_UNIX, socket.SOCK_DGRAM, "/private/var/run/syslog"))
attempt("bind", lambda: socket.socket().bind(("127.0.0.1", 0)))
attempt("name server", lambda: socket.getaddrinfo("example.org", 80))
attempt("read", lambda: open(given["canary"]).read())
attempt("read home", lambda: os.listdir(os.path.dirname(given["canary"])))
attempt("read users", lambda: os.listdir("/Users"))
attempt("read etc", lambda: open("/etc/passwd").read())
attempt("read keychains", lambda: os.listdir("/Library/Keychains"))
attempt("write", lambda: open(given["canary"], "a").write("x"))
attempt("write tmp", lambda: open("/tmp/claw-escaped", "w"))
attempt("new output", lambda: open("out/other", "w"))
attempt("rename output", lambda: os.rename("out/found.json", "out/other"))
attempt("remove output", lambda: os.unlink("out/found.json"))
attempt("link output", lambda: os.symlink(given["canary"], "out/link"))
attempt("change input", lambda: open("in/given.json", "a").write("x"))
attempt("mode of input", lambda: os.chmod("in/given.json", 0o777))
attempt("fork", os.fork)
attempt("spawn", lambda: os.posix_spawn("/bin/ls", ["ls"], {}))
attempt("exec of a shell", lambda: os.execv("/bin/sh", ["sh", "-c", "true"]))
attempt("subprocess", lambda: subprocess.run(["/usr/bin/true"]))
attempt("signal", lambda: os.kill(given["pid"], 0))
attempt("terminal", lambda: os.openpty())
attempt("process list", lambda: [1][bool(not __import__("ctypes").CDLL(None).proc_listallpids(None, 0) > 0)])
attempt("environment", lambda: os.environ["CANARY"])
attempt("descriptor", lambda: os.fstat(given["descriptor"]))
json.dump(out, open("out/found.json", "w"))
"""


@pytest.mark.skipif(sys.platform != "darwin", reason="Seatbelt is a part of macOS: this needs a Mac")
def test_nothing_gets_out_on_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setenv("CANARY", "canary")
    canary = tmp_path / "canary.txt"
    canary.write_text("canary outside")
    left_open = os.open(canary, os.O_RDONLY)
    os.set_inheritable(left_open, True)
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as listener:
        port.bind(("127.0.0.1", 0))
        port.listen()
        listener.bind(str(tmp_path / "l"))
        listener.listen()
        given = {
            "canary": str(canary),
            "port": port.getsockname()[1],
            "listener": str(tmp_path / "l"),
            "pid": os.getpid(),
            "descriptor": left_open,
        }
        inputs = {"attempts.py": ATTEMPTS.encode(), "given.json": json.dumps(given).encode()}
        outcome = run(Job((*PYTHON, "in/attempts.py"), inputs, ("found.json",)), Seatbelt())
    os.close(left_open)
    assert outcome.ok, outcome
    assert canary.read_text() == "canary outside"
    found = json.loads(outcome.outputs["found.json"])
    assert len(found) >= 25
    assert {name for name, what in found.items() if what} == set()


@pytest.mark.skipif(sys.platform != "darwin", reason="Seatbelt is a part of macOS: this needs a Mac")
def test_limits_end_a_job_on_a_mac() -> None:
    text = "held = []\nwhile True: held.append(b'x' * (1 << 20))"
    outcome = run(Job((*PYTHON, "-c", text), limits=Limits(memory=128 << 20)), Seatbelt())
    assert outcome.ended is Ended.KILLED
    outcome = run(Job((*PYTHON, "-c", "while True: pass"), limits=Limits(cpu_s=1)), Seatbelt())
    assert outcome.ended is Ended.KILLED
