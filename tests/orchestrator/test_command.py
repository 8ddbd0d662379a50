"""`claw-orchestrator`, as an operator types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from federation.invites import Invite


class Operator:
    """Somebody at a terminal without one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "federation"

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-W", "error", "-m", "orchestrator.command", "--folder", str(self.folder)]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, input="")

    def done(self, *arguments: str) -> str:
        ended = self.run(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    operator = Operator(tmp_path)
    operator.done("init", "--name", "Our group", "--address", "https://127.0.0.1:8470")
    return operator


@pytest.fixture
def with_task(operator: Operator, tmp_path: Path) -> Operator:
    file = tmp_path / "task.toml"
    file.write_text(operator.done("task", "example"))
    operator.done("task", "create", str(file), "--yes")
    return operator


def test_keys_are_the_owner_s_alone_and_a_federation_is_not_made_twice(operator: Operator) -> None:
    private = list(operator.folder.rglob("*.key"))
    assert {path.name for path in private} == {"log.key", "tls.key", "spare.key", "registrar.key"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [operator.folder, *private])
    before = {path: path.read_bytes() for path in operator.folder.rglob("*") if path.is_file()}
    again = operator.run("init", "--name", "x", "--address", "https://127.0.0.1:8470")
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert {path: path.read_bytes() for path in operator.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("address", ["http://h:1", "https://", "https://u@h", "https://h/path", "h"])
def test_an_address_that_is_none_makes_nothing(tmp_path: Path, address: str) -> None:
    operator = Operator(tmp_path)
    assert operator.run("init", "--name", "x", "--address", address).returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_an_invite_has_what_a_device_needs(operator: Operator) -> None:
    ended = operator.run("invite", "--uses", "3", "--task", "minutes")
    invite = Invite.parse(ended.stdout)
    assert (invite.name, invite.address, invite.tasks) == ("Our group", "https://127.0.0.1:8470", ("minutes",))
    assert len(set(invite.pins)) == 2
    assert "3 in all" in ended.stderr
    kept = (operator.folder / "orchestrator.db").read_bytes()
    assert invite.secret not in kept
    assert invite.secret.hex().encode() not in kept


def test_a_task_s_plan_is_told_before_it_is_opened(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "task.toml"
    file.write_text(operator.done("task", "example").replace("cohort = 100", "cohort = 40"))
    asked = operator.run("task", "create", str(file))
    assert asked.returncode == 1
    assert "At 40 devices this is a demonstration" in asked.stderr
    assert "ε = " in asked.stderr
    assert operator.done("task", "list") == ""
    operator.done("task", "create", str(file), "--yes")
    (task,) = json.loads(operator.done("task", "list", "--json"))
    assert (task["name"], task["state"], task["in_use"]) == ("minutes", "open", 0)
    assert operator.run("task", "create", str(file), "--yes").returncode == 1  # the name is taken


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "minutes"', 'name = "Minutes of ours"'),
        ("epsilon = 8.0", "epsilon = -1.0"),
        ("cohort = 100", "cohort = 2"),
        ("cohort = 100", "cohort = 1_000_000"),
        ("parameters = 15360", "parameters = 0"),
        ("rank = 16", "ranks = 16"),
        ('purpose = "', 'purpose = 7 # "'),
        ("delta = 1e-6", "delta = 2.0"),
        ("[training]", "[training"),
    ],
)
def test_a_task_that_can_not_be_is_refused_in_words(operator: Operator, tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "task.toml"
    text = operator.done("task", "example")
    assert old in text
    file.write_text(text.replace(old, new))
    ended = operator.run("task", "create", str(file), "--yes")
    assert ended.returncode == 1
    assert ended.stderr.startswith("claw-orchestrator: ")
    assert "Traceback" not in ended.stderr


def test_tasks_are_paused_and_releases_looked_at_and_taken_back(with_task: Operator) -> None:
    with_task.done("task", "pause", "minutes")
    assert json.loads(with_task.done("task", "list", "--json"))[0]["state"] == "paused"
    with_task.done("task", "resume", "minutes")
    (release,) = json.loads(with_task.done("release", "list", "minutes", "--json"))
    assert (release["number"], release["in_use"]) == (0, True)
    assert json.loads(with_task.done("release", "show", "minutes", "0"))["content"] == release["content"]
    assert "there is none before it" in with_task.run("release", "rollback", "minutes").stderr
    with_task.done("release", "promote", "minutes", "0")
    for missing in (("release", "show", "minutes", "5"), ("round", "show", "minutes"), ("task", "pause", "x")):
        assert with_task.run(*missing).returncode == 1
    assert with_task.done("device", "list") == ""


def test_without_a_folder_or_with_a_broken_one_it_says_what_to_do(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    for verb in (("serve",), ("registrar",), ("invite",), ("task", "list")):
        ended = operator.run(*verb)
        assert ended.returncode == 1
        assert "claw-orchestrator init" in ended.stderr
    operator.done("init", "--name", "x", "--address", "https://127.0.0.1:8470")
    (operator.folder / "keys" / "log.key").write_text("not a key")
    ended = operator.run("task", "list")
    assert (ended.returncode, "holds no key" in ended.stderr) == (1, True)
    (operator.folder / "orchestrator.toml").write_text("name = ")
    assert "can't be used" in operator.run("task", "list").stderr
