"""Questions to the embedded model and its replies: history, sampling, stopping and the context window."""

import array
import json
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from agent.errors import ModelError, WorkerDied, WorkerError
from agent.inference import Inference, Overfull, probe
from agent.worker.protocol import ChatMessage, Delta, Evaluated, Finished
from tests.agent.talk import (
    ENDLESS,
    GREEDY,
    LONG,
    QUESTION,
    answer,
    ask,
    busy,
    counting,
    pid_of,
    when,
    worker,
)
from tests.tiny_model import tiny_gguf
from vault.sanitize import sanitize
from vault.settings import InferenceSettings

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


# A trial load


def test_a_candidate_is_probed_in_a_worker_of_its_own(tiny_model: Path) -> None:
    children = psutil.Process().children()
    with tiny_model.open("rb") as file:
        assert probe(file.fileno()).context == 512
    assert psutil.Process().children() == children
