"""A conversation, or a question, under which the vault is locked: what was said is kept, and it can go on."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.cli.test_lock import holder_of, locks, opens_unasked, types_the_passphrase
from tests.cli.test_unlock import without_a_file
from tests.fixtures.command import CLAW, PROMPT, Person, Terminal
from tests.fixtures.processes import command, ends
from vault.lock import SYSTEM_CLOCK, LockLatch

LONG = "Write a very long story about a dragon and a princess."


@pytest.fixture
def typist(person: Person) -> Person:
    """A person who types their passphrase."""
    return without_a_file(person)


def sits_down(person: Person) -> Terminal:
    terminal = person.terminal("--plain")
    types_the_passphrase(terminal)
    terminal.sees(PROMPT)
    return terminal


def said(person: Person) -> list[tuple[str, str]]:
    with person.vault() as vault:
        (session,) = vault.conversations.sessions()
        return [(message.role, message.text) for message in vault.conversations.path(session.id)]


def test_a_conversation_notices_a_lock_forgets_and_goes_on_after_the_passphrase(typist: Person) -> None:
    terminal = sits_down(typist)
    terminal.says("Name a colour.")
    terminal.sees(PROMPT)
    worker = terminal.worker
    locks(typist)
    terminal.sees("The vault was locked. Enter unlocks it, Ctrl-D leaves.")
    assert ends(worker.pid)
    assert not files_of_the_vault(typist, terminal.pid)
    terminal.types("Name a tree.")
    types_the_passphrase(terminal)
    terminal.sees(PROMPT)
    terminal.types("/quit")
    assert terminal.ends() == 0
    assert [role for role, _ in said(typist)] == ["user", "assistant"] * 2
    assert [text for role, text in said(typist) if role == "user"] == ["Name a colour.", "Name a tree."]


def files_of_the_vault(person: Person, pid: int) -> list[str]:
    """What a process has open of the vault's database."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed while we looked
            links.append(os.readlink(link))
    return [name for name in links if name.startswith(str(person.home.database))]


def test_a_locked_conversation_is_in_nobodys_way_and_can_be_left(typist: Person) -> None:
    terminal = sits_down(typist)
    locks(typist)
    terminal.sees("Ctrl-D leaves.")
    typist.vault().rotate()  # which needs the vault for itself
    terminal.presses("d")
    assert terminal.ends() == 0


def test_a_locked_conversation_ends_for_who_does_not_know_the_passphrase(typist: Person) -> None:
    terminal = sits_down(typist)
    locks(typist)
    terminal.sees("Ctrl-D leaves.")
    terminal.types("Name a colour.")
    for _ in range(3):
        terminal.sees("Passphrase: ")
        terminal.types("guessed")
    terminal.sees("The passphrase is wrong.")
    assert terminal.ends() == 3
    with typist.vault() as vault:
        assert vault.conversations.sessions() == []


def test_a_lock_in_the_middle_of_a_reply_loses_nothing_that_was_said(typist: Person) -> None:
    typist.set("sampling.max_tokens", "0")
    terminal = sits_down(typist)
    terminal.says(LONG)
    terminal.sees_match(r"\w+ ")
    worker = terminal.worker
    locks(typist)
    terminal.sees("[The vault was locked. What was said so far is kept. Enter unlocks the vault.]")
    terminal.sees(PROMPT)
    assert ends(worker.pid)
    typist.set("sampling.max_tokens", "8")
    terminal.types("")
    types_the_passphrase(terminal)
    terminal.sees(PROMPT)
    terminal.types("/quit")
    assert terminal.ends() == 0
    with typist.vault() as vault:
        (session,) = vault.conversations.sessions()
        question, *replies = vault.conversations.path(session.id)
    assert question.text == LONG
    assert [reply.status for reply in replies] in ([], ["interrupted"])


@pytest.mark.parametrize(
    ("on_suspend", "why"),
    [("true", "because the machine was asleep."), ("false", "after 15 minutes without use.")],
)
def test_a_conversation_that_is_left_alone_locks_by_itself(typist: Person, on_suspend: str, why: str) -> None:
    typist.set("vault.lock_on_suspend", on_suspend)
    late = typist.folder / "late"
    late.write_text("0")
    program, *arguments = command(converse_on_a_machine_whose_time_jumps, late)
    terminal = typist.terminal(*arguments, program=program)
    types_the_passphrase(terminal)
    terminal.sees(PROMPT)
    worker = terminal.worker
    late.write_text("1000")
    terminal.sees(f"The vault locked itself{',' * (on_suspend == 'true')} {why} Enter unlocks it")
    assert ends(worker.pid)
    assert not LockLatch(typist.home.data).engaged
    holder_of(typist).end()  # whose time is the real one
    terminal.types("Name a tree.")
    types_the_passphrase(terminal)
    terminal.sees(PROMPT)
    terminal.types("/quit")
    assert terminal.ends() == 0
    assert said(typist)[0] == ("user", "Name a tree.")


def converse_on_a_machine_whose_time_jumps(late: str) -> None:
    clock: Any = type(SYSTEM_CLOCK)
    real = clock.now
    clock.now = lambda self: real(self) + float(Path(late).read_text() or 0)
    sys.exit(main(["--plain"]))


def test_a_conversation_in_a_pipe_ends_when_the_vault_is_locked(person: Person) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [CLAW, "--plain"], env=person.environment, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Name a colour.\n")
        process.stdin.flush()
        assert process.stdout.readline().strip()
        locks(person)
        while files_of_the_vault(person, process.pid):
            assert process.poll() is None
        process.stdin.write(b"Name a tree.\n")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert b"The vault was locked." in err
    assert [text for role, text in said(person) if role == "user"] == ["Name a colour."]


def test_a_question_under_which_the_vault_is_locked_is_kept(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    with person.starts("ask", LONG) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        locks(person)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert b"The vault was locked." in err
    assert said(person)[0] == ("user", LONG)


def test_the_key_outlives_the_conversation_for_which_it_was_asked(typist: Person) -> None:
    terminal = sits_down(typist)
    assert terminal.worker.is_running()  # its only child: the holder is nobody's
    terminal.types("/quit")
    assert terminal.ends() == 0
    assert opens_unasked(typist)


def test_a_conversation_whose_vault_is_erased_says_so(person: Person) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [CLAW, "--plain"], env=person.environment, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Name a colour.\n")
        process.stdin.flush()
        assert process.stdout.readline().strip()
        assert person.claw("vault", "erase", "--all", "--yes").returncode == 0
        while files_of_the_vault(person, process.pid):
            assert process.poll() is None
        process.stdin.write(b"Name a tree.\n")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert b"The vault was erased." in err
    assert b"kept" not in err
