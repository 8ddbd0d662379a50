"""Whatever takes a secret has closed its memory to other programs before: each verb, run as a person runs it."""

import sys
from pathlib import Path

import pyrage
import pytest

from tests.fixtures.command import CLAW, Person
from vault.portability.age_recipients import Recipients
from vault.portability.backup import back_up

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such thing to see")

WATCHED = """
import atexit, getpass, os, runpy, sys
from vault.memory import is_hardened

def tell(what):
    print(f"<{what} {'' if is_hardened() else 'not '}hardened>", file=sys.stderr, flush=True)

def look(event, arguments):
    if event == "open" and os.path.basename(str(arguments[0])).startswith("hush-"):
        tell("file")

def ask(prompt):
    tell("typed")
    return typed(prompt)

typed, getpass.getpass = getpass.getpass, ask
sys.addaudithook(look)
atexit.register(tell, "ended")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs the command, and tells whether it is hardened whenever it opens a file of a secret, or asks for one."""


@pytest.fixture
def watched(person: Person) -> Person:
    """A person whose secrets lie in files whose names say so, and who has backups."""
    identity = pyrage.x25519.Identity.generate()
    secrets = {
        "hush-backup": "a passphrase for backups",
        "hush-new": "another passphrase",
        "hush-key": identity,
    }
    for name, secret in secrets.items():
        (person.folder / name).touch(mode=0o600)
        (person.folder / name).write_text(str(secret))
    person.passphrase_file = person.passphrase_file.rename(person.folder / "hush-passphrase")
    person.environment["CLAW_PASSPHRASE_FILE"] = str(person.passphrase_file)
    with person.vault() as vault:
        back_up(vault, person.folder / "to-key.age", Recipients([str(identity.to_public())]))
    (person.folder / "watched.py").write_text(WATCHED)
    done = person.claw(
        "vault", "backup", *in_folder(person, "typed.age", "--backup-passphrase-file", "hush-backup")
    )
    assert done.returncode == 0, done.stderr
    return person


def in_folder(person: Person, *arguments: str) -> list[str]:
    """Arguments that name a file of the person's, with its whole path."""
    named = ("hush-", "to-key", "typed", "new")
    return [str(person.folder / word) if word.startswith(named) else word for word in arguments]


def seen(person: Person, *arguments: str, home: Path | None = None) -> list[str]:
    """What was told while the command ran."""
    watching = (sys.executable, str(person.folder / "watched.py"))
    elsewhere = {"CLAW_HOME": str(home)} if home else {}
    done = person.claw(*in_folder(person, *arguments), prefix=watching, **elsewhere)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("<")]


@pytest.mark.parametrize(
    "arguments",
    [
        ("chat", "list"),
        ("vault", "unlock"),
        ("vault", "passwd", "--new-passphrase-file", "hush-new"),
        ("vault", "slots", "add", "passphrase", "--new-passphrase-file", "hush-new"),
        ("vault", "slots", "test"),
        ("vault", "slots", "upgrade"),
        ("vault", "backup", "new.age", "--backup-passphrase-file", "hush-backup"),
        ("vault", "restore", "--merge", "typed.age", "--backup-passphrase-file", "hush-backup"),
        ("vault", "restore", "--merge", "to-key.age", "--identity", "hush-key"),
    ],
    ids=" ".join,
)
def test_a_secret_in_a_file_is_read_by_a_hardened_process(watched: Person, arguments: tuple[str, ...]) -> None:
    told = seen(watched, *arguments)
    assert len(told) > 1
    assert set(told) == {"<file hardened>", "<ended hardened>"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("vault", "init"),
        ("vault", "restore", "typed.age", "--backup-passphrase-file", "hush-backup"),
        ("vault", "restore", "to-key.age", "--identity", "hush-key"),
    ],
    ids=" ".join,
)
def test_so_it_is_where_there_is_no_vault_yet(watched: Person, arguments: tuple[str, ...]) -> None:
    told = seen(watched, *arguments, home=watched.folder / "elsewhere")
    assert len(told) > 1
    assert set(told) == {"<file hardened>", "<ended hardened>"}


def test_a_secret_is_typed_into_a_hardened_process(watched: Person) -> None:
    terminal = watched.terminal(
        *(str(watched.folder / "watched.py"), CLAW, "vault", "restore", str(watched.folder / "typed.age")),
        program=sys.executable,
        CLAW_HOME=str(watched.folder / "elsewhere"),
    )
    terminal.sees("<typed hardened>")
    terminal.sees("Passphrase of the backup: ")
    terminal.types("a passphrase for backups")
    terminal.sees("Restored")
    assert terminal.ends() == 0


def test_what_takes_the_secret_out_of_the_keychain_to_destroy_it_is_hardened(watched: Person) -> None:
    assert seen(watched, "vault", "erase", "--all", "--yes") == ["<ended hardened>"]
