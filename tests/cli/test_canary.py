"""A sentence that is kept only encrypted: looked for in every byte the assistant leaves on the machine."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fixtures.command import PROMPT, Person, Terminal

WORDS = ("osprey", "lacquer", "thimble")
CANARY = " ".join(WORDS)
"""Three words that nothing else says; looked for one by one too, as an index would keep them."""


def disguises() -> list[bytes]:
    """The canary as it could lie in the clear."""
    texts = [CANARY, CANARY.title(), CANARY.upper(), *WORDS]
    return [text.encode(encoding) for text in texts for encoding in ("utf-8", "utf-16-le", "utf-16-be")]


def found_in(places: Iterator[tuple[str, bytes]]) -> list[str]:
    return sorted({place for place, data in places for sought in disguises() if sought in data})


def files_of(person: Person) -> Iterator[tuple[str, bytes]]:
    """Every file in the folders that the command was given, and in the machine's shared ones."""
    for path in person.folder.rglob("*"):
        yield f"the name of {path}", os.fsencode(path)
        if path.is_file():
            yield str(path), path.read_bytes()
    for folder in (Path("/dev/shm"), Path("/var/tmp")):
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_uid == os.geteuid() and path.stat().st_size < 2**24:
                yield str(path), path.read_bytes()


def open_files_of(process: psutil.Process) -> Iterator[tuple[str, bytes]]:
    """What a process shows of itself, and the files it holds open, those without a name included."""
    if not os.access(f"/proc/{process.pid}/environ", os.R_OK):
        return  # it is hardened: nobody but root can look
    for name in ("environ", "cmdline", "comm", "maps"):
        yield f"{name} of {process.pid}", Path(f"/proc/{process.pid}/{name}").read_bytes()
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        status = link.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size < 2**26:
            yield f"{os.readlink(link)} of {process.pid}", link.read_bytes()


@pytest.fixture
def talk(person: Person, tmp_path: Path) -> Terminal:
    """A conversation, still going on, into which the canary was put in every way there is."""
    source = tmp_path / "attached.txt"  # the person's own file: it stays where it is
    source.write_text(f"What the {CANARY} said.")
    assert person.claw("ask", "-f", str(source), "-", stdin=f"About the {CANARY}.").returncode == 0
    assert person.claw("chat", "rename", about(person), f"Titled {CANARY}").returncode == 0
    found = person.claw("chat", "search", *WORDS)
    assert CANARY in found.stdout
    terminal = person.terminal("--plain")
    terminal.sees(PROMPT)
    terminal.says(f"/system You are the {CANARY}.")
    terminal.sees(PROMPT)
    terminal.says(f"Tell me of the {CANARY}.")
    terminal.sees(PROMPT)
    return terminal


def about(person: Person) -> str:
    with person.vault() as vault:
        session = vault.conversations.newest()
    assert session is not None
    return session.id


def kept(person: Person) -> str:
    """All that the vault holds of it."""
    texts = []
    with person.vault() as vault:
        for session in vault.conversations.sessions():
            texts += [session.title, session.system_prompt]
            for message in vault.conversations.tree(session.id):
                texts += [message.text, *(attachment.text for attachment in message.attachments)]
    return "\n".join(texts)


def test_the_search_itself_finds_what_lies_in_the_clear(person: Person) -> None:
    hidden = person.folder / "temp" / "left behind"
    for encoding in ("utf-8", "utf-16-le"):
        hidden.write_bytes(b"\0\1\2" + f"the {CANARY} said".encode(encoding))
        assert found_in(files_of(person)) == [str(hidden)]
    hidden.rename(hidden.with_name("thimble"))
    assert len(found_in(files_of(person))) == 2


def test_nothing_said_lies_in_the_clear_while_the_app_runs_and_after_it_ended(
    person: Person, talk: Terminal
) -> None:
    assert found_in(files_of(person)) == []
    for process in (psutil.Process(talk.pid), talk.worker):
        assert found_in(open_files_of(process)) == []
    assert any(path.name.endswith("-wal") for path in person.home.vault.iterdir()), "no journal was looked at"
    talk.types("/quit")
    assert talk.ends() == 0
    assert found_in(files_of(person)) == []
    for sentence in ("About the", "Titled", "You are the", "Tell me of the", "What the"):
        assert f"{sentence} {CANARY}" in kept(person)


def test_nothing_said_lies_in_the_clear_after_kill_9(person: Person, talk: Terminal) -> None:
    person.set("sampling.max_tokens", "0")
    talk.says(f"Write a very long story about the {CANARY}.")
    talk.sees_match(r"\w+ ")
    worker = talk.worker
    os.kill(talk.pid, signal.SIGKILL)
    assert talk.ends() == -signal.SIGKILL
    worker.wait(timeout=30)
    assert any(path.name.endswith("-wal") for path in person.home.vault.iterdir()), "no journal was looked at"
    assert found_in(files_of(person)) == []
    assert f"Write a very long story about the {CANARY}." in kept(person)
    assert found_in(files_of(person)) == []


def test_the_worker_is_given_nothing_of_the_persons_but_the_model(person: Person, talk: Terminal) -> None:
    worker = talk.worker
    assert set(worker.environ()) <= {"LC_ALL", "GLIBC_TUNABLES", "GOMP_SPINCOUNT"}
    assert not any(str(person.folder) in argument for argument in worker.cmdline())
    held = [os.readlink(link) for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
    assert not [name for name in held if name.startswith(str(person.folder))]
    assert [name for name in held if name.endswith(".gguf")]
    assert psutil.Process(worker.pid).net_connections() == []


def test_the_passphrase_is_in_no_argument_environment_or_file_of_ours(person: Person, talk: Terminal) -> None:
    secret = person.passphrase_file.read_bytes()
    seen = [(place, data) for place, data in files_of(person) if place != str(person.passphrase_file)]
    for process in (psutil.Process(talk.pid), talk.worker):
        seen += open_files_of(process)
    assert [place for place, data in seen if secret in data] == []


def test_a_question_that_is_not_to_be_saved_is_nowhere_even_while_it_is_answered(newcomer: Person) -> None:
    newcomer.home.data.mkdir(mode=0o700)
    newcomer.set("sampling.max_tokens", "0")
    terminal = newcomer.terminal("-c", 'read -r line; echo "$line" | claw ask --no-save', program="/bin/sh")
    terminal.types(f"Write a very long story about the {CANARY}.")
    terminal.sees(f"{CANARY}.\r\n")
    terminal.sees_match(r"\w+ ")
    assert found_in(files_of(newcomer)) == []
    terminal.presses_until("c", "^C")
    terminal.ends()
    assert found_in(files_of(newcomer)) == []
    assert not newcomer.home.vault.exists()
