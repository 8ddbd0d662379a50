"""The walls that programs run behind stand in the log: once, and again whenever they are others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from skills.errors import NoSandbox
from skills.sandbox import tiers
from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.noted import noted_best
from skills.sandbox.walls import Walls
from tests.fixtures.models import CHEAP, PASSPHRASE
from vault.connection import Connection
from vault.errors import VaultError
from vault.home import Home
from vault.log.entries import Action, Status
from vault.sandbox_tier import noted_tier
from vault.store import Vault


class Missing(Bubblewrap):
    def why_not(self) -> str:
        return "bubblewrap isn't installed"


@pytest.fixture(autouse=True)
def _tried_anew() -> Iterator[None]:
    tiers.attempt.cache_clear()
    yield
    tiers.attempt.cache_clear()


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with Vault.create(Home.locate({"CLAW_HOME": str(tmp_path / "home")}), PASSPHRASE, cost=CHEAP) as vault:
        yield vault


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> type[Walls]:
    """The strongest that works here, alone."""
    walls = next((type(attempt.walls) for attempt in tiers.tried() if not attempt.wrong), None)
    if walls is None:
        pytest.skip("no tier works here")
    monkeypatch.setattr(tiers, "_TIERS", (walls,))
    return walls


def logged(vault: Vault) -> list[tuple[str, Status]]:
    """What the log says of it, the newest first."""
    entries = [stored.entry for stored in vault.log.entries() if stored.entry]
    assert all(entry.action is Action.SKILL for entry in entries)
    return [(entry.description, entry.status) for entry in entries]


def test_the_first_time_is_noted_and_the_same_again_is_not(vault: Vault, works: type[Walls]) -> None:
    for _ in range(2):
        assert isinstance(noted_best(vault), works)
    assert logged(vault) == [(f"programs are run behind {works.name}", Status.DONE)]
    noted = vault.database.read(noted_tier)
    assert noted is not None
    assert noted.name == works.name


def test_other_walls_are_noted_with_what_was_before(
    vault: Vault, works: type[Walls], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Another(works):  # type: ignore[misc, valid-type]
        name = "another"

    noted_best(vault)
    monkeypatch.setattr(tiers, "_TIERS", (Missing, Another))
    assert noted_best(vault).name == "another"
    assert logged(vault)[0] == (f"programs are run behind another; before: {works.name}", Status.DONE)


def test_that_nothing_works_is_noted_and_that_something_does_again(
    vault: Vault, works: type[Walls], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tiers, "_TIERS", (Missing,))
        for _ in range(2):
            with pytest.raises(NoSandbox, match="isn't installed"):
                noted_best(vault)
    noted_best(vault)
    assert logged(vault) == [
        (f"programs are run behind {works.name}; before: none worked", Status.DONE),
        ("no sandbox works here, so no program is run", Status.REFUSED),
    ]


def test_without_the_entry_it_is_not_noted_either(
    vault: Vault, works: type[Walls], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_connection: Connection, _entry: object) -> int:
        raise VaultError("no entry can be made")

    with monkeypatch.context() as patch:
        patch.setattr(vault.log, "record", fails)
        with pytest.raises(VaultError, match="no entry"):
            noted_best(vault)
    assert vault.database.read(noted_tier) is None
    assert isinstance(noted_best(vault), works)
