"""The embedder as a process: what confines it, how it ends, and what one that lies achieves."""

import contextlib
import os
import signal
import stat
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from skills.embedding.embedder import Embedder
from skills.embedding.files import Located
from skills.embedding.head import Verdict
from skills.embedding.protocol import Decided, Embedded, Failed, Progress, Ready, Setup, Subject
from skills.errors import EmbedderDied, EmbedderError, EmbedderRefused
from tests.agent.talk import wait_until
from tests.fixtures.processes import ends, run_function, start_function, without_seccomp
from tests.skills.embedding.heads import head_of
from vault.frames import FrameReader


def pid_of(embedder: Embedder) -> int:
    assert embedder.process_id is not None
    return embedder.process_id


# Confinement


def test_it_is_confined_in_all_its_threads(shared: Embedder) -> None:
    shared.start()
    for task in Path(f"/proc/{pid_of(shared)}/task").iterdir():
        status = (task / "status").read_text()
        assert "Seccomp:\t2\n" in status
        assert "NoNewPrivs:\t1\n" in status


def test_it_sees_nothing_of_the_environment(installed: Located, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with Embedder(installed) as embedder:
        embedder.start()
        environment = Path(f"/proc/{pid_of(embedder)}/environ").read_text()
    names = {entry.split("=")[0] for entry in environment.split("\0")}
    assert names == {"LC_ALL", "GLIBC_TUNABLES", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", ""}


def test_it_holds_its_pipes_and_nothing_else_once_it_is_loaded(installed: Located, tmp_path: Path) -> None:
    with (tmp_path / "private").open("w"), Embedder(installed) as embedder:
        embedder.start()
        folder = Path(f"/proc/{pid_of(embedder)}/fd")
        held = sorted(os.readlink(link).split(":")[0] for link in folder.iterdir())
    assert held == sorted(["/dev/null", "/dev/null", "/memfd", "pipe", "pipe"])


def test_it_has_no_torch_no_vault_and_no_language_model(shared: Embedder) -> None:
    shared.start()
    maps = Path(f"/proc/{pid_of(shared)}/maps").read_text()
    assert "numpy" in maps
    assert not any(name in maps for name in ("torch", "sqlcipher", "llama"))


def test_before_it_has_read_a_byte_of_its_files_it_can_reach_nothing_else() -> None:
    assert "looked around" in run_function(look_around).stderr


def look_around() -> None:
    """Run by the test above in a process of its own, which becomes an embedder that looks around once it is one."""
    import ctypes
    import socket

    from skills.embedding.worker import __main__ as worker
    from skills.embedding.worker.weights import Unreadable

    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getppid()
    attempts: dict[str, Callable[[], object]] = {
        "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write a file": lambda: os.open("/tmp/kept", os.O_WRONLY | os.O_CREAT),
        "list a folder": lambda: os.listdir("/"),
        "look at a file": lambda: os.stat("/etc/passwd"),
        "see processes": lambda: os.open(f"/proc/{parent}/mem", os.O_RDONLY),
        "make a socket": lambda: socket.socket(socket.AF_INET),
        "make a datagram socket": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        "make a Unix socket": lambda: socket.socket(socket.AF_UNIX),
        "speak with the kernel": lambda: socket.socket(16, socket.SOCK_RAW),
        "fork": lambda: os.fork() or os._exit(0),
        "start a program": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "signal": lambda: os.kill(parent, 0),
    }
    numbers = {"ptrace": 101, "keyctl": 250, "io_uring_setup": 425, "unshare": 272, "bpf": 321, "userfaultfd": 323}
    if os.uname().machine != "x86_64":
        numbers = {}

    class Curious:
        def __init__(self, *_: object) -> None:
            done = []
            for what, attempt in attempts.items():
                with contextlib.suppress(PermissionError):
                    attempt()
                    done.append(what)
            done += [name for name, number in numbers.items() if libc.syscall(number, 0, 0, 0, 0) >= 0]
            raise Unreadable(f"tried {len(attempts)}, could {done}")

    worker.Service = Curious  # type: ignore[misc, assignment]
    requests, asking = os.pipe()
    hearing, replies = os.pipe()
    os.write(asking, frame(Setup(0, 0, threads=1, idle_s=1.0)))
    os.dup2(requests, 0)
    os.dup2(replies, 1)
    worker.main()
    said = FrameReader(hearing, Failed).read()
    assert said == Failed(0, "files", f"tried {len(attempts)}, could []"), said
    os.write(2, b"looked around")


def embed_unconfined(*located: str) -> None:
    """Run by the test below in a process of its own."""
    without_seccomp()
    with Embedder(Located(*map(Path, located))) as embedder:
        with pytest.raises(EmbedderError, match="can't be confined here") as caught:
            embedder.start()
        assert "isn't run without" in caught.value.hint
        assert embedder.process_id is None


def test_where_it_cannot_be_confined_it_does_not_run(hollow: Located) -> None:
    run_function(embed_unconfined, *hollow)


def test_the_app_itself_imports_neither_torch_nor_numpy(hollow: Located) -> None:
    run_function(ask_and_look, *hollow)


def ask_and_look(*located: str) -> None:
    """Run by the test above in a process of its own."""
    from skills.bundled.intents import Choice, Router

    with Embedder(Located(*map(Path, located))) as embedder, pytest.raises(EmbedderRefused):
        Router.learn(embedder, [Choice("weather", "Tells the weather.")])
    assert not {"torch", "numpy", "transformers"}.intersection(sys.modules)


# How it ends


def test_killed_while_idle_it_is_started_anew(installed: Located) -> None:
    with Embedder(installed) as embedder:
        before = embedder.embed(["hello"])
        first = pid_of(embedder)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: embedder.process_id is None)
        assert embedder.embed(["hello"]) == before
        assert pid_of(embedder) != first


def test_killed_at_work_it_says_so_and_is_started_anew_with_what_it_needs(installed: Located) -> None:
    with Embedder(installed) as embedder:
        head = embedder.learn([Subject("weather", ("Tells the weather.",)), Subject("time", ("Tells the time.",))])
        assert embedder.decide("is it raining", head).label == 0

        def kill_it(_done: int, _total: int) -> None:
            os.kill(pid_of(embedder), signal.SIGKILL)

        with pytest.raises(EmbedderDied, match=r"ended unexpectedly \(signal SIGKILL\)") as caught:
            embedder.embed(["how are you"] * 3000, kill_it)
        assert "ask again" in caught.value.hint
        assert embedder.decide("is it raining", head).label == 0


def test_with_nothing_to_do_it_ends_and_the_next_question_starts_it_again(installed: Located) -> None:
    with Embedder(installed, idle_s=0.01) as embedder:
        head = embedder.learn([Subject("weather", ("Tells the weather.",)), Subject("time", ("Tells the time.",))])
        for _ in range(2):
            assert embedder.decide("what time is it", head).label == 1
            wait_until(lambda: embedder.process_id is None)


def test_an_interrupt_between_two_messages_ends_it_and_the_next_question_is_answered(installed: Located) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with Embedder(installed) as embedder:
        with pytest.raises(KeyboardInterrupt):
            embedder.embed(["how are you"] * 600, interrupt)
        assert embedder.process_id is None
        assert len(embedder.embed(["hello"])) == 1


def hold_one(*located: str) -> None:
    """Run by the test below in a process of its own."""
    with Embedder(Located(*map(Path, located))) as embedder:
        embedder.start()
        print(embedder.process_id, flush=True)
        signal.pause()


def test_it_ends_with_an_app_that_is_killed(installed: Located) -> None:
    with start_function(hold_one, *installed) as app:
        assert app.stdout is not None
        orphan = int(app.stdout.readline())
        app.kill()
    assert ends(orphan)


def test_ended_ones_leave_no_process_and_no_descriptor(installed: Located, hollow: Located) -> None:
    before, children = len(os.listdir("/proc/self/fd")), psutil.Process().children()
    for _ in range(2):
        with Embedder(installed) as embedder:
            embedder.start()
        with Embedder(hollow) as embedder, pytest.raises(EmbedderRefused):
            embedder.start()
    assert len(os.listdir("/proc/self/fd")) == before
    assert psutil.Process().children() == children


def test_questions_of_several_threads_are_each_answered_with_their_own(shared: Embedder) -> None:
    texts = [f"question number {number}" for number in range(6)]
    alone = [shared.embed([text]) for text in texts]
    together: dict[int, list[bytes]] = {}

    def ask(number: int) -> None:
        together[number] = shared.embed([texts[number]])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(6)] == alone


# One that lies

HEAD = head_of("weather", "time")
READY = Ready(0.1)
VERDICT = Verdict(0, 0.9, ((0, 0.9), (1, 0.1)))


def frame(message: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(message)
    return struct.pack(">I", len(body)) + body


@pytest.fixture
def impostor(hollow: Located, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Embedder]]:
    """Starts a process that says what it is told to and then ends, or waits."""
    with contextlib.ExitStack() as stack:

        def start(said: bytes, *, then: str = "sys.stdin.buffer.read()") -> Embedder:
            script = tmp_path / "impostor"
            script.write_text(f"#!{sys.executable}\nimport os, signal, sys\nos.write(1, {said!r})\n{then}\n")
            script.chmod(stat.S_IRWXU)
            monkeypatch.setattr(sys, "executable", str(script))
            return stack.enter_context(Embedder(hollow))

        yield start


def test_an_impostor_that_keeps_to_the_protocol_would_be_believed(impostor: Callable[..., Embedder]) -> None:
    assert impostor(frame(READY) + frame(Decided(1, VERDICT))).decide("hi", HEAD) == VERDICT


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff\xff\xff\xff",
        struct.pack(">I", (64 << 20) + 1),
        struct.pack(">I", 1) + b"\xc0",
        frame(Decided(1, VERDICT)),
        frame(READY) + frame(READY),
        frame(READY) + frame(Decided(2, VERDICT)),
        frame(READY) + frame(Progress(7, 1, 1)),
        frame(READY) + frame(Embedded(1, b"")),
        frame(READY) + frame(Decided(1, Verdict(0, 0.9, ()))),
        frame(READY) + frame(Decided(1, Verdict(1, 0.9, ((0, 0.9), (1, 0.1))))),
        frame(READY) + frame(Decided(1, Verdict(2, 0.9, ((2, 0.9),)))),
        frame(READY) + frame(Decided(1, Verdict(-1, 0.9, ((-1, 0.9),)))),
        frame(READY) + b"\xff\xff\xff\xff",
    ],
)
def test_one_that_speaks_nonsense_is_ended(impostor: Callable[..., Embedder], said: bytes) -> None:
    embedder = impostor(said)
    with pytest.raises(EmbedderDied, match="it answered nonsense"):
        embedder.decide("hi", HEAD)
    assert embedder.process_id is None


def test_vectors_of_another_number_than_was_asked_for_are_nonsense(impostor: Callable[..., Embedder]) -> None:
    embedder = impostor(frame(READY) + frame(Embedded(1, bytes(384 * 4))))
    with pytest.raises(EmbedderDied, match="it answered nonsense"):
        embedder.embed(["one", "two"])


@pytest.mark.parametrize(
    ("said", "then", "how"),
    [
        (b"", "sys.exit(3)", "exit code 3"),
        (frame(READY)[:3], "sys.exit(0)", "exit code 0"),
        (frame(READY), "sys.stdin.buffer.read(8); sys.exit(1)", "exit code 1"),
        (b"", "os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
        (b"", "sys.exit('\\x1b]52;c;aGk=\\x07out of luck')", r"exit code 1: \]52;c;aGk=out of luck"),
    ],
)
def test_one_that_ends_is_reported_with_how_it_ended(
    impostor: Callable[..., Embedder], said: bytes, then: str, how: str
) -> None:
    with pytest.raises(EmbedderDied, match=rf"\({how}\)"):
        impostor(said, then=then).decide("hi", HEAD)


@pytest.mark.parametrize("said", [b"", frame(READY)])
def test_one_that_always_ends_as_if_it_had_nothing_to_do_is_not_asked_for_ever(
    impostor: Callable[..., Embedder], said: bytes
) -> None:
    with pytest.raises(EmbedderDied):
        impostor(said, then="sys.exit(0)").decide("hi", HEAD)


def test_what_it_says_of_its_failure_is_sanitized(impostor: Callable[..., Embedder]) -> None:
    with pytest.raises(EmbedderRefused) as caught:
        impostor(frame(Failed(0, "files", "\x1b[2Jbad\x07"))).start()
    assert "\x1b" not in str(caught.value)
    assert "[2Jbad" in str(caught.value)


@pytest.mark.parametrize("kind", ["memory", "internal"])
def test_a_question_that_fails_leaves_it_running(impostor: Callable[..., Embedder], kind: str) -> None:
    failed = Failed(1, kind, "of this and that")  # type: ignore[arg-type]
    embedder = impostor(frame(READY) + frame(failed) + frame(Decided(2, VERDICT)))
    with pytest.raises(EmbedderError, match="of this and that"):
        embedder.decide("hi", HEAD)
    assert embedder.decide("hi", HEAD) == VERDICT
