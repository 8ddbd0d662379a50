"""A machine that says what a test wants it to."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from fl_client.limits.sources import Sources
from fl_client.limits.x_server import Display
from tests.fl_client.limits.desktop import Bus, private_bus

CALM = "some avg10=0.42 avg60=1.90 avg300=2.06 total=15999949584\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"


@pytest.fixture
def bus() -> Iterator[Bus]:
    """A bus with nobody on it, for desktop and system alike."""
    with private_bus() as bus:
        yield bus


@pytest.fixture
def nowhere(tmp_path: Path) -> Sources:
    """A machine with two cores and nothing that says anything."""
    return Sources(
        sysfs=tmp_path / "sys",
        procfs=tmp_path / "proc",
        system_bus="",
        session_bus="",
        display=Display("", tmp_path / "Xauthority", tmp_path),
        disk=tmp_path / "not" / "there" / "yet",
        cores=lambda: 2,
        free_memory=lambda: 4096 << 20,
        now=lambda: datetime.datetime(2026, 11, 28, 23, 30),
    )


@pytest.fixture
def machine(bus: Bus, nowhere: Sources) -> Sources:
    """A desktop computer, calm and cool, with a bus on which services can be."""
    files = {
        nowhere.sysfs / "class/power_supply/.keep": "",
        nowhere.sysfs / "class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
        nowhere.sysfs / "class/thermal/thermal_zone0/temp": "47000\n",
        nowhere.procfs / "pressure/cpu": CALM,
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name != ".keep":
            path.write_text(text)
    return nowhere._replace(system_bus=bus.address, session_bus=bus.address)
