"""Which walls are used: those that held when they were tried, and none where none did."""

from collections.abc import Iterator

import pytest

from skills.errors import NoSandbox, SandboxError
from skills.sandbox import bubblewrap, tiers
from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.channel import Channel
from skills.sandbox.job import Job
from skills.sandbox.landlocked import Landlocked
from skills.sandbox.walls import Running


@pytest.fixture(autouse=True)
def _tried_anew() -> Iterator[None]:
    tiers.attempt.cache_clear()
    yield
    tiers.attempt.cache_clear()


class Missing(Bubblewrap):
    def __init__(self) -> None:
        super().__init__()
        self._program = None


class KeptFromWorking(Bubblewrap):
    """As where AppArmor forbids user namespaces."""

    def start(self, job: Job, channel: Channel) -> Running:
        raise SandboxError("bubblewrap could not start: setting up uid map: Permission denied")


class NeverToBeTried(Bubblewrap):
    def why_not(self) -> str:
        raise AssertionError("a weaker tier was tried, though a stronger one works")


def test_what_is_weaker_than_what_works_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    works = next((attempt.walls for attempt in tiers.tried() if not attempt.wrong), None)
    if not works:
        pytest.skip("no tier works here")
    monkeypatch.setattr(tiers, "_TIERS", (Missing, type(works), NeverToBeTried))
    assert tiers.best() is works
    assert [bool(attempt.wrong) for attempt in tiers.until_one_works()] == [True, False]


def test_here_the_strongest_that_works_is_used() -> None:
    works = [attempt.walls.name for attempt in tiers.tried() if not attempt.wrong]
    if not works:
        pytest.skip("no tier works here")
    assert tiers.best().name == works[0]


@pytest.mark.parametrize(("broken", "why"), [(Missing, "isn't installed"), (KeptFromWorking, "Permission denied")])
def test_where_the_first_does_not_work_the_second_is_used_and_the_reason_is_kept(
    monkeypatch: pytest.MonkeyPatch, broken: type[Bubblewrap], why: str
) -> None:
    if Landlocked().why_not():
        pytest.skip(Landlocked().why_not())
    monkeypatch.setattr(tiers, "_TIERS", (broken, Landlocked))
    assert tiers.best().name == "landlock"
    assert why in tiers.tried()[0].wrong


def test_where_none_works_nothing_runs_and_the_person_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "_TIERS", (Missing,))
    with pytest.raises(NoSandbox, match="isn't installed") as refused:
        tiers.best()
    assert "apt install bubblewrap" in refused.value.hint


def test_walls_that_let_something_through_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    if Bubblewrap().why_not():
        pytest.skip(Bubblewrap().why_not())
    everything = bytes.fromhex("060000000000ff7f")
    monkeypatch.setattr(bubblewrap, "program_filter", lambda *_, **__: everything)
    monkeypatch.setattr(tiers, "_TIERS", (Bubblewrap,))
    with pytest.raises(NoSandbox, match="a socket could be made; a process could be started"):
        tiers.best()
