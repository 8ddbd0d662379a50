"""How warm the processor is, by files as the kernel writes them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_client.limits.temperature import processor_temperature, warm


def sensors(sysfs: Path, **files: str) -> Path:
    """Sensors by their files, `__` for a slash and without `class/`."""
    for name, text in files.items():
        path = sysfs / "class" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return sysfs


def test_the_hottest_of_the_processors_sensors_counts(tmp_path: Path) -> None:
    sensors(
        tmp_path,
        hwmon__hwmon0__name="nvme",
        hwmon__hwmon0__temp1_input="91000",
        hwmon__hwmon1__name="coretemp",
        hwmon__hwmon1__temp1_input="61000",
        hwmon__hwmon1__temp2_input="64500",
        thermal__thermal_zone0__type="acpitz",
        thermal__thermal_zone0__temp="99000",
        thermal__thermal_zone1__type="x86_pkg_temp",
        thermal__thermal_zone1__temp="63000",
    )
    assert processor_temperature(tmp_path) == 64.5


@pytest.mark.parametrize("chip", ["k10temp", "zenpower", "cpu_thermal", "soc_thermal", "CPU0-thermal"])
def test_processors_of_many_kinds_are_known(tmp_path: Path, chip: str) -> None:
    sensors(tmp_path, hwmon__hwmon0__name=chip, hwmon__hwmon0__temp1_input="50000")
    assert processor_temperature(tmp_path) == 50.0


def test_where_none_is_known_to_be_the_processors_every_zone_counts_but_no_other_chip(tmp_path: Path) -> None:
    sensors(
        tmp_path,
        hwmon__hwmon0__name="nct6775",
        hwmon__hwmon0__temp7_input="108000",
        thermal__thermal_zone0__type="acpitz",
        thermal__thermal_zone0__temp="45000",
    )
    assert processor_temperature(tmp_path) == 45.0


@pytest.mark.parametrize("said", ["", "hot", "-274000", "200000", "4" * 5000, "1e3", "٤٥٠٠٠"])
def test_a_sensor_that_is_not_connected_says_nothing(tmp_path: Path, said: str) -> None:
    sensors(tmp_path, thermal__thermal_zone0__type="x86_pkg_temp", thermal__thermal_zone0__temp=said)
    assert processor_temperature(tmp_path) is None
    assert warm(tmp_path, 80).holds is None


def test_above_what_was_said_it_is_too_warm(tmp_path: Path) -> None:
    sensors(tmp_path, thermal__thermal_zone0__type="x86_pkg_temp", thermal__thermal_zone0__temp="80000")
    assert warm(tmp_path, 80) == (True, "80 °C", "")
    assert warm(tmp_path, 79) == (False, "80 °C", "The processor is at 80 °C, above 79 °C.")
    assert warm(tmp_path, 0).holds


def test_a_machine_without_a_sensor_is_not_known_to_be_cool(tmp_path: Path) -> None:
    assert warm(tmp_path, 80) == (None, "unknown", "No sensor here says how warm the processor is.")


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_whatever_a_sensor_says_is_an_answer(
    tmp_path_factory: pytest.TempPathFactory, kind: bytes, said: bytes
) -> None:
    sysfs = sensors(tmp_path_factory.mktemp("s"), thermal__thermal_zone0__type="", thermal__thermal_zone0__temp="")
    (sysfs / "class/thermal/thermal_zone0/type").write_bytes(kind)
    (sysfs / "class/thermal/thermal_zone0/temp").write_bytes(said)
    found = warm(sysfs, 80)
    assert bool(found.why) == (not found.holds)
