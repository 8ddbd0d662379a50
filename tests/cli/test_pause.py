"""`claw pause` and `claw resume`, as a person runs them: no key is needed, and nothing leaves in between.

What else stops a transfer is here, too.
"""

import contextlib
import fcntl
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.command import Person
from tests.fixtures.https_server import Authority, HttpsServer
from tests.fixtures.tls_server import CountingServer, counting
from vault.lock import LockLatch
from vault.log import fold
from vault.pause import PauseLatch

FILE = "owner/repo/Tiny.gguf"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + bytes(1000)


def logged(person: Person) -> list[str]:
    """What the log knows of pauses, the oldest first."""
    with person.vault() as vault:
        return [
            item.entry.action
            for item in reversed(vault.log.entries())
            if item.entry and item.entry.purpose == "pause"
        ]


def pull(person: Person, server: HttpsServer, authority: Authority) -> tuple[int, str]:
    person.set("network.ca_file", str(authority.ca_file))
    done = person.claw("model", "pull", f"hf:{FILE}", HF_ENDPOINT=server.address)
    return done.returncode, done.stderr


def test_while_paused_a_model_pull_is_exit_code_7_and_asks_nobody(
    person: Person, server: HttpsServer, elsewhere: HttpsServer, authority: Authority, tiny_model: Path
) -> None:
    server.serve_as_hub(FILE, tiny_model.read_bytes(), elsewhere)
    assert person.claw("pause").returncode == 0
    code, said = pull(person, server, authority)
    assert code == 7
    assert "claw resume" in said
    assert server.seen == []
    assert person.claw("resume").returncode == 0
    assert pull(person, server, authority)[0] == 0


def test_a_pull_is_in_the_log_with_what_left(
    person: Person, server: HttpsServer, elsewhere: HttpsServer, authority: Authority, tiny_model: Path
) -> None:
    server.serve_as_hub(FILE, tiny_model.read_bytes(), elsewhere)
    assert pull(person, server, authority)[0] == 0
    with person.vault() as vault:
        entries = [item.entry for item in vault.log.entries() if item.entry and item.entry.action == "network"]
    assert {entry.consent for entry in entries} == {"command"}
    assert {entry.status for entry in entries} == {"prepared", "acknowledged"}
    assert {entry.destination.partition("/")[0] for entry in entries} == {
        address.removeprefix("https://") for address in (server.address, elsewhere.address)
    }
    assert "hush" not in str(entries)  # the storage's signature


def test_a_days_limit_that_is_spent_is_exit_code_5(
    person: Person, server: HttpsServer, elsewhere: HttpsServer, authority: Authority, tiny_model: Path
) -> None:
    server.serve_as_hub(FILE, tiny_model.read_bytes(), elsewhere)
    person.set("network.daily_send_limit", "100")
    code, said = pull(person, server, authority)
    assert code == 5
    assert "of today's 100 are left" in said
    assert "network.daily_send_limit" in said
    assert server.seen == []


def test_a_pause_is_logged_at_once_where_the_vault_opens_unasked(person: Person) -> None:
    assert "Paused" in person.claw("pause").stderr
    assert logged(person) == ["pause"]
    assert "Resumed" in person.claw("resume").stderr
    assert logged(person) == ["pause", "resume"]
    assert not (person.home.data / "paused").exists()


def test_a_locked_vault_is_paused_without_a_key_and_told_when_it_opens(person: Person) -> None:
    del person.environment["CLAW_PASSPHRASE_FILE"]
    paused = person.claw("pause")
    assert paused.returncode == 0
    assert "logged when the vault next opens" in paused.stderr
    assert PauseLatch(person.home).engaged
    assert person.claw("resume").returncode == 0
    assert logged(person) == []
    person.environment["CLAW_PASSPHRASE_FILE"] = str(person.passphrase_file)
    assert person.claw("chat", "list").returncode == 0
    assert logged(person) == ["pause", "resume"]


def test_without_a_vault_there_is_a_pause_all_the_same(newcomer: Person) -> None:
    assert newcomer.claw("pause").returncode == 0
    assert PauseLatch(newcomer.home).engaged
    assert stat.S_IMODE((newcomer.home.data / "paused").stat().st_mode) == 0o600
    assert newcomer.claw("pause", "--lock").returncode == 0
    assert newcomer.claw("resume").returncode == 0
    assert not PauseLatch(newcomer.home).engaged


def test_a_second_pause_and_a_second_resumption_say_so(person: Person) -> None:
    person.claw("pause")
    assert "paused already" in person.claw("pause").stderr
    person.claw("resume")
    assert "Nothing was paused" in person.claw("resume").stderr
    assert logged(person) == ["pause", "resume"]


def test_a_pause_can_lock_the_vault_too(person: Person) -> None:
    done = person.claw("pause", "--lock")
    assert done.returncode == 0
    assert "Paused" in done.stderr
    assert "locked" in done.stderr
    assert PauseLatch(person.home).engaged
    del person.environment["CLAW_PASSPHRASE_FILE"]
    assert person.claw("chat", "list").returncode == 3


@contextlib.contextmanager
def held(person: Person) -> Iterator[None]:
    """While somebody works on the vault as a whole, as a rotation does."""
    folder = os.open(person.home.vault, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def test_a_pause_that_locks_waits_for_nobody_who_works_on_the_vault(person: Person) -> None:
    with held(person):
        assert person.claw("pause", "--lock").returncode == 0
        assert PauseLatch(person.home).engaged
        assert LockLatch(person.home.data).engaged
    assert logged(person) == []
    assert person.claw("chat", "list").returncode == 0
    assert logged(person) == ["pause"]


def test_a_pause_holds_before_the_vault_is_opened_to_log_it(person: Person) -> None:
    with held(person):
        pausing = person.starts("pause")
        assert pausing.stderr is not None
        assert b"Paused" in pausing.stderr.readline()
        assert PauseLatch(person.home).engaged
        assert pausing.poll() is None
    pausing.communicate()
    assert pausing.returncode == 0
    assert logged(person) == ["pause"]


def test_the_vault_is_locked_even_where_nothing_can_be_paused(person: Person) -> None:
    (person.home.data / "paused").mkdir()
    (person.home.data / "paused" / "inside").touch()
    assert person.claw("pause", "--lock").returncode == 1
    del person.environment["CLAW_PASSPHRASE_FILE"]
    assert "claw vault unlock" in person.claw("chat", "list").stderr


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{"])
def test_a_damaged_file_is_a_pause_and_resume_ends_it(person: Person, content: bytes) -> None:
    (person.home.data / "paused").write_bytes(content)
    assert person.claw("model", "pull", f"hf:{FILE}").returncode == 7
    assert person.claw("resume").returncode == 0
    assert not PauseLatch(person.home).engaged


@pytest.fixture
def stalled(authority: Authority) -> Iterator[CountingServer]:
    """A server that sends the beginning of a model, and no more."""
    with counting(authority.context(), answer=HALF) as server:
        yield server


@pytest.fixture
def pulling(person: Person, authority: Authority, stalled: CountingServer) -> "Iterator[subprocess.Popen[bytes]]":
    """A pull from it, when the beginning has arrived."""
    person.set("network.ca_file", str(authority.ca_file))
    person.set("network.timeout_s", "3000")
    with person.starts("model", "pull", stalled.url(path="/Tiny.gguf"), "--sha256", "0" * 64) as process:
        while arrived(person) < 1000:
            assert process.poll() is None
        yield process
        process.kill()


def arrived(person: Person) -> int:
    return sum(file.stat().st_size for file in person.home.models.glob("partial/*.part"))


def test_a_pause_stops_a_pull_that_waits_and_keeps_what_has_arrived(
    person: Person, pulling: "subprocess.Popen[bytes]"
) -> None:
    person.claw("pause")
    _, said = pulling.communicate()
    assert pulling.returncode == 7
    assert b"claw resume" in said
    assert arrived(person) == 1000


def test_ctrl_c_stops_a_pull_that_waits_and_the_log_says_what_became_of_it(
    person: Person, pulling: "subprocess.Popen[bytes]"
) -> None:
    pulling.send_signal(signal.SIGINT)
    _, said = pulling.communicate()
    assert pulling.returncode == 130
    assert said.strip() == b""
    assert arrived(person) == 1000
    with person.vault() as vault:
        (operation,) = fold(vault.log.entries())
    assert operation.status == "acknowledged"


def test_a_lock_stops_a_pull_that_waits_and_the_log_says_what_became_of_it(
    person: Person, pulling: "subprocess.Popen[bytes]", stalled: CountingServer
) -> None:
    assert person.claw("vault", "lock").returncode == 0
    _, said = pulling.communicate()
    assert pulling.returncode == 3
    assert b"The vault was locked." in said
    assert b"claw vault unlock" in said
    assert arrived(person) == 1000
    with person.vault() as vault:
        (operation,) = fold(vault.log.entries())
        spent = vault.database.read(lambda c: c.execute("SELECT sent, received FROM egress_days").fetchall())
    assert operation.status == "acknowledged"
    assert operation.bytes == len(stalled.received)
    assert spent == [(operation.bytes, len(HALF))]
