"""Runs of skills: what the model answered is known when the same run is begun again, and nowhere else."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.models.embedded import EMBEDDED_NAME, embedded_file
from agent.skill_model import SkillModel
from skills.bundled.task import Source, Task
from skills.errors import RunStopped
from skills.runs import Run, forget_runs
from tests.agent.talk import adapter, worker
from tests.lora_adapter import TINY, lora_gguf
from vault.model_store import ModelRecord
from vault.store import Vault

TASK = Task((Source("a", "text"),), "why?")
DIGEST = "12" * 32


@pytest.fixture(scope="module")
def model() -> Iterator[SkillModel]:
    record = ModelRecord(EMBEDDED_NAME, "", "ab" * 32, 0, "", "llama", 8192, 0, "Q4_1", "", 0)
    with worker(embedded_file()) as inference:
        yield SkillModel(inference, record)


def begun(vault: Vault, model: SkillModel, task: Task = TASK, digest: str = DIGEST) -> Run:
    return Run(vault, "a-skill", digest, task, model, threading.Event())


def test_an_answer_is_known_from_before_and_was_the_same(vault: Vault, model: SkillModel) -> None:
    first = begun(vault, model)
    assert not first.resumed
    said = first.ask("", "Name a colour.", max_tokens=4)
    again = begun(vault, model)
    assert again.resumed
    assert again.ask("", "Name a colour.", max_tokens=4) == said
    assert (again.usage.asked, again.usage.kept, again.usage.completion_tokens) == (1, 1, 0)


def test_what_is_asked_otherwise_is_asked_anew(vault: Vault, model: SkillModel) -> None:
    begun(vault, model).ask("", "Name a colour.", max_tokens=4)
    again = begun(vault, model)
    again.ask("", "Name a colour.", max_tokens=5)
    again.ask("Be brief.", "Name a colour.", max_tokens=4)
    again.ask("", "Name a color.", max_tokens=4)
    again.ask("", "Name a colour.", max_tokens=4, seed=1)
    assert again.usage.kept == 0


@pytest.mark.parametrize(
    ("task", "digest"),
    [
        (Task((Source("a", "other text"),), "why?"), DIGEST),
        (Task((Source("a", "text"),), "how?"), DIGEST),
        (Task((Source("a", "te"), Source("b", "xt")), "why?"), DIGEST),
        (TASK, "34" * 32),
    ],
)
def test_another_input_question_or_version_is_another_run(
    vault: Vault, model: SkillModel, task: Task, digest: str
) -> None:
    begun(vault, model).ask("", "Name a colour.", max_tokens=2)
    assert not begun(vault, model, task, digest).resumed


def test_another_adapter_is_another_run_with_answers_of_its_own(
    vault: Vault, tiny_model: Path, tmp_path: Path
) -> None:
    record = ModelRecord("tiny", "", "ab" * 32, 0, "", "llama", 512, 0, "F32", "", 0)
    given = adapter(lora_gguf(tmp_path / "a", TINY, scale=2))
    with worker(tiny_model) as inference:
        plain, adapted = SkillModel(inference, record), SkillModel(inference, record, given)
        said = begun(vault, plain).ask("", "Name a colour.", max_tokens=8)
        run = begun(vault, adapted)
        assert not run.resumed
        assert run.adapter_sha256 == given.sha256
        assert run.ask("", "Name a colour.", max_tokens=8).text != said.text
        assert run.usage.kept == 0
        assert begun(vault, adapted).resumed
        assert begun(vault, plain).ask("", "Name a colour.", max_tokens=8) == said


def test_the_name_of_a_file_makes_no_other_run(vault: Vault, model: SkillModel) -> None:
    assert begun(vault, model, Task((Source("moved", "text"),), "why?")).id == begun(vault, model).id


def test_a_stopped_run_asks_nothing_more(vault: Vault, model: SkillModel) -> None:
    stop = threading.Event()
    run = Run(vault, "a-skill", DIGEST, TASK, model, stop)
    stop.set()
    with pytest.raises(RunStopped):
        run.ask("", "Name a colour.")
    with pytest.raises(RunStopped):
        run.count("fox")


def test_a_finished_run_is_logged_without_its_content_and_leaves_nothing(vault: Vault, model: SkillModel) -> None:
    run = begun(vault, model)
    run.ask("", "Name a colour.", max_tokens=2)
    run.finish(1, 4)
    assert not begun(vault, model).resumed
    (stored,) = vault.log.entries()
    assert stored.entry is not None
    assert stored.entry.payload_sha256 == run.input_digest
    assert stored.entry.description == (
        "a bundled skill read 1 text, 4 bytes; 1 question to the model, 0 answered before; finished"
    )


def test_what_is_forgotten_is_not_known_again(vault: Vault, model: SkillModel) -> None:
    begun(vault, model).ask("", "Name a colour.", max_tokens=2)
    assert forget_runs(vault, "another")[0] == 0
    assert forget_runs(vault, "a-skill")[0] == 1
    assert not begun(vault, model).resumed
