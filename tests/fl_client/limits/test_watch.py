"""The limits while something trains: what no longer holds ends it, and a desktop that hangs holds up nobody."""

import threading
import time
from pathlib import Path

import pytest

from fl_client.limits import Limits, LimitWatch, Sources, Spent
from skills.sandbox.job import PYTHON, Ended, Job
from skills.sandbox.run import run
from skills.sandbox.tiers import best
from tests.fl_client.limits.desktop import Bus
from vault.home import Home
from vault.pause import PauseLatch, StopOrPause
from vault.settings import LimitSettings

WARM = LimitSettings(charger=False, idle_minutes=0, unmetered=False, disk_free_mib=0, temperature=80)
SOON_S = 0.01
_WRITES_AND_GOES_ON = b"""
import os, time
open("out/checkpoint", "w").write("so far")
os.write(int(os.environ["CLAW_PROGRESS"]), b'{"written": "checkpoint"}\\n')
time.sleep(60)
"""


def wait_for(watch: LimitWatch) -> None:
    """Wait until it is set, as who runs a job does: by looking."""
    until = time.monotonic() + 60
    while not watch.is_set():
        assert time.monotonic() < until
        threading.Event().wait(0.005)


def test_it_is_set_when_a_limit_no_longer_holds_and_says_which(machine: Sources) -> None:
    with LimitWatch(Limits(WARM, machine), Spent(0, 0.0), every_s=SOON_S) as watch:
        assert not watch.wait(0.2)
        assert watch.why == ""
        (machine.sysfs / "class/thermal/thermal_zone0/temp").write_text("95000\n")
        wait_for(watch)
    assert watch.why == "The processor is at 95 °C, above 80 °C."


def test_using_the_machine_ends_it(bus: Bus, machine: Sources) -> None:
    limits = Limits(LimitSettings(disk_free_mib=0), machine)
    with bus.network_manager(2):
        with bus.mutter(3_600_000), LimitWatch(limits, Spent(0, 0.0), every_s=SOON_S) as watch:
            assert not watch.wait(0.2)
        with bus.mutter(500), LimitWatch(limits, Spent(0, 0.0), every_s=SOON_S) as watch:
            wait_for(watch)
    assert watch.why == "This machine is in use: it has been unused for 0 s, not for 5 min."


def test_the_time_that_it_watches_counts_as_trained(machine: Sources) -> None:
    limits = Limits(WARM, machine)
    with LimitWatch(limits, Spent(0, 3600 - 0.2), every_s=SOON_S) as watch:
        assert not watch.is_set()
        wait_for(watch)
    assert "minutes of training are over" in watch.why


def test_it_is_set_also_while_something_else_is_to_end(machine: Sources) -> None:
    stop = threading.Event()
    with LimitWatch(Limits(WARM, machine), Spent(0, 0.0), stop=stop) as watch:
        assert not watch.is_set()
        stop.set()
        assert watch.is_set()
    assert watch.why == ""


def test_a_sandboxed_job_ends_with_the_checkpoint_that_it_wrote(machine: Sources) -> None:
    written: dict[str, bytes] = {}

    def keep(name: str, content: bytes) -> None:
        written[name] = content
        (machine.sysfs / "class/thermal/thermal_zone0/temp").write_text("95000\n")

    job = Job((*PYTHON, "in/program.py"), {"program.py": _WRITES_AND_GOES_ON}, ("checkpoint",))
    with LimitWatch(Limits(WARM, machine), Spent(0, 0.0), every_s=SOON_S) as watch:
        outcome = run(job, best(), on_written=keep, stop=watch)
    assert outcome.ended is Ended.STOPPED
    assert written == {"checkpoint": b"so far"}
    assert "95 °C" in watch.why


def test_a_pause_ends_it_too(machine: Sources, tmp_path: Path) -> None:
    latch = PauseLatch(Home.locate({"CLAW_HOME": str(tmp_path / "home")}))
    with LimitWatch(Limits(WARM, machine), Spent(0, 0.0)) as watch:
        either = StopOrPause(watch, latch)
        assert not either.is_set()
        latch.engage("a test")
        assert either.is_set()
        assert not watch.is_set()


def test_when_it_is_over_nobody_watches_any_longer_and_it_stays_as_it_was(machine: Sources) -> None:
    with LimitWatch(Limits(WARM, machine), Spent(0, 0.0), every_s=SOON_S) as watch:
        pass
    (machine.sysfs / "class/thermal/thermal_zone0/temp").write_text("95000\n")
    assert not watch.is_set()
    assert not any(thread.name == "limits" for thread in threading.enumerate())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_nobody_can_watch_any_longer_ends(machine: Sources) -> None:
    def broken() -> int:
        raise ZeroDivisionError

    limits = Limits(WARM, machine._replace(now=broken))  # type: ignore[arg-type]
    limits.reasons = broken  # type: ignore[method-assign, assignment]
    with LimitWatch(limits, Spent(0, 0.0), every_s=SOON_S) as watch:
        wait_for(watch)
    assert watch.why == "Nobody could watch the limits any longer."
