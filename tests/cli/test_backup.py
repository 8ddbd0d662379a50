"""`claw vault backup` and `claw vault restore`, as a person runs them."""

import json
import os
import subprocess
from pathlib import Path

import pyrage
import pytest

from tests.fixtures.command import Person
from vault.home import Home
from vault.store import Vault

SECRET = "another passphrase entirely"
QUESTION = "What is the canary's name?"


@pytest.fixture
def talker(person: Person) -> Person:
    """A person with a conversation in the vault, and a file that holds a passphrase for backups."""
    with person.vault() as vault:
        session = vault.conversations.start("Birds", "")
        vault.conversations.append(session.id, None, "user", QUESTION)
    file = person.folder / "backup-passphrase"
    file.touch(mode=0o600)
    file.write_text(SECRET)
    return person


def passphrase_file(person: Person) -> str:
    return str(person.folder / "backup-passphrase")


def back_up(person: Person, *more: str) -> Path:
    file = person.folder / "b.age"
    done = person.claw("vault", "backup", str(file), "--backup-passphrase-file", passphrase_file(person), *more)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return file


def home_at(person: Person, name: str) -> Home:
    return Home.locate({"CLAW_HOME": str(person.folder / name)})


def test_a_backup_is_restored_into_another_home(talker: Person) -> None:
    file = back_up(talker)
    assert QUESTION.encode() not in file.read_bytes()
    assert QUESTION.encode() in pyrage.passphrase.decrypt(file.read_bytes(), SECRET)
    there = str(talker.folder / "there")
    done = talker.claw(
        "vault", "restore", str(file), "--backup-passphrase-file", passphrase_file(talker), CLAW_HOME=there
    )
    assert done.returncode == 0, done.stderr
    assert "Restored: 1 conversation with 1 message," in done.stderr
    assert QUESTION in talker.claw("chat", "show", CLAW_HOME=there).stdout
    assert "a vault made of a backup" in talker.claw("log", "list", CLAW_HOME=there).stdout
    assert "restored from a backup" in talker.claw("--plain", stdin="", CLAW_HOME=there).stderr
    assert talker.claw("log", "verify", CLAW_HOME=there).returncode == 0
    assert talker.claw("vault", "check", CLAW_HOME=there).returncode == 0


def test_exports_before_and_after_are_the_same_files_but_for_the_log_that_tells_of_them(talker: Person) -> None:
    subprocess.run(["cp", "-a", talker.home.data, talker.folder / "twin"], check=True)
    assert talker.claw("vault", "export", str(talker.folder / "one"), "--yes").returncode == 0
    file = str(talker.folder / "b.age")
    secret = ("--backup-passphrase-file", passphrase_file(talker))
    assert talker.claw("vault", "backup", file, *secret, CLAW_HOME=str(talker.folder / "twin")).returncode == 0
    there = str(talker.folder / "there")
    assert talker.claw("vault", "restore", file, *secret, CLAW_HOME=there).returncode == 0
    assert talker.claw("vault", "export", str(talker.folder / "two"), "--yes", CLAW_HOME=there).returncode == 0
    one, two = talker.folder / "one", talker.folder / "two"
    compared = subprocess.run(["diff", "-rq", one, two], capture_output=True, text=True)
    of_the_log = [f"tables/{name}.jsonl" for name in ("log_entries", "log_state", "notifications")]
    assert compared.stdout.splitlines() == [
        f"Files {one / name} and {two / name} differ" for name in ("manifest.json", *of_the_log)
    ]


def test_passphrases_are_asked_for_at_a_terminal(talker: Person) -> None:
    file = talker.folder / "b.age"
    terminal = talker.terminal("vault", "backup", str(file))
    terminal.sees("a passphrase of its own")
    terminal.sees("Passphrase of the backup: ")
    terminal.types("short")
    terminal.sees("at least 8 are needed")
    terminal.sees("Passphrase of the backup: ")
    terminal.types(SECRET)
    terminal.sees("Again: ")
    terminal.types(SECRET + "!")
    terminal.sees("The two differ.")
    for prompt in ("Passphrase of the backup: ", "Again: "):
        terminal.sees(prompt)
        terminal.types(SECRET)
    assert terminal.ends() == 0
    assert SECRET not in terminal.screen

    there = {"CLAW_HOME": str(talker.folder / "there"), "CLAW_PASSPHRASE_FILE": ""}
    terminal = talker.terminal("vault", "restore", str(file), **there)
    terminal.sees("Passphrase of the backup: ")
    terminal.types("not that one")
    terminal.sees("doesn't open the backup")
    terminal.sees("Passphrase of the backup: ")
    terminal.types(SECRET)
    terminal.sees("Choose a passphrase")
    for prompt in ("Passphrase: ", "Again: "):
        terminal.sees(prompt)
        terminal.types("a new one for the vault")
    terminal.sees("Restored: 1 conversation")
    assert terminal.ends() == 0
    with Vault.open_with_passphrase(home_at(talker, "there"), "a new one for the vault") as vault:
        assert [session.title for session in vault.conversations.sessions()] == ["Birds"]


def test_a_recipients_identity_opens_it_and_no_passphrase_is_asked_for(talker: Person) -> None:
    identity = pyrage.x25519.Identity.generate()
    key = talker.folder / "key.txt"
    key.write_text(f"{identity}\n")
    file = str(talker.folder / "b.age")
    done = talker.claw("vault", "backup", file, "--recipient", str(identity.to_public()))
    assert done.returncode == 0, done.stderr
    there = str(talker.folder / "there")
    done = talker.claw("vault", "restore", file, CLAW_HOME=there)
    assert done.returncode == 2
    assert "--identity" in done.stderr
    done = talker.claw("vault", "restore", file, "--identity", str(key), CLAW_HOME=there)
    assert done.returncode == 0, done.stderr
    done = talker.claw("vault", "backup", file, "--recipient", str(identity), "--replace")
    assert done.returncode == 1
    assert str(identity) not in done.stderr


def test_a_wrong_passphrase_a_damaged_file_and_no_file_change_nothing(talker: Person) -> None:
    file = back_up(talker)
    there = str(talker.folder / "there")
    secret = ("--backup-passphrase-file", passphrase_file(talker))
    wrong = talker.claw(
        "vault", "restore", str(file), "--backup-passphrase-file", str(talker.passphrase_file), CLAW_HOME=there
    )
    assert wrong.returncode == 3
    assert "doesn't open the backup" in wrong.stderr
    file.write_bytes(file.read_bytes()[:-1])
    damaged = talker.claw("vault", "restore", str(file), *secret, CLAW_HOME=there)
    assert damaged.returncode == 6
    assert "altered or cut off" in damaged.stderr
    for name in ("missing.age", "."):
        unread = talker.claw("vault", "restore", str(talker.folder / name), *secret, CLAW_HOME=there)
        assert unread.returncode == 2
        assert "can't be read" in unread.stderr
    assert not home_at(talker, "there").vault.exists()
    assert talker.claw("vault", "restore", str(file), "--merge", *secret).returncode == 6
    with talker.vault() as vault:
        assert len(vault.conversations.sessions()) == 1


def test_a_vault_that_is_there_is_touched_by_a_merge_alone(talker: Person) -> None:
    file = back_up(talker)
    secret = ("--backup-passphrase-file", passphrase_file(talker))
    with talker.vault() as vault:
        vault.conversations.start("later", "")
    refused = talker.claw("vault", "restore", str(file), *secret)
    assert refused.returncode == 1
    assert "--merge" in refused.stderr
    merged = talker.claw("vault", "restore", str(file), "--merge", "--json", *secret)
    assert json.loads(merged.stdout)["known"] == 1
    assert talker.claw("vault", "erase", "--session", "Birds", "--yes").returncode == 0
    merged = talker.claw("vault", "restore", str(file), "--merge", *secret)
    assert "1  erased here on purpose, staying away" in merged.stderr
    with talker.vault() as vault:
        assert [session.title for session in vault.conversations.sessions()] == ["later"]


def test_a_backup_is_put_over_another_file_only_when_told(talker: Person) -> None:
    file = back_up(talker)
    before = file.read_bytes()
    secret = ("--backup-passphrase-file", passphrase_file(talker))
    assert talker.claw("vault", "backup", str(file), *secret).returncode == 1
    assert file.read_bytes() == before
    done = talker.claw("vault", "backup", str(file), "--replace", "--json", *secret)
    told = json.loads(done.stdout)
    assert told["bytes"] == file.stat().st_size
    assert file.read_bytes() != before


@pytest.mark.parametrize("name", ["vault/vault.db", "vault/new.age", "keyslots", "config.toml", "link/new.age"])
def test_nothing_of_ours_is_replaced_by_a_backup(talker: Person, name: str) -> None:
    home = talker.home
    (talker.folder / "link").symlink_to(home.vault)
    file = {"keyslots": home.keyslots, "config.toml": home.config_file}.get(name, home.data / name)
    if name.startswith("link"):
        file = talker.folder / name
    secret = ("--backup-passphrase-file", passphrase_file(talker))
    done = talker.claw("vault", "backup", str(file), "--replace", *secret)
    assert done.returncode == 1
    assert "keeps its own files" in done.stderr
    assert talker.claw("vault", "check").returncode == 0


def test_only_a_backup_is_replaced_by_a_backup(talker: Person) -> None:
    file = talker.folder / "diary.txt"
    file.write_text("dear diary")
    secret = ("--backup-passphrase-file", passphrase_file(talker))
    done = talker.claw("vault", "backup", str(file), "--replace", *secret)
    assert done.returncode == 1
    assert "is no backup" in done.stderr
    assert file.read_text() == "dear diary"


def test_without_a_terminal_or_a_file_nothing_is_written(talker: Person) -> None:
    done = talker.claw("vault", "backup", str(talker.folder / "b.age"))
    assert done.returncode == 3
    assert "--backup-passphrase-file" in done.stderr
    loose = talker.folder / "backup-passphrase"
    os.chmod(loose, 0o644)
    done = talker.claw("vault", "backup", str(talker.folder / "b.age"), "--backup-passphrase-file", str(loose))
    assert done.returncode == 3
    assert not (talker.folder / "b.age").exists()
