"""The pause latch: what counts as a pause, and that nothing forgets one."""

import contextlib
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.processes import SmallDisk, fill, run_function
from tests.fixtures.slots import Notebook
from vault.errors import Paused, VaultError
from vault.home import Home
from vault.log import Status
from vault.pause import PauseLatch
from vault.store import Vault

SINCE = 1_795_262_580_000  # 2026-11-21 12:03:00 UTC


@pytest.fixture
def file(home: Home) -> Path:
    home.data.mkdir(parents=True)
    return home.data / "paused"


def logged(vault: Vault) -> list[tuple[str, str]]:
    """The pauses and resumptions that the log knows, the oldest first."""
    entries = [item.entry for item in reversed(vault.log.entries()) if item.entry]
    assert {entry.status for entry in entries} <= {Status.DONE}
    return [(entry.action, entry.description) for entry in entries]


def test_nothing_is_paused_at_first(latch: PauseLatch, home: Home) -> None:
    assert not latch.engaged
    latch.check()
    assert not latch.release("test")
    assert not home.data.exists()


def test_a_pause_stops_until_it_is_released(latch: PauseLatch) -> None:
    assert latch.engage("test")
    with pytest.raises(Paused) as caught:
        latch.check()
    assert caught.value.exit_code == 7
    assert "claw resume" in caught.value.hint
    assert latch.release("test")
    latch.check()


def test_a_pause_survives_the_process_that_made_it(latch: PauseLatch, home: Home) -> None:
    run_function(engage, home.data)
    assert latch.engaged
    run_function(release, home.data)
    assert not latch.engaged


def engage(data: str) -> None:
    PauseLatch(Home.locate({"CLAW_HOME": data})).engage("test")


def release(data: str) -> None:
    PauseLatch(Home.locate({"CLAW_HOME": data})).release("test")


def test_a_pause_says_since_when(home: Home) -> None:
    latch = PauseLatch(home, now_ms=lambda: SINCE)
    latch.engage("test")
    with pytest.raises(Paused, match="since 2026-11-21 12:03:00 UTC"):
        PauseLatch(home).check()


def test_a_second_pause_changes_nothing(home: Home) -> None:
    PauseLatch(home, now_ms=lambda: SINCE).engage("test")
    assert not PauseLatch(home).engage("test")
    assert PauseLatch(home).since_ms == SINCE


@pytest.mark.usefixtures("loose_umask")
def test_the_file_is_the_owners_alone(latch: PauseLatch, home: Home) -> None:
    latch.engage("test")
    assert stat.S_IMODE((home.data / "paused").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.data.stat().st_mode) == 0o700
    assert json.loads((home.data / "paused").read_text())["why"] == "test"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_a_file_that_says_nothing_we_understand_is_a_pause(
    latch: PauseLatch, home: Home, data: bytes | str
) -> None:
    home.data.mkdir(parents=True, exist_ok=True)
    (home.data / "paused").write_bytes(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    with pytest.raises(Paused):
        latch.check()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"why": "x"},
        {"since_ms": "now"},
        {"since_ms": False},
        {"since_ms": None, "events": [{}]},
        {"since_ms": 10**30},
        {"since_ms": -1},
    ],
    ids=str,
)
def test_a_file_of_another_form_is_a_pause(latch: PauseLatch, file: Path, said: dict[str, object]) -> None:
    file.write_text(json.dumps(said))
    with pytest.raises(Paused):
        latch.check()


def test_whatever_lies_in_the_files_place_is_a_pause(latch: PauseLatch, file: Path) -> None:
    file.mkdir()
    assert latch.engaged
    file.rmdir()
    file.symlink_to("nowhere")
    assert latch.engaged
    file.unlink()
    os.mkfifo(file)
    assert latch.engaged
    file.unlink()
    assert not latch.engaged


def test_a_file_that_cannot_be_read_is_mended_by_a_pause_and_ended_by_a_resumption(
    latch: PauseLatch, file: Path
) -> None:
    file.write_bytes(b"\xff")
    assert not latch.engage("test")
    assert json.loads(file.read_bytes())["why"] == "test"
    file.write_bytes(b"\xff")
    assert latch.release("test")
    assert not latch.engaged


def test_a_pause_that_cannot_be_ended_says_so_and_stays(latch: PauseLatch, file: Path) -> None:
    file.mkdir()
    (file / "inside").touch()
    with pytest.raises(VaultError):
        latch.release("test")
    assert latch.engaged


def test_a_full_disk_is_paused_all_the_same(small_disk: SmallDisk) -> None:
    small_disk.run("64k", pause_on_a_full_disk)


def pause_on_a_full_disk(folder: str) -> None:
    fill(Path(folder))
    latch = PauseLatch(Home.locate({"CLAW_HOME": folder}))
    latch.engage("test")
    assert latch.engaged
    (Path(folder) / "filler").unlink()
    assert latch.release("test")
    assert not latch.engaged


def test_what_happened_while_the_vault_was_locked_is_logged_when_it_opens(vault: Vault, home: Home) -> None:
    latch = PauseLatch(home, now_ms=lambda: SINCE)
    for _ in range(2):
        latch.engage("test")
        latch.release("test")
    latch.engage("test")
    latch.fold_into(vault)
    assert logged(vault) == [
        (action, f"{action} at 2026-11-21 12:03:00 UTC, asked for by: test")
        for action in ("pause", "resume", "pause", "resume", "pause")
    ]
    assert latch.engaged
    latch.fold_into(vault)
    assert len(logged(vault)) == 5


def test_nothing_is_left_when_a_pause_has_ended_and_the_log_knows(
    vault: Vault, home: Home, latch: PauseLatch
) -> None:
    latch.engage("test")
    latch.release("test")
    assert (home.data / "paused").exists()
    latch.fold_into(vault)
    assert not (home.data / "paused").exists()


def test_a_log_that_cannot_be_written_is_told_the_next_time(vault: Vault, latch: PauseLatch) -> None:
    latch.engage("test")
    vault.database.write(
        lambda c: c.execute("CREATE TRIGGER full BEFORE INSERT ON log_entries BEGIN SELECT RAISE(ABORT, 'no'); END")
    )
    latch.fold_into(vault)
    assert logged(vault) == []
    vault.database.write(lambda c: c.execute("DROP TRIGGER full"))
    latch.fold_into(vault)
    assert [action for action, _ in logged(vault)] == ["pause"]
    assert latch.engaged


def test_an_unreadable_file_does_not_keep_the_vault_from_opening(
    vault: Vault, latch: PauseLatch, home: Home
) -> None:
    (home.data / "paused").symlink_to("nowhere")
    latch.fold_into(vault)
    assert logged(vault) == []


def test_a_pause_never_waits_for_whoever_tells_the_log(vault: Vault, home: Home, latch: PauseLatch) -> None:
    latch.engage("test")
    latch.release("test")

    class Slow:
        """A vault whose log takes long enough for a pause to be asked for."""

        def __init__(self) -> None:
            self.log = self

        def append(self, entry: object) -> None:
            with contextlib.suppress(Paused):
                latch.check()
                run_function(engage, home.data)

    latch.fold_into(Slow())  # type: ignore[arg-type]
    assert latch.engaged
    latch.fold_into(vault)
    assert [action for action, _ in logged(vault)] == ["pause"]


def test_a_pause_does_not_wait_for_a_keychain_that_asks_the_person(vault: Vault, latch: PauseLatch) -> None:
    class Asking(Notebook):
        """Is still being unlocked when the person wants everything to stop."""

        def set(self, account: str, secret: str) -> None:
            assert latch.engage("test")
            super().set(account, secret)

    vault.slots.add_keychain(Asking())
    assert latch.engaged
