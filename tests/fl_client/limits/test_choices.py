"""What the limits may be set to: names, values, what they are in words, and what loosens them."""

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_client.limits.choices import CHOICES, in_words, loosens, read, set_to, written
from fl_client.limits.sources import Sources
from vault.errors import SettingsError
from vault.settings import LimitSettings, load_settings, set_setting

DEFAULT = LimitSettings()


def test_every_setting_has_one_name() -> None:
    assert [choice.key for choice in CHOICES.values()] == [
        field.name for field in msgspec.structs.fields(LimitSettings)
    ]


@pytest.mark.parametrize(
    ("name", "text", "value", "words"),
    [
        ("charger", "off", False, "off"),
        ("charger", "ON", True, "on"),
        ("unmetered", "no", None, ""),
        ("idle", "off", 0, "off"),
        ("idle", "on", 5, "5 min unused"),
        ("idle", " 15 ", 15, "15 min unused"),
        ("idle", "1441", None, ""),
        ("hours", "off", "00:00-24:00", "all day"),
        ("hours", "22:00-06:00", "22:00-06:00", "22:00-06:00"),
        ("hours", "22-6", None, ""),
        ("threads", "half", 0, "half of the cores"),
        ("threads", "4", 4, "4"),
        ("memory", "half", 0, "half of what is free"),
        ("memory", "16777216", 16_777_216, "16,777,216 MiB"),
        ("memory", "-1", None, ""),
        ("disk", "off", 0, "off"),
        ("disk", "10240", 10240, "10,240 MiB kept free"),
        ("temperature", "off", 0, "off"),
        ("temperature", "75", 75, "75 °C"),
        ("temperature", "75.5", None, ""),
        ("upload", "0", 0, "0 MiB a day"),
        ("upload", "off", None, ""),
        ("minutes", "30", 30, "30 a day"),
        ("minutes", "9" * 5000, None, ""),
        ("cohort", "100", 100, "100 devices a round"),
        ("cohort", "2", None, ""),
        ("corrupt", "0", 0, "0 that may cheat together"),
        ("epsilon", "2.5", 2.5, "2.5 a year and task"),
        ("epsilon", "1000000", 1e6, "1,000,000 a year and task"),
        ("epsilon", "0.001", 0.001, "0.001 a year and task"),
        ("epsilon", "0", 0.0, "0 a year and task"),
        ("epsilon", "nan", None, ""),
        ("epsilon", "inf", None, ""),
    ],
)
def test_a_value_is_read_written_and_said(
    tmp_path: Path, name: str, text: str, value: bool | int | float | str | None, words: str
) -> None:
    if value is None:
        with pytest.raises(SettingsError, match=f"{name} takes {CHOICES[name].takes}, not"):
            read(name, text)
        return
    found = read(name, text)
    assert (found, type(found)) == (value, type(value))
    assert in_words(name, found) == words
    set_setting(tmp_path / "config.toml", *written(name, found))
    assert set_to(name, load_settings(tmp_path / "config.toml").limits) == value


def test_a_number_out_of_bounds_is_refused_with_the_bounds() -> None:
    with pytest.raises(SettingsError) as refused:
        read("minutes", "2000")
    assert refused.value.hint == "From 0 to 1,440."


def test_a_limit_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="no limit 'batery'") as refused:
        read("batery", "on")
    assert "charger, idle" in refused.value.hint


@pytest.mark.parametrize("name", CHOICES)
def test_the_default_loosens_nothing(nowhere: Sources, name: str) -> None:
    strictest = LimitSettings(
        idle_minutes=1440,
        hours="03:00-03:01",
        threads=1,
        memory_mib=1,
        disk_free_mib=1 << 20,
        temperature=1,
        upload_mib_a_day=0,
        minutes_a_day=0,
        least_cohort=10_000,
        least_corrupt=10_000,
        epsilon_a_year=0,
    )
    assert not loosens(name, set_to(name, DEFAULT), strictest, nowhere)


@pytest.mark.parametrize(
    ("name", "stricter", "looser"),
    [
        ("charger", "on", "off"),
        ("idle", "6", "4"),
        ("idle", "1440", "off"),
        ("unmetered", "on", "off"),
        ("threads", "1", "2"),
        ("memory", "2048", "2049"),
        ("disk", "2049", "2047"),
        ("disk", "9999", "off"),
        ("temperature", "79", "81"),
        ("temperature", "60", "off"),
        ("upload", "15", "17"),
        ("minutes", "0", "61"),
        ("cohort", "21", "19"),
        ("corrupt", "2", "0"),
        ("epsilon", "7.9", "8.1"),
    ],
)
def test_more_than_by_default_and_than_now_is_looser(
    nowhere: Sources, name: str, stricter: str, looser: str
) -> None:
    assert not loosens(name, read(name, stricter), DEFAULT, nowhere)
    assert loosens(name, read(name, looser), DEFAULT, nowhere)
    already = msgspec.structs.replace(DEFAULT, **{CHOICES[name].key: read(name, looser)})
    assert not loosens(name, read(name, looser), already, nowhere)


def test_no_hours_are_more_than_all_of_them(nowhere: Sources) -> None:
    assert not loosens("hours", "00:00-24:00", LimitSettings(hours="22:00-06:00"), nowhere)


@given(st.sampled_from([*CHOICES]), st.text(max_size=20))
def test_whatever_is_typed_is_read_or_refused(name: str, text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert in_words(name, read(name, text))
