"""The worker process and the embedded model, as the app uses them."""

import array
import contextlib
import ctypes
import fcntl
import json
import os
import random
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

from agent.errors import ModelError, ModelRefused, ModelTooLarge, Unconfined, WorkerDied, WorkerError
from agent.inference import Inference, Overfull, probe
from agent.worker.protocol import ChatMessage, Delta, Evaluated, Failed, Finished, Ready
from tests.agent.talk import ENDLESS, GREEDY, QUESTION, Answer, answer, ask, counting, wait_until, worker
from tests.fixtures.processes import run_function, start_function
from tests.tiny_model import tiny_gguf
from vault.sanitize import sanitize
from vault.settings import InferenceSettings

LONG = ChatMessage("user", "The fox went to the river and drank. " * 400)
"""More than two thousand tokens: seconds of evaluation."""


def pid_of(inference: Inference) -> int:
    inference.ready()
    process_id = inference.process_id
    assert process_id is not None
    return process_id


def busy(process_id: int, seconds: float) -> Callable[[], bool]:
    """Whether a process has computed for so many seconds since now."""
    process = psutil.Process(process_id)
    before = sum(process.cpu_times()[:2])
    return lambda: sum(process.cpu_times()[:2]) - before >= seconds


def when(condition: Callable[[], bool], action: Callable[[], object]) -> threading.Thread:
    """Do something from another thread as soon as a condition holds."""

    def wait_and_act() -> None:
        wait_until(condition)
        action()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def kill(inference: Inference) -> None:
    os.kill(pid_of(inference), signal.SIGKILL)


@pytest.fixture(scope="module")
def right_count(smollm: Path) -> str:
    """What a worker that has done nothing else answers to `counting(4)`."""
    with worker(smollm) as fresh:
        return ask(fresh, *counting(4)).text


# History as tokens


def test_a_later_turn_evaluates_only_its_new_message(shared: Inference) -> None:
    system = ChatMessage("system", "You are terse.")
    first = ask(shared, system, QUESTION)
    reply = ChatMessage("assistant", first.text, first.end.tokens)
    second = ask(shared, system, QUESTION, reply, ChatMessage("user", "And two more?"))
    reply_two = ChatMessage("assistant", second.text, second.end.tokens)
    third = ask(
        shared, system, QUESTION, reply, ChatMessage("user", "And two more?"), reply_two, ChatMessage("user", "Ok?")
    )

    assert second.end.cached_tokens >= first.end.prompt_tokens + first.end.completion_tokens - 1
    assert third.end.cached_tokens >= second.end.prompt_tokens + second.end.completion_tokens - 1
    assert third.end.prompt_tokens - third.end.cached_tokens < 20


def test_regenerating_evaluates_one_token(shared: Inference) -> None:
    first = ask(shared, QUESTION)
    again = ask(shared, QUESTION)

    assert again.end.cached_tokens == first.end.prompt_tokens - 1


def test_editing_a_message_reuses_what_comes_before_it(shared: Inference) -> None:
    first = ask(shared, QUESTION)
    reply = ChatMessage("assistant", first.text, first.end.tokens)
    ask(shared, QUESTION, reply, ChatMessage("user", "Are you sure?"))
    edited = ask(shared, QUESTION, reply, ChatMessage("user", "What about violet?"))

    assert edited.end.cached_tokens >= first.end.prompt_tokens + first.end.completion_tokens - 1


def test_a_reply_of_another_model_is_tokenized_from_its_text(shared: Inference) -> None:
    elsewhere = ask(shared, QUESTION, ChatMessage("assistant", "Mauve!"), ChatMessage("user", "Again: which?"))
    again = ask(shared, QUESTION, ChatMessage("assistant", "Mauve!"), ChatMessage("user", "Again: which?"))

    assert elsewhere.text == again.text
    assert again.end.cached_tokens == again.end.prompt_tokens - 1


# Sampling


def test_the_same_seed_gives_the_same_reply_and_others_give_others(shared: Inference) -> None:
    def reply(seed: int) -> str:
        return ask(shared, QUESTION, sampling=msgspec.structs.replace(GREEDY, temperature=1.2, seed=seed)).text

    ask(shared, QUESTION)
    assert reply(7) == reply(7)
    assert len({reply(seed) for seed in range(5)}) > 1


def test_at_temperature_zero_the_seed_is_without_effect(shared: Inference) -> None:
    ask(shared, QUESTION)
    replies = {ask(shared, QUESTION, sampling=msgspec.structs.replace(GREEDY, seed=s)).text for s in range(3)}

    assert len(replies) == 1


def test_a_stop_string_ends_the_reply_and_is_not_part_of_it(shared: Inference) -> None:
    whole = ask(shared, *counting(4)).text
    stop = whole[4:9]
    stopped = ask(shared, *counting(4), sampling=msgspec.structs.replace(GREEDY, stop=("never", stop)))

    assert stopped.text == whole[: whole.find(stop)]
    assert stopped.end.finish == "stop"
    assert stopped.end.tokens is None


def test_a_reply_ends_at_the_most_tokens_it_may_have(shared: Inference) -> None:
    five = ask(shared, QUESTION, sampling=msgspec.structs.replace(GREEDY, max_tokens=5))

    assert five.end.completion_tokens == 5
    assert five.end.finish == "length"


def test_a_reply_ends_where_the_window_does(tiny: Inference) -> None:
    full = ask(tiny, QUESTION, sampling=msgspec.structs.replace(ENDLESS, seed=3))

    assert full.end.finish in {"length", "stop"}
    assert full.end.prompt_tokens + full.end.completion_tokens <= tiny.ready().context


WEATHER = {"enum": ["sun", "rain"]}
ODD_VALUES = ['"', "\\", "\n", "🌈", "é", 1.5, None]
ODD_NAMES = ['the "name"', "sky\n🌈"]
SCHEMAS: list[tuple[object, Callable[[object], bool]]] = [
    ({"type": "boolean"}, lambda value: isinstance(value, bool)),
    ({"type": "integer"}, lambda value: isinstance(value, int)),
    ({"enum": ODD_VALUES}, lambda value: value in ODD_VALUES),
    (WEATHER, lambda value: value in ("sun", "rain")),
    (
        {"type": "array", "items": WEATHER, "minItems": 2, "maxItems": 3},
        lambda value: isinstance(value, list) and 2 <= len(value) <= 3 and {*value} <= {"sun", "rain"},
    ),
    (
        {
            "type": "object",
            "properties": {ODD_NAMES[0]: {"type": "string", "maxLength": 12}, ODD_NAMES[1]: WEATHER},
            "required": ODD_NAMES,
            "additionalProperties": False,
        },
        lambda value: isinstance(value, dict) and [*value] == ODD_NAMES,
    ),
]


@pytest.mark.parametrize(("schema", "fits"), SCHEMAS)
def test_a_reply_fits_its_schema_every_time(
    shared: Inference, schema: object, fits: Callable[[object], bool]
) -> None:
    for seed in range(4):
        sampling = msgspec.structs.replace(GREEDY, temperature=1.0, seed=seed, max_tokens=200)
        reply = ask(shared, ChatMessage("user", "Answer in JSON."), sampling=sampling, schema=json.dumps(schema))
        assert reply.end.finish == "stop"
        assert fits(json.loads(reply.text))


@pytest.mark.parametrize("schema", ["no JSON", '{"$ref": "https://example.org/s.json"}', '{"type": "nonsense"}'])
def test_an_unusable_schema_is_an_error_and_the_worker_goes_on(shared: Inference, schema: str) -> None:
    before = pid_of(shared)
    with pytest.raises(ModelError, match="schema"):
        ask(shared, QUESTION, schema=schema)

    assert ask(shared, QUESTION).text
    assert pid_of(shared) == before


def test_a_character_of_several_tokens_is_shown_whole(shared: Inference) -> None:
    wanted = "🌈 ⇄ 🦄 é"
    reply = ask(
        shared,
        ChatMessage("user", "Draw."),
        sampling=msgspec.structs.replace(GREEDY, max_tokens=80),
        schema=json.dumps({"const": wanted}),
    )

    assert json.loads(reply.text) == wanted
    assert reply.end.completion_tokens > len(reply.text)
    assert all("\ufffd" not in event.text for event in reply.events if isinstance(event, Delta))


# What a reply may hold


def test_what_a_model_says_reaches_the_caller_sanitized_and_its_tokens_only_if_they_spell_that(
    tiny: Inference,
) -> None:
    control_seen = False
    for seed in range(6):
        sampling = msgspec.structs.replace(GREEDY, temperature=5.0, seed=seed, max_tokens=120)
        reply = ask(tiny, ChatMessage("user", "?"), sampling=sampling)
        assert sanitize(reply.text) == reply.text
        if reply.end.tokens is not None:
            ids = array.array("i", reply.end.tokens)
            raw = bytes(number - 3 for number in ids).decode("utf-8", "replace")
            assert raw == reply.text
        else:
            control_seen = True
    assert control_seen, "random bytes hold control characters"


# Stopping


def test_a_reply_is_stopped_while_it_is_written_and_its_text_is_kept(smollm: Path, right_count: str) -> None:
    with worker(smollm) as inference:
        before = pid_of(inference)
        events = []
        for event in inference.generate([QUESTION], ENDLESS, reserve=32):
            events.append(event)
            if isinstance(event, Delta):
                inference.cancel()
        stopped = answer(events)

        assert stopped.end.finish == "cancelled"
        assert stopped.text
        assert ask(inference, *counting(4)).text == right_count
        assert pid_of(inference) == before


def test_a_long_prompt_is_stopped_in_the_middle_of_its_evaluation(smollm: Path, right_count: str) -> None:
    with worker(smollm) as inference:
        before = pid_of(inference)
        thread = when(busy(before, 0.3), inference.cancel)
        stopped = answer(list(inference.generate([LONG], ENDLESS, reserve=32)))
        thread.join()

        assert stopped.end.finish == "cancelled"
        assert stopped.end.completion_tokens == 0
        assert stopped.text == ""
        assert ask(inference, *counting(4)).text == right_count
        assert pid_of(inference) == before


def test_a_prompt_that_was_stopped_half_way_is_finished_rightly(smollm: Path) -> None:
    conversation = counting(11)
    with worker(smollm) as inference:
        reported = 0
        for event in inference.generate(conversation, GREEDY, reserve=32):
            if isinstance(event, Evaluated) and event.done and not reported:
                reported = event.done
                inference.cancel()
        finished = ask(inference, *conversation)
        with worker(smollm) as fresh:
            expected = ask(fresh, *conversation)

    assert finished.end.cached_tokens >= reported >= 512
    assert finished.text == expected.text


def test_stopping_when_nothing_is_asked_has_no_effect_on_what_is_asked_next(shared: Inference) -> None:
    shared.cancel()
    first = ask(shared, QUESTION)
    shared.cancel()

    assert ask(shared, QUESTION).text == first.text


def test_stopping_at_any_moment_leaves_worker_and_app_in_step(tiny: Inference) -> None:
    before = pid_of(tiny)
    expected = ask(tiny, QUESTION).text
    dice = random.Random(5)
    for _ in range(60):
        patience = dice.randrange(4)
        threads = []
        reply = tiny.generate([QUESTION], msgspec.structs.replace(ENDLESS, max_tokens=60), reserve=32)
        for seen, event in enumerate(reply):
            if seen == patience:
                threads.append(threading.Thread(target=tiny.cancel))
                threads[-1].start()
            last = event
        for thread in threads:
            thread.join()
        assert isinstance(last, Finished)

    assert ask(tiny, QUESTION).text == expected
    assert pid_of(tiny) == before


def test_closing_a_reply_early_stops_the_workers_work(shared: Inference) -> None:
    before = pid_of(shared)
    reply = shared.generate([QUESTION], ENDLESS, reserve=32)
    next(event for event in reply if isinstance(event, Delta))
    reply.close()

    assert ask(shared, *counting(4)).end.finish == "length"
    assert pid_of(shared) == before


def test_a_second_question_during_the_first_is_refused_and_harms_it_not(shared: Inference) -> None:
    reply = shared.generate([QUESTION], GREEDY, reserve=32)
    first = next(reply)
    with pytest.raises(WorkerError, match="still answering"):
        ask(shared, QUESTION)

    assert answer([first, *reply]).end.finish == "length"


def test_a_template_that_never_ends_is_ended_with_its_worker(tmp_path: Path) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with worker(tiny_gguf(tmp_path / "endless.gguf", template=endless)) as inference:
        thread = when(busy(pid_of(inference), 0.2), inference.cancel)
        with pytest.raises(WorkerDied, match="didn't stop when it was told to"):
            ask(inference, QUESTION)
        thread.join()


def test_stopping_while_the_model_loads_gives_the_loading_up(smollm: Path) -> None:
    with worker(smollm) as inference:
        inference.start()
        loading = inference.process_id
        thread = when(lambda: inference._loading, inference.cancel)
        with pytest.raises(WorkerDied, match="stopped while it loaded the model"):
            inference.ready()
        thread.join()

        assert ask(inference, QUESTION).text
        assert inference.process_id != loading


@pytest.mark.parametrize("moment", ["reading", "loading"])
def test_an_interrupt_at_any_moment_leaves_nothing_out_of_step(smollm: Path, moment: str) -> None:
    main_thread = threading.get_ident()

    def interrupt() -> None:
        signal.pthread_kill(main_thread, signal.SIGINT)

    with worker(smollm) as inference:
        if moment == "reading":
            thread = when(busy(pid_of(inference), 0.3), interrupt)
        else:
            thread = when(lambda: inference._loading, interrupt)
        with pytest.raises(KeyboardInterrupt):
            ask(inference, LONG)
        thread.join()

        assert ask(inference, QUESTION).end.finish == "length"


# The context window


def test_a_conversation_that_does_not_fit_is_refused_with_what_each_message_costs(smollm: Path) -> None:
    with worker(smollm, InferenceSettings(context=512)) as inference:
        assert inference.ready().context == 512
        with pytest.raises(Overfull) as caught:
            ask(inference, QUESTION, LONG, reserve=100)
        assert ask(inference, QUESTION).text

    question, long = caught.value.costs
    assert caught.value.room == 412
    assert question < 60 < 2000 < long


def test_the_reserve_takes_half_of_the_window_at_most(smollm: Path) -> None:
    with worker(smollm, InferenceSettings(context=256)) as inference:
        assert ask(inference, QUESTION, reserve=100_000).text


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


def without_seccomp() -> None:
    """Forbid this process and its children to install any more filters, as some containers do."""
    from skills.sandbox import seccomp

    _, number, _ = seccomp._MACHINES[os.uname().machine]
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    program = seccomp._Program(len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0


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


# Models that can't be used


@pytest.mark.parametrize("limit", [1, 20, 60, 100, 161])
def test_a_model_that_does_not_fit_the_memory_it_may_take_is_too_large(smollm: Path, limit: int) -> None:
    settings = InferenceSettings(memory_limit_mb=limit)
    with (
        worker(smollm, settings) as inference,
        pytest.raises(ModelTooLarge, match=r"There isn't enough memory: .*\w.*\.") as caught,
    ):
        inference.ready()
    assert caught.value.exit_code == 5


def test_a_window_that_does_not_fit_the_memory_is_refused_when_it_was_asked_for(smollm: Path) -> None:
    settings = InferenceSettings(memory_limit_mb=200, context=8192)
    with (
        worker(smollm, settings) as inference,
        pytest.raises(ModelTooLarge, match="a context window of 8192 tokens"),
    ):
        inference.ready()


def test_a_window_that_was_not_asked_for_is_as_large_as_the_memory_allows(smollm: Path) -> None:
    with worker(smollm, InferenceSettings(memory_limit_mb=320)) as inference:
        assert 512 <= inference.ready().context < 8192
        assert ask(inference, QUESTION).text


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all" * 1000])
def test_a_file_that_is_no_model_is_refused_with_llama_cpps_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with worker(path) as inference, pytest.raises(ModelRefused, match="gguf") as caught:
        inference.ready()
    assert caught.value.exit_code == 6


def test_a_model_cut_short_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_model.read_bytes()[:-50_000])
    with worker(path) as inference, pytest.raises(ModelRefused, match=r"llama\.cpp can't load this model: .+"):
        inference.ready()


def test_a_model_without_a_chat_template_says_that_it_does_not_converse(tmp_path: Path) -> None:
    with worker(tiny_gguf(tmp_path / "base.gguf", template=None)) as inference:
        with pytest.raises(ModelError, match="no chat template"):
            ask(inference, QUESTION)
        assert inference.process_id is not None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('tools only') }}", "tools only"),
        ("{% if %}", "doesn't parse"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages | pprint }}{{ missing.attribute }}", "missing"),
    ],
)
def test_a_template_that_fails_is_an_error_with_its_reason_and_the_worker_goes_on(
    tmp_path: Path, template: str, reason: str
) -> None:
    with worker(tiny_gguf(tmp_path / "odd.gguf", template=template)) as inference:
        before = pid_of(inference)
        for _ in range(2):
            with pytest.raises(ModelError, match=reason):
                ask(inference, QUESTION)
        assert pid_of(inference) == before


def test_a_candidate_is_probed_in_a_worker_of_its_own(tiny_model: Path) -> None:
    children = psutil.Process().children()
    with tiny_model.open("rb") as file:
        assert probe(file.fileno()).context == 512
    assert psutil.Process().children() == children


def test_two_workers_with_the_same_open_file_harm_each_other_not(tiny_model: Path) -> None:
    with worker(tiny_model) as first, worker(tiny_model) as second:
        first.start()
        second.start()
        assert ask(first, QUESTION).text == ask(second, QUESTION).text


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
        process = inference._process
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
