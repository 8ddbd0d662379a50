"""Every limit with what is so, and why learning may not go on: on a machine that a test can change."""

import datetime
import socket
import tempfile
from collections.abc import Iterator

import msgspec
import pytest

from fl_client.limits import Limits, Reading, Sources, Spent
from fl_client.limits.choices import CHOICES
from fl_client.training.plan import Machine
from tests.fl_client.limits.desktop import Bus
from vault.settings import LimitSettings

NOTHING = Spent(0, 0.0)
LOOSE = LimitSettings(charger=False, idle_minutes=0, unmetered=False, disk_free_mib=0, temperature=0)
MIB = 1 << 20


@pytest.fixture
def willing(bus: Bus, machine: Sources) -> Iterator[Sources]:
    """A machine on which every limit holds."""
    with bus.mutter(3_600_000), bus.logind(idle=True), bus.network_manager(4):
        yield machine


def reading(limits: Limits, name: str, spent: Spent = NOTHING) -> Reading:
    return next(found for found in limits.readings(spent) if found.name == name)


def test_where_every_limit_holds_learning_may_go_on(willing: Sources) -> None:
    limits = Limits(LimitSettings(disk_free_mib=1), willing)
    assert limits.reasons(NOTHING) == []
    readings = limits.readings(NOTHING)
    assert all(found.holds and not found.why for found in readings)
    assert [found.name for found in readings] == [*CHOICES]
    by_name = {found.name: (found.limit, found.now) for found in readings if found.name != "disk"}
    assert by_name == {
        "charger": ("on", "no battery"),
        "idle": ("5 min unused", "unused for 60 min"),
        "unmetered": ("on", "not metered, probably"),
        "hours": ("all day", "23:30"),
        "threads": ("half of the cores", "1 of 2 cores"),
        "memory": ("half of what is free", "2,048 of 4,096 MiB that are free"),
        "temperature": ("80 °C", "47 °C"),
        "upload": ("16 MiB a day", "0.0 MiB sent"),
        "minutes": ("60 a day", "0 trained"),
        "cohort": ("20 devices a round", "seen in each round"),
        "corrupt": ("1 that may cheat together", "seen in each round"),
        "epsilon": ("8 a year and task", "no task yet"),
    }


def test_on_a_machine_that_says_nothing_learning_waits_and_each_reason_says_what_to_do(nowhere: Sources) -> None:
    reasons = Limits(LimitSettings(disk_free_mib=0), nowhere).reasons(NOTHING)
    assert [reason.rpartition(": ")[2] for reason in reasons] == [
        f"claw limits set {name} off" for name in ("charger", "idle", "unmetered", "temperature")
    ]
    assert all("counts as no" in reason for reason in reasons)


def test_a_limit_that_was_taken_away_holds_whatever_is_so_and_shows_it(nowhere: Sources) -> None:
    limits = Limits(LOOSE, nowhere)
    assert limits.reasons(NOTHING) == []
    assert reading(limits, "charger") == ("charger", "off", "unknown", True, "")


def test_what_is_taken_away_is_not_asked_about(bus: Bus, machine: Sources) -> None:
    with bus.mutter(0) as mutter, bus.network_manager(2) as network:
        assert Limits(LOOSE, machine).reasons(NOTHING) == []
    assert mutter == network == []


@pytest.mark.parametrize("spoiled", ["charger", "idle", "unmetered", "hours", "disk", "temperature"])
def test_each_limit_keeps_learning_alone(bus: Bus, machine: Sources, spoiled: str) -> None:
    settings = LimitSettings(disk_free_mib=1)
    used_ms, metered = 3_600_000, 2
    match spoiled:
        case "charger":
            supply = machine.sysfs / "class/power_supply/BAT0"
            supply.mkdir()
            (supply / "type").write_text("Battery\n")
            (supply / "status").write_text("Discharging\n")
        case "idle":
            used_ms = 1_000
        case "unmetered":
            metered = 1
        case "hours":
            settings = LimitSettings(disk_free_mib=1, hours="01:00-06:00")
        case "disk":
            settings = LimitSettings(disk_free_mib=16_777_216)
        case "temperature":
            (machine.sysfs / "class/thermal/thermal_zone0/temp").write_text("90500\n")
    with bus.mutter(used_ms), bus.network_manager(metered):
        limits = Limits(settings, machine)
        reasons = limits.reasons(NOTHING)
        failed = [found for found in limits.readings(NOTHING) if not found.holds]
    assert [found.name for found in failed] == [spoiled]
    assert reasons == [failed[0].why]
    assert reasons[0].endswith(".")


def test_a_days_uploads_and_minutes_are_used_up_by_the_last_of_them(nowhere: Sources) -> None:
    limits = Limits(LOOSE, nowhere)
    assert limits.reasons(Spent(16 * MIB - 1, 3599.9)) == []
    assert limits.reasons(Spent(16 * MIB, 0.0)) == [
        "Today's 16 MiB have been sent; the count starts anew at 00:00 UTC."
    ]
    assert limits.reasons(Spent(0, 3600.0)) == [
        "Today's 60 minutes of training are over; the count starts anew at 00:00 UTC."
    ]
    assert reading(limits, "minutes", Spent(0, 1830.0)).now == "30 trained"


def test_none_a_day_is_none(nowhere: Sources) -> None:
    none = msgspec.structs.replace(LOOSE, upload_mib_a_day=0, minutes_a_day=0)
    assert len(Limits(none, nowhere).reasons(NOTHING)) == 2


def test_the_hours_are_those_of_the_person(nowhere: Sources) -> None:
    night = msgspec.structs.replace(LOOSE, hours="22:00-06:00")
    assert Limits(night, nowhere).reasons(NOTHING) == []
    at_noon = nowhere._replace(now=lambda: datetime.datetime(2026, 11, 28, 12, 0))
    assert Limits(night, at_noon).reasons(NOTHING) == ["It is 12:00; training runs between 22:00 and 06:00."]


def test_training_may_take_half_of_cores_and_memory_or_what_was_said_as_far_as_it_is_there(
    nowhere: Sources,
) -> None:
    def machine(threads: int, memory_mib: int, cores: int = 8) -> Machine:
        settings = LimitSettings(threads=threads, memory_mib=memory_mib)
        return Limits(settings, nowhere._replace(cores=lambda: cores)).machine()

    assert machine(0, 0) == Machine(2048 * MIB, 4)
    assert machine(0, 0, cores=1) == Machine(2048 * MIB, 1)
    assert machine(3, 1000) == Machine(1000 * MIB, 3)
    assert machine(100, 100_000) == Machine(int(4096 * MIB * 0.8), 8)


def test_a_task_that_has_taken_its_privacy_is_over_for_good(nowhere: Sources) -> None:
    limits = Limits(LOOSE, nowhere)
    readings = limits.readings(NOTHING, {"minutes of meetings": 7.99, "router": 8.0})
    assert [found[1:] for found in readings if found.name == "epsilon"] == [
        ("8 a year and task", "7.99 for minutes of meetings", True, ""),
        (
            "8 a year and task",
            "8.00 for router",
            False,
            "router has taken ε 8.00 of this year's 8; it is over for good.",
        ),
    ]
    assert limits.reasons(NOTHING) == []


def test_a_desktop_that_hangs_keeps_nobody_waiting_for_long(nowhere: Sources) -> None:
    with tempfile.TemporaryDirectory(prefix="claw-") as folder, socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(f"{folder}/bus")
        hanging.listen()
        address = f"unix:path={folder}/bus"
        limits = Limits(LimitSettings(), nowhere._replace(system_bus=address, session_bus=address))
        assert {found.name for found in limits.readings(NOTHING) if not found.holds} >= {"idle", "unmetered"}


def test_this_machine_can_be_asked() -> None:
    assert len(Limits(LimitSettings()).readings(NOTHING)) == len(CHOICES)
