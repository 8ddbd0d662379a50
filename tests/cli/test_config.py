"""`claw config`: settings shown and changed by the installed command."""

import json
import stat
from pathlib import Path

import pytest

from tests.fixtures.command import Person
from vault.settings import Settings, load_settings, setting_names


@pytest.fixture
def editor(newcomer: Person, tmp_path: Path) -> Path:
    """A program that a person edits with: it runs `edit.sh` on the file, and keeps what it saw."""
    path = tmp_path / "an editor"
    path.write_text(f'#!/bin/sh\ncat "$2" >"{tmp_path}/seen"\n[ "$1" = --wait ] && . "{tmp_path}/edit.sh"\n')
    path.chmod(0o700)
    newcomer.environment["EDITOR"] = f"'{path}' --wait"
    return tmp_path / "edit.sh"


def test_path_says_where_the_file_lies(newcomer: Person) -> None:
    assert newcomer.claw("config", "path").stdout == f"{newcomer.home.config_file}\n"
    assert not newcomer.home.data.exists()
    elsewhere = newcomer.claw("config", "path", CLAW_HOME="").stdout.strip()
    assert elsewhere == f"{newcomer.environment['XDG_CONFIG_HOME']}/openclaw-core/config.toml"


def test_get_shows_one_setting_or_all_of_them(newcomer: Person) -> None:
    assert newcomer.claw("config", "get", "sampling.temperature").stdout == f"{Settings().sampling.temperature}\n"
    assert newcomer.claw("config", "get", "context.overflow", "--json").stdout == (
        '{"context.overflow":"drop-oldest"}\n'
    )
    lines = newcomer.claw("config", "get").stdout.splitlines()
    assert [line.split(" = ")[0] for line in lines] == list(setting_names())
    assert list(json.loads(newcomer.claw("config", "get", "--json").stdout)) == list(setting_names())


def test_set_changes_one_setting_and_keeps_the_rest_of_the_file(newcomer: Person) -> None:
    newcomer.home.data.mkdir(mode=0o700)
    newcomer.home.config_file.write_text("# mine\n[sampling]\ntop_k = 7  # few\n")
    done = newcomer.claw("config", "set", "sampling.temperature", "1")
    assert done.returncode == 0
    assert done.stderr == "sampling.temperature = 1.0\n"
    assert done.stdout == ""
    assert newcomer.claw("config", "get", "sampling.temperature").stdout == "1.0\n"
    assert newcomer.home.config_file.read_text().startswith("# mine\n[sampling]\ntop_k = 7  # few\n")
    assert newcomer.claw("config", "set", "assistant.system", "Be brief.").returncode == 0
    assert newcomer.claw("config", "get", "assistant.system").stdout == "Be brief.\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("get", "sampling.temprature"), "Did you mean sampling.temperature?"),
        (("set", "sampling.temprature", "1"), "Did you mean sampling.temperature?"),
        (("set", "zzz", "1"), "claw config get"),
        (("set", "sampling.temperature", "hot"), "takes a float"),
        (("set", "sampling.temperature", "99"), "<= 10.0"),
        (("set", "context.overflow", "ignore"), "context.overflow"),
        (("set", "inference.threads", "true"), "inference.threads"),
    ],
)
def test_what_cannot_be_set_is_refused_and_changes_nothing(
    newcomer: Person, arguments: tuple[str, ...], says: str
) -> None:
    newcomer.set("sampling.top_k", "7")
    before = newcomer.home.config_file.read_bytes()
    done = newcomer.claw("config", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert newcomer.home.config_file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sampling]\ntemprature = 1\n", "Did you mean sampling.temperature?"),
        ("[sampler]\n", "Did you mean sampling?"),
        ("[sampling]\ntop_p = 2\n", "sampling.top_p"),
        ("not toml", "claw config edit"),
    ],
)
def test_a_wrong_file_is_a_usage_error_for_every_verb(newcomer: Person, text: str, says: str) -> None:
    newcomer.home.data.mkdir(mode=0o700)
    newcomer.home.config_file.write_text(text)
    for arguments in (("config", "get"), ("status",), ("ask", "Hello")):
        done = newcomer.claw(*arguments)
        assert done.returncode == 2
        assert str(newcomer.home.config_file) in done.stderr
        assert says in done.stderr


def test_edit_begins_with_every_setting_commented_out(newcomer: Person, editor: Path, tmp_path: Path) -> None:
    editor.write_text("sed -i 's/^# top_p = .*/top_p = 0.25/' \"$2\"")
    done = newcomer.claw("config", "edit")
    assert done.returncode == 0, done.stderr
    assert newcomer.claw("config", "get", "sampling.top_p").stdout == "0.25\n"
    for name in setting_names():
        assert f"# {name.split('.')[1]} = " in (tmp_path / "seen").read_text()
    assert stat.S_IMODE(newcomer.home.config_file.stat().st_mode) == 0o600
    assert [path.name for path in newcomer.home.data.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("script", ["echo 'top_q = 1' >>\"$2\"", "exit 1", "kill -9 $$"])
def test_an_edit_that_fails_leaves_the_file_unchanged(newcomer: Person, editor: Path, script: str) -> None:
    newcomer.set("sampling.top_k", "7")
    before = newcomer.home.config_file.read_bytes()
    editor.write_text(script)
    done = newcomer.claw("config", "edit")
    assert done.returncode == 2
    assert "unchanged" in done.stderr
    assert newcomer.home.config_file.read_bytes() == before
    assert [path.name for path in newcomer.home.data.iterdir()] == ["config.toml"]


def test_a_wrong_edit_may_be_mended(newcomer: Person, editor: Path, tmp_path: Path) -> None:
    newcomer.set("sampling.top_k", "7")
    editor.write_text(
        f'if [ -e "{tmp_path}/again" ]; then sed -i "s/top_kk/top_k/" "$2"\n'
        f'else sed -i "s/top_k = 7/top_kk = 8/" "$2"; touch "{tmp_path}/again"; fi'
    )
    terminal = newcomer.terminal("config", "edit")
    terminal.sees("there is no setting sampling.top_kk")
    terminal.sees("Did you mean sampling.top_k?")
    terminal.sees("Edit again? [y/N] ")
    terminal.types("y")
    terminal.sees("Saved")
    assert terminal.ends() == 0
    assert load_settings(newcomer.home.config_file).sampling.top_k == 8


@pytest.mark.parametrize("editor", ["", "/nonexistent/editor", "/", "'unbalanced"])
def test_an_editor_that_cannot_be_started_is_named(newcomer: Person, editor: str) -> None:
    done = newcomer.claw("config", "edit", EDITOR=editor)
    assert done.returncode == 2
    assert "Set " in done.stderr
    assert editor.strip("'") in done.stderr
    assert not newcomer.home.config_file.exists()
