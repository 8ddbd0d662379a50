"""`config.toml`: typed, bounded, and never silently ignored."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.processes import SmallDisk, make_read_only
from vault.errors import HomeNotWritable, SettingsError
from vault.settings import Settings, get_setting, load_settings, set_setting, setting_names

COMMENTED = """\
# my own notes
[sampling]   # how it talks
top_k = 7    # lucky

[model]
default = "another"  # the good one
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_a_missing_or_empty_file_means_every_default(path: Path) -> None:
    assert load_settings(path) == Settings()
    path.touch()
    assert load_settings(path) == Settings()


def test_what_the_file_says_is_read_and_the_rest_is_default(path: Path) -> None:
    path.write_text(COMMENTED)
    found = load_settings(path)
    assert found.sampling.top_k == 7
    assert found.model.default == "another"
    assert found.sampling.temperature == Settings().sampling.temperature


def test_an_unknown_key_is_refused_with_the_nearest_name(path: Path) -> None:
    path.write_text("[sampling]\ntemprature = 0.5\n")
    with pytest.raises(SettingsError, match=r"no setting sampling\.temprature") as refused:
        load_settings(path)
    assert refused.value.hint == "Did you mean sampling.temperature?"
    assert refused.value.exit_code == 2


def test_an_unknown_section_is_refused_with_the_nearest_name(path: Path) -> None:
    path.write_text("[sampler]\ntop_k = 5\n")
    with pytest.raises(SettingsError, match=r"no section \[sampler\]") as refused:
        load_settings(path)
    assert refused.value.hint == "Did you mean sampling?"


def test_a_name_like_no_other_leads_to_the_list(path: Path) -> None:
    with pytest.raises(SettingsError, match="no setting 'zzz'") as refused:
        set_setting(path, "zzz", "1")
    assert "claw config get" in refused.value.hint


@pytest.mark.parametrize("name", ["temperature", "sampling", "sampling.", ".top_k", "sampling.top_k.x", ""])
def test_only_a_whole_name_names_a_setting(path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="no setting"):
        get_setting(Settings(), name)
    with pytest.raises(SettingsError, match="no setting"):
        set_setting(path, name, "1")
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sampling.temperature", "-0.1"),
        ("sampling.temperature", "10.1"),
        ("sampling.temperature", "nan"),
        ("sampling.temperature", "inf"),
        ("sampling.temperature", "hot"),
        ("sampling.temperature", "true"),
        ("sampling.top_k", "-1"),
        ("sampling.top_k", "1.5"),
        ("sampling.top_k", "true"),
        ("sampling.top_k", "2024-01-01"),
        ("sampling.top_k", "[1]"),
        ("sampling.top_k", '"7"'),
        ("sampling.top_k", ""),
        ("sampling.top_p", "0"),
        ("inference.threads", "513"),
        ("inference.gpu_layers", "-2"),
        ("inference.confinement", "maybe"),
        ("context.reserve_tokens", "0"),
        ("model.default", ""),
        ("model.default", "x" * 101),
        ("network.timeout_s", "0"),
    ],
)
def test_a_value_out_of_bounds_is_refused_and_the_file_unchanged(path: Path, name: str, text: str) -> None:
    path.write_text(COMMENTED)
    with pytest.raises(SettingsError):
        set_setting(path, name, text)
    assert path.read_text() == COMMENTED


@pytest.mark.parametrize("line", ["top_p = 0", "top_p = nan", "top_p = 1.01", "top_p = '1'", "max_tokens = 1e9"])
def test_a_value_out_of_bounds_in_the_file_names_the_setting(path: Path, line: str) -> None:
    path.write_text(f"[sampling]\n{line}\n")
    with pytest.raises(SettingsError, match=line.split()[0]):
        load_settings(path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("sampling.temperature", "0", 0.0),
        ("sampling.temperature", "1.5", 1.5),
        ("sampling.top_k", "1_000", 1000),
        ("inference.gpu_layers", "-1", -1),
        ("inference.confinement", "off", "off"),
        ("assistant.system", 'Say "yes" = [always]\n\tin 漢字 #1', 'Say "yes" = [always]\n\tin 漢字 #1'),
        ("network.proxy", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_a_value_that_was_set_is_read_back(path: Path, name: str, text: str, value: object) -> None:
    assert set_setting(path, name, text) == value
    found = get_setting(load_settings(path), name)
    assert found == value
    assert type(found) is type(value)


def test_comments_and_order_survive_a_change(path: Path) -> None:
    path.write_text(COMMENTED)
    set_setting(path, "sampling.top_k", "9")
    set_setting(path, "context.overflow", "refuse")
    assert path.read_text().startswith(COMMENTED.replace("top_k = 7", "top_k = 9"))
    found = load_settings(path)
    assert (found.sampling.top_k, found.context.overflow, found.model.default) == (9, "refuse", "another")


def test_a_number_without_measure_is_refused(path: Path) -> None:
    with pytest.raises(SettingsError, match="takes a int") as refused:
        set_setting(path, "sampling.top_k", "9" * 5000)
    assert len(refused.value.message) < 300
    path.write_text(f"[sampling]\ntop_k = {'9' * 5000}\n")
    with pytest.raises(SettingsError, match="isn't valid TOML"):
        load_settings(path)
    with pytest.raises(SettingsError, match="can't be read as TOML"):
        set_setting(path, "sampling.top_k", "9")


def test_a_file_larger_than_any_settings_is_refused(path: Path) -> None:
    path.write_bytes(b"\n" * (2**20 + 1))
    with pytest.raises(SettingsError, match="larger than 1 MiB"):
        load_settings(path)
    with pytest.raises(SettingsError, match="larger than 1 MiB"):
        set_setting(path, "sampling.top_k", "9")
    assert path.stat().st_size == 2**20 + 1


def test_a_wrong_value_can_be_mended_by_setting_it(path: Path) -> None:
    path.write_text("[sampling]\ntemperature = 99\n")
    set_setting(path, "sampling.temperature", "0.5")
    assert load_settings(path).sampling.temperature == 0.5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_can_be_a_system_prompt(path: Path, prompt: str) -> None:
    set_setting(path, "assistant.system", prompt)
    assert load_settings(path).assistant.system == prompt


def test_text_that_is_not_utf_8_is_refused_and_the_file_unchanged(path: Path) -> None:
    path.write_text(COMMENTED)
    with pytest.raises(SettingsError, match="not UTF-8"):
        set_setting(path, "assistant.system", "caf\udce9")
    assert path.read_text() == COMMENTED


@pytest.mark.parametrize("content", ["model = 3\n", "[[model]]\n", "model = []\n", "model = 'x'\n"])
def test_a_section_that_is_no_table_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"\[model\] must be a table"):
        load_settings(path)
    with pytest.raises(SettingsError, match=r"\[model\] must be a table"):
        set_setting(path, "model.default", "x")
    assert path.read_text() == content


@pytest.mark.parametrize(
    "content",
    [b"[sampling\n", b"sampling]", b"\xff\xfe", b"a = 1\na = 2\n", b"x = " + b"[" * 100_000, b"\x00"],
    ids=["open bracket", "close bracket", "not utf-8", "twice", "nested deeply", "nul"],
)
def test_a_file_that_is_no_toml_is_refused_with_its_mend_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="TOML") as refused:
        load_settings(path)
    assert "claw config edit" in refused.value.hint
    with pytest.raises(SettingsError, match="TOML"):
        set_setting(path, "sampling.top_k", "5")
    assert path.read_bytes() == content


@given(st.binary(max_size=300) | st.text(st.sampled_from('[]{}.="\n#a1 sampling'), max_size=60).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_makes_more_than_a_settings_error(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = load_settings(path)
    except SettingsError:
        return
    assert isinstance(found, Settings)


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Is a directory"):
        load_settings(tmp_path)
    with pytest.raises(SettingsError, match="can't be read"):
        set_setting(tmp_path, "sampling.top_k", "5")


def test_a_read_only_disk_is_a_clear_error(small_disk: SmallDisk) -> None:
    small_disk.run("64k", change_a_setting_on_a_read_only_disk)


def change_a_setting_on_a_read_only_disk(folder: str) -> None:
    path = Path(folder) / "config.toml"
    set_setting(path, "sampling.top_k", "5")
    make_read_only(Path(folder))
    with pytest.raises(HomeNotWritable, match="Read-only file system"):
        set_setting(path, "sampling.top_k", "6")
    assert load_settings(path).sampling.top_k == 5


def test_every_setting_has_a_name_a_default_and_room_for_it(path: Path) -> None:
    names = list(setting_names())
    assert len(names) == len(set(names)) > 15
    for name in names:
        default = get_setting(Settings(), name)
        text = str(default).lower() if isinstance(default, bool) else str(default)  # as TOML writes it
        assert set_setting(path, name, text) == default
    assert load_settings(path) == Settings()


def test_a_settings_file_that_is_a_link_stays_one(tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.toml"
    kept.write_text("[sampling]\ntop_k = 5\n")
    link = tmp_path / "config.toml"
    link.symlink_to(kept)
    set_setting(link, "sampling.top_k", "7")
    assert link.is_symlink()
    assert "top_k = 7" in kept.read_text()
