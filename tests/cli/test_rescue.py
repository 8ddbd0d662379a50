"""A vault that is open for reading alone: what can be read in it can be taken out of it."""

import json
from pathlib import Path

import pytest

from tests.fixtures.command import Person
from vault.messages import SessionId

SECRET = "another passphrase entirely"
UNLOGGED = "could not be logged: the vault is open for reading alone"


@pytest.fixture
def kept(person: Person) -> SessionId:
    """A conversation in a vault that an older file was put in the place of."""
    with person.vault() as vault:
        session = vault.conversations.start("Birds", "")
        vault.conversations.append(session.id, None, "user", "What is the canary's name?")
    old = person.home.database.read_bytes()
    with person.vault() as vault:
        vault.conversations.start("later", "")
    person.home.database.write_bytes(old)
    with person.vault() as vault:
        assert vault.alarm
    return session.id


def passphrase_file(person: Person) -> str:
    file = person.folder / "backup-passphrase"
    file.touch(mode=0o600)
    file.write_text(SECRET)
    return str(file)


def test_it_can_be_backed_up_and_restored_elsewhere(person: Person, kept: SessionId) -> None:
    file = str(person.folder / "b.age")
    secret = ("--backup-passphrase-file", passphrase_file(person))
    done = person.claw("vault", "backup", file, *secret)
    assert done.returncode == 0, done.stderr
    assert "ALARM" in done.stderr
    assert UNLOGGED in done.stderr
    there = str(person.folder / "there")
    assert person.claw("vault", "restore", file, *secret, CLAW_HOME=there).returncode == 0
    assert "canary" in person.claw("chat", "show", kept, CLAW_HOME=there).stdout


def test_it_can_be_exported(person: Person, kept: SessionId) -> None:
    folder = person.folder / "out"
    done = person.claw("vault", "export", str(folder), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert UNLOGGED in done.stderr
    assert json.loads(done.stdout)["conversations"] == 1
    assert "canary" in (folder / "conversations.json").read_text()


@pytest.mark.parametrize("name", ["birds.md", None])
def test_one_conversation_of_it_can_be_exported(person: Person, kept: SessionId, name: str | None) -> None:
    out = person.folder / "birds.md"
    done = person.claw("chat", "export", kept, *(("-o", str(out)) if name else ()))
    assert done.returncode == 0, done.stderr
    assert UNLOGGED in done.stderr
    assert "canary" in (out.read_text() if name else done.stdout)


def test_a_vault_without_an_alarm_logs_it_and_says_nothing_of_that(person: Person, tmp_path: Path) -> None:
    done = person.claw("vault", "export", str(tmp_path / "out"), "--yes")
    assert done.returncode == 0
    assert "logged" not in done.stderr
