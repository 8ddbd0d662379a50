"""The embedded model as skills see it: counts, answers of one form, and stopping."""

import json
import os
import signal
import threading
from pathlib import Path

import msgspec
import pytest

from agent.errors import ContextOverflow, ModelError, WorkerError
from agent.inference import Inference
from agent.models.embedded import EMBEDDED_NAME
from agent.skill_model import SkillModel
from agent.worker.protocol import ChatMessage
from tests.agent.talk import ENDLESS, GREEDY, QUESTION, ask, busy, pid_of, wait_until, when, worker
from tests.tiny_model import tiny_gguf
from vault.model_store import ModelRecord

RECORD = ModelRecord(EMBEDDED_NAME, "", "ab" * 32, 0, "", "llama", 8192, 0, "Q4_1", "", 0)
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
)


@pytest.fixture
def model(shared: Inference) -> SkillModel:
    return SkillModel(shared, RECORD)


def test_it_is_named_as_the_model_is(model: SkillModel, shared: Inference) -> None:
    assert (model.name, model.sha256) == (EMBEDDED_NAME, "ab" * 32)
    assert model.context == shared.ready().context


@pytest.mark.parametrize("text", ["", "fox", "The fox went to the river and drank. " * 20, "Füchse 🦊"])
def test_what_a_text_counts_is_what_it_adds_to_a_prompt(model: SkillModel, shared: Inference, text: str) -> None:
    def prompt(said: str) -> int:
        return ask(
            shared, ChatMessage("user", said), sampling=msgspec.structs.replace(GREEDY, max_tokens=1)
        ).end.prompt_tokens

    # Between two lines of their own: what stands at a seam may share a token with its neighbour.
    assert prompt(f"a\n{text}\nb") - prompt("a\n\nb") in range(model.count(text) - 1, model.count(text) + 2)


def test_a_control_token_that_a_text_spells_counts_as_text(model: SkillModel) -> None:
    assert model.count("<|im_start|>") > 1


def test_an_example_has_the_tokens_that_asking_and_answering_would_have_had(shared: Inference) -> None:
    answer = ask(shared, QUESTION)
    assert answer.end.tokens is not None
    made = shared.encode([QUESTION], answer.text)
    assert len(made.prompt) == 4 * answer.end.prompt_tokens
    assert made.reply[:-4] == answer.end.tokens
    assert len(made.reply) == len(answer.end.tokens) + 4  # and the one that ended it


def test_a_control_token_that_an_example_spells_stays_text(shared: Inference) -> None:
    plain, spelled = (shared.encode([ChatMessage("user", "x")], text) for text in ("", "<|im_end|>"))
    end = plain.reply
    assert len(end) == 4
    assert spelled.reply.endswith(end)
    assert spelled.reply.count(end) == 1


def test_a_model_without_a_chat_template_makes_no_examples(tmp_path: Path) -> None:
    with worker(tiny_gguf(tmp_path / "bare.gguf", template=None)) as bare, pytest.raises(ModelError):
        bare.encode([QUESTION], "red")


def test_nothing_is_counted_while_a_question_is_answered(shared: Inference) -> None:
    events = shared.generate([QUESTION], ENDLESS, reserve=32)
    next(events)
    with pytest.raises(WorkerError, match="still answering"):
        shared.count("fox")
    events.close()
    assert shared.count("fox") == 1


def test_counting_after_the_worker_died_starts_another(smollm: Path) -> None:
    with worker(smollm) as own:
        os.kill(pid_of(own), signal.SIGKILL)
        wait_until(lambda: own.process_id is None)
        assert own.count("fox") == 1


def test_an_answer_fits_its_schema(model: SkillModel) -> None:
    told: list[str] = []
    answer = model.ask(
        "You name colours.", "Which colour has grass?", schema=SCHEMA, max_tokens=32, on_text=told.append
    )
    assert json.loads(answer.text)["colour"] in ("red", "green")
    assert answer.finish == "stop"
    assert "".join(told) == answer.text
    assert answer.prompt_tokens > answer.completion_tokens > 0


def test_the_same_question_has_the_same_answer(model: SkillModel) -> None:
    first = model.ask("", "Name three colours.", max_tokens=12)
    assert first.finish == "length"
    assert model.ask("", "Name three colours.", max_tokens=12).text == first.text


def test_an_answer_can_be_stopped(model: SkillModel, shared: Inference) -> None:
    stop = threading.Event()

    def cancel() -> None:
        stop.set()
        shared.cancel()

    thread = when(busy(pid_of(shared), 0.1), cancel)
    answer = model.ask("", "Tell a long story about a fox.", max_tokens=4000, temperature=1.0, stop=stop)
    thread.join()
    assert answer.finish == "cancelled"
    assert model.ask("", "Hello", max_tokens=2, stop=stop).finish == "cancelled"
    assert model.ask("", "Hello", max_tokens=2).finish != "cancelled"


def test_what_does_not_fit_the_window_is_refused(model: SkillModel) -> None:
    with pytest.raises(ContextOverflow):
        model.ask("", "fox " * (model.context + 1), max_tokens=8)
