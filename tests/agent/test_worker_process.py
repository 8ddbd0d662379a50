"""The worker as a process: how it dies, what confines it, and what one that lies achieves."""

import array
import contextlib
import fcntl
import os
import signal
import stat
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from agent.errors import ModelRefused, Unconfined, WorkerDied
from agent.inference import Inference
from agent.worker.protocol import ChatMessage, Delta, Failed, Finished, Ready
from tests.agent.talk import (
    ENDLESS,
    LONG,
    QUESTION,
    Answer,
    ask,
    busy,
    counting,
    pid_of,
    wait_until,
    when,
    worker,
)
from tests.fixtures.processes import run_function, start_function, without_seccomp
from vault.settings import InferenceSettings


def kill(inference: Inference) -> None:
    os.kill(pid_of(inference), signal.SIGKILL)


# A worker that dies


def test_a_worker_killed_while_idle_is_started_anew_for_the_next_question(tiny: Inference) -> None:
    expected = ask(tiny, QUESTION).text
    before = pid_of(tiny)
    kill(tiny)
    wait_until(lambda: tiny.process_id is None)

    assert ask(tiny, QUESTION).text == expected
    assert pid_of(tiny) != before


def test_a_worker_killed_while_it_reads_the_prompt_is_reported_and_started_anew(smollm: Path) -> None:
    with worker(smollm) as inference:
        thread = when(busy(pid_of(inference), 0.3), lambda: kill(inference))
        with pytest.raises(WorkerDied, match=r"ended unexpectedly \(signal SIGKILL\)") as caught:
            ask(inference, LONG)
        thread.join()

        assert "ask again" in caught.value.hint
        assert ask(inference, QUESTION).text


def test_a_worker_killed_while_it_writes_is_reported_after_the_text_so_far(smollm: Path, right_count: str) -> None:
    with worker(smollm) as inference:
        reply = inference.generate([QUESTION], ENDLESS, reserve=32)
        first = next(event for event in reply if isinstance(event, Delta))
        kill(inference)
        with pytest.raises(WorkerDied, match="SIGKILL"):
            list(reply)

        assert first.text
        assert ask(inference, *counting(4)).text == right_count


def test_a_message_that_does_not_fit_the_workers_memory_ends_it_and_no_one_waits(tiny_model: Path) -> None:
    with worker(tiny_model, InferenceSettings(memory_limit_mb=170)) as inference:
        with pytest.raises(WorkerDied, match="exit code 1: MemoryError"):
            ask(inference, ChatMessage("user", "x" * 200_000_000))
        assert ask(inference, QUESTION).end.completion_tokens == 16


def test_workers_that_die_or_end_leave_no_process_and_no_descriptor(tiny_model: Path) -> None:
    def open_descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, children = open_descriptors(), psutil.Process().children()
    for _ in range(3):
        with worker(tiny_model) as inference:
            ask(inference, QUESTION)
            kill(inference)
            wait_until(lambda: inference.process_id is None)
            ask(inference, QUESTION)
            with contextlib.closing(inference.generate([QUESTION], ENDLESS, reserve=32)) as reply:
                next(reply)
            inference.close()

    assert open_descriptors() == before
    assert psutil.Process().children() == children


def hold_a_worker(model: str, doing: str) -> None:
    """Run by the test below in a process of its own: ask without end, or nothing."""
    with worker(Path(model)) as inference:
        inference.ready()
        reply = inference.generate([QUESTION], ENDLESS, reserve=32)
        if doing == "answering":
            next(reply)
        print(inference.process_id, flush=True)
        signal.pause()


@pytest.mark.parametrize("doing", ["answering", "idle"])
def test_a_worker_ends_with_an_app_that_is_killed(smollm: Path, doing: str) -> None:
    with start_function(hold_a_worker, smollm, doing) as app:
        assert app.stdout is not None
        orphan = psutil.Process(int(app.stdout.readline()))
        app.kill()

    gone, alive = psutil.wait_procs([orphan], timeout=60)
    assert orphan in gone, alive


def test_two_workers_with_the_same_open_file_harm_each_other_not(tiny_model: Path) -> None:
    with worker(tiny_model) as first, worker(tiny_model) as second:
        first.start()
        second.start()
        assert ask(first, QUESTION).text == ask(second, QUESTION).text


# Confinement


def test_a_worker_is_confined_and_says_so(shared: Inference) -> None:
    assert shared.ready().confinement == "seccomp"
    for task in Path(f"/proc/{pid_of(shared)}/task").iterdir():
        status = (task / "status").read_text()
        assert "Seccomp:\t2\n" in status
        assert "NoNewPrivs:\t1\n" in status


def test_a_worker_sees_nothing_of_the_environment(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with worker(tiny_model) as inference:
        environment = Path(f"/proc/{pid_of(inference)}/environ").read_text()

    assert "hf_secret" not in environment
    assert {entry.split("=")[0] for entry in environment.split("\0")} <= {
        "LC_ALL",
        "GLIBC_TUNABLES",
        "GOMP_SPINCOUNT",
        "",
    }


def test_a_worker_holds_the_model_its_pipes_and_nothing_else(tiny_model: Path, tmp_path: Path) -> None:
    with (tmp_path / "private").open("w"), worker(tiny_model) as inference:
        ask(inference, QUESTION)
        folder = Path(f"/proc/{pid_of(inference)}/fd")
        held = sorted(os.readlink(link).split(":")[0] for link in folder.iterdir())

    assert held == sorted(["/dev/null", "/dev/null", "/memfd", "pipe", "pipe", str(tiny_model)])


def test_a_worker_gives_itself_up_first_when_memory_runs_out(shared: Inference) -> None:
    assert Path(f"/proc/{pid_of(shared)}/oom_score_adj").read_text().strip() == "1000"


def ask_unconfined(model: str) -> None:
    """Run by the test below in a process of its own."""
    without_seccomp()
    with worker(Path(model)) as inference, pytest.raises(Unconfined, match="can't be confined here") as caught:
        inference.ready()
    assert "inference.confinement off" in caught.value.hint
    with worker(Path(model), InferenceSettings(confinement="off")) as inference:
        assert inference.ready().confinement == "none"
        assert ask(inference, QUESTION).end.completion_tokens == 16


def test_where_it_cannot_be_confined_a_worker_runs_only_if_the_settings_allow_it(tiny_model: Path) -> None:
    run_function(ask_unconfined, tiny_model)


# A worker that lies

READY = Ready(context=512, confinement="seccomp", gpu=False, load_s=0.0)
FINISHED = Finished(
    id=1,
    finish="stop",
    tokens=None,
    prompt_tokens=1,
    cached_tokens=0,
    completion_tokens=1,
    prefill_s=0.0,
    decode_s=0.0,
    first_token_s=0.0,
    peak_memory=0,
)


def frame(message: msgspec.Struct) -> bytes:
    body = msgspec.msgpack.encode(message)
    return struct.pack(">I", len(body)) + body


@pytest.fixture
def impostor(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Inference]]:
    """Starts a worker that is none: it says what it is told to and then ends, or waits."""
    with contextlib.ExitStack() as stack:

        def start(said: bytes, *, then: str = "sys.stdin.buffer.read()") -> Inference:
            script = tmp_path / "impostor"
            script.write_text(f"#!{sys.executable}\nimport os, signal, sys\nos.write(1, {said!r})\n{then}\n")
            script.chmod(stat.S_IRWXU)
            monkeypatch.setattr(sys, "executable", str(script))
            return stack.enter_context(worker(tiny_model))

        yield start


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff\xff\xff\xff",
        struct.pack(">I", 5) + b"\xc1\xc1\xc1\xc1\xc1",
        struct.pack(">I", 1) + b"\xc0",
        frame(Delta(1, "too early")),
        frame(FINISHED),
        frame(READY) + frame(READY),
        frame(READY) + frame(Delta(2, "another question's")),
        frame(READY) + frame(msgspec.structs.replace(FINISHED, id=9)),
        frame(READY) + frame(Failed(0, "internal", "of no question")),
        frame(READY) + b"\xff\xff\xff\xff",
    ],
)
def test_a_worker_that_speaks_nonsense_is_ended(impostor: Callable[..., Inference], said: bytes) -> None:
    inference = impostor(said)
    with pytest.raises(WorkerDied, match="it answered nonsense"):
        ask(inference, QUESTION)
    assert inference.process_id is None


def test_an_interrupt_in_the_middle_of_a_message_leaves_no_rest_of_it_behind(
    impostor: Callable[..., Inference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_said = tmp_path / "half said"
    inference = impostor(frame(READY)[:9], then=f"open({str(half_said)!r}, 'w').close(); signal.pause()")
    main_thread = threading.get_ident()

    def half_read() -> bool:
        process = inference._worker._process if inference._worker is not None else None
        if process is None or process.stdout is None or not half_said.exists():
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(process.stdout.fileno(), termios.FIONREAD, waiting)
        return waiting[0] == 0

    thread = when(half_read, lambda: signal.pthread_kill(main_thread, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        inference.ready()
    thread.join()
    monkeypatch.undo()

    assert ask(inference, QUESTION).end.completion_tokens == 16


@pytest.mark.parametrize(
    ("said", "then", "how"),
    [
        (b"", "sys.exit(3)", "exit code 3"),
        (b"", "os.close(0); sys.exit(3)", "exit code 3"),
        (frame(READY)[:6], "sys.exit(0)", "exit code 0"),
        (frame(READY), "sys.exit(0)", "exit code 0"),
        (frame(READY) + frame(Delta(1, "half"))[:9], "sys.exit(1)", "exit code 1"),
        (b"", "os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV"),
        (b"", "os.kill(os.getpid(), signal.SIGRTMIN + 3)", "signal 37"),
        (b"", "sys.exit('\\x1b]52;c;aGk=\\x07out of luck')", r"exit code 1: \]52;c;aGk=out of luck"),
    ],
)
def test_a_worker_that_ends_is_reported_with_how_it_ended(
    impostor: Callable[..., Inference], said: bytes, then: str, how: str
) -> None:
    inference = impostor(said, then=then)
    with pytest.raises(WorkerDied, match=rf"\({how}\)"):
        ask(inference, QUESTION)


def test_what_a_worker_says_of_its_failure_is_sanitized(impostor: Callable[..., Inference]) -> None:
    inference = impostor(frame(Failed(0, "model", "\x1b[2Jbad\x07")))
    with pytest.raises(ModelRefused) as caught:
        ask(inference, QUESTION)
    assert "\x1b" not in str(caught.value)
    assert "[2Jbad" in str(caught.value)


def test_text_with_escapes_never_reaches_the_caller_raw_and_takes_its_tokens_along(
    impostor: Callable[..., Inference],
) -> None:
    end = msgspec.structs.replace(FINISHED, tokens=b"\1\0\0\0")
    inference = impostor(
        frame(READY) + frame(Delta(1, "a\x1b]52;c;aGk=\x07b")) + frame(Delta(1, "\u200b")) + frame(end)
    )
    reply: Answer = ask(inference, QUESTION)

    assert reply.text == "a]52;c;aGk=b"
    assert reply.end.tokens is None
    assert all(event.text for event in reply.events if isinstance(event, Delta))
