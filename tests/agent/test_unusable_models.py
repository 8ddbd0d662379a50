"""Models that can't be used, and what is said of them."""

from pathlib import Path

import pytest

from agent.errors import ModelError, ModelRefused, ModelTooLarge
from tests.agent.talk import QUESTION, ask, pid_of, worker
from tests.tiny_model import tiny_gguf
from vault.settings import InferenceSettings


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
