"""SIGTERM, and SIGHUP from a terminal that is closed: nothing half is left, and what was said is kept."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.fixtures.command import PROMPT, Person
from tests.fixtures.processes import ends
from vault.connection import Connection
from vault.log import Status, fold

LONG = "Write a very long story about a dragon and a princess."
SIGNALS = [signal.SIGTERM, signal.SIGHUP]
MESSAGES = 20_000

both_signals = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)


@pytest.fixture
def talker(person: Person) -> Person:
    """A person with so long a conversation that writing it out takes a while."""
    with person.vault() as vault:
        session = vault.conversations.start("long", "")

        def insert(connection: Connection) -> None:
            for n in range(MESSAGES):
                connection.execute(
                    "INSERT INTO messages (id, session_id, role, text, status, created_ms) "
                    "VALUES (?, ?, 'user', ?, 'complete', 1)",
                    (f"message{n:09}", session.id, f"{n} {LONG}"),
                )

        vault.database.write(insert)
    (person.folder / "out").mkdir()
    file = person.folder / "backup-passphrase"
    file.touch(mode=0o600)
    file.write_text("another passphrase entirely")
    return person


def secret(person: Person) -> tuple[str, str]:
    return "--backup-passphrase-file", str(person.folder / "backup-passphrase")


def signal_when(process: "subprocess.Popen[bytes]", number: int, is_at_work: Callable[[], bool]) -> None:
    """Send a signal in the middle of the work."""
    while not is_at_work():
        assert process.poll() is None, process.communicate()
    psutil.Process(process.pid).suspend()
    assert is_at_work(), "it was too fast"
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)


def grows(folder: Path, pattern: str) -> Callable[[], bool]:
    """Whether a hidden file that matches has something in it."""

    def look() -> bool:
        try:
            return any(path.stat().st_size for path in folder.glob(pattern))
        except FileNotFoundError:
            return False

    return look


def status_in_log(person: Person) -> Status | None:
    with person.vault() as vault:
        return fold(vault.log.entries())[0].status


@both_signals
def test_an_export_leaves_nothing_in_clear_and_the_log_says_that_it_was_broken_off(
    talker: Person, number: signal.Signals
) -> None:
    out = talker.folder / "out"
    with talker.starts("vault", "export", str(out / "all"), "--yes") as process:
        signal_when(process, number, grows(out, ".all.*.part/tables/messages.jsonl"))
        said, complained = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert (said, complained) == (b"", b"")
    assert list(out.iterdir()) == []
    assert status_in_log(talker) is Status.REFUSED


@both_signals
def test_a_backup_leaves_nothing(talker: Person, number: signal.Signals) -> None:
    out = talker.folder / "out"
    with talker.starts("vault", "backup", str(out / "b.age"), *secret(talker)) as process:
        signal_when(process, number, grows(out, ".b.age.*.part"))
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert list(out.iterdir()) == []
    assert status_in_log(talker) is Status.REFUSED


@both_signals
def test_a_restoration_leaves_nothing(talker: Person, number: signal.Signals) -> None:
    file, there = talker.folder / "b.age", talker.folder / "there"
    assert talker.claw("vault", "backup", str(file), *secret(talker)).returncode == 0
    with talker.starts("vault", "restore", str(file), *secret(talker), CLAW_HOME=str(there)) as process:
        signal_when(process, number, grows(there, ".vault.*.new/vault.db"))
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert list(there.iterdir()) == []


def test_a_hangup_that_is_ignored_stays_ignored(talker: Person) -> None:
    out = talker.folder / "out"
    without_hangup = ("sh", "-c", 'trap "" HUP; exec "$0" "$@"')
    with talker.starts("vault", "export", str(out / "all"), "--yes", prefix=without_hangup) as process:
        signal_when(process, signal.SIGHUP, grows(out, ".all.*.part/tables/messages.jsonl"))
        process.communicate(timeout=120)
    assert process.returncode == 0
    assert (out / "all" / "README.md").exists()
    assert status_in_log(talker) is Status.DONE


def test_more_signals_dont_interrupt_the_tidying_that_the_first_began(talker: Person) -> None:
    out = talker.folder / "out"
    with talker.starts("vault", "export", str(out / "all"), "--yes") as process:
        signal_when(process, signal.SIGHUP, grows(out, ".all.*.part/tables/messages.jsonl"))
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode in (128 + signal.SIGHUP, 128 + signal.SIGTERM)  # whichever it heard of first
    assert list(out.iterdir()) == []
    assert status_in_log(talker) is Status.REFUSED


@both_signals
def test_a_reply_keeps_what_was_written_of_it(person: Person, number: signal.Signals) -> None:
    person.set("sampling.max_tokens", "0")
    with person.starts("ask", LONG) as process:
        assert process.stdout is not None
        first = process.stdout.read1()  # type: ignore[attr-defined]
        (worker,) = psutil.Process(process.pid).children()
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert ends(worker.pid)
    with person.vault() as vault:
        (session,) = vault.conversations.sessions()
        _, reply = vault.conversations.path(session.id)
    assert reply.text.startswith(first.decode().strip())
    assert reply.status in ("cancelled", "interrupted")


@both_signals
def test_a_conversation_at_its_prompt_ends_with_its_worker(person: Person, number: signal.Signals) -> None:
    terminal = person.terminal("--plain")
    terminal.sees(PROMPT)
    worker = terminal.worker.pid
    os.kill(terminal.pid, number)
    assert terminal.ends() == 128 + number
    assert ends(worker)


def test_a_terminal_that_is_closed_ends_the_conversation_and_keeps_what_was_said(person: Person) -> None:
    person.set("sampling.max_tokens", "0")
    terminal = person.terminal("--plain")
    terminal.sees(PROMPT)
    terminal.says(LONG)
    terminal.sees_match(r"\w+ \w+ ")
    pid, worker = terminal.pid, terminal.worker.pid
    terminal.hangs_up()
    assert ends(pid)
    assert ends(worker)
    with person.vault() as vault:
        (session,) = vault.conversations.sessions()
        _, reply = vault.conversations.path(session.id)
    assert reply.text
    assert reply.status in ("cancelled", "interrupted")
