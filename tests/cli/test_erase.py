"""`claw vault erase`: what a person is asked and told when something goes for good."""

import json
from pathlib import Path

import pytest

from tests.fixtures.command import Person
from tests.fixtures.keychain import Desktop
from vault.keychain import SystemKeychain
from vault.messages import Attachment, Message, Session


@pytest.fixture
def session(person: Person) -> Session:
    with person.vault() as vault:
        return vault.conversations.start("About colours", "")


@pytest.fixture
def messages(person: Person, session: Session) -> list[Message]:
    with person.vault() as vault:
        kept = vault.conversations
        first = kept.append(session.id, None, "user", "red", attachments=[Attachment("list.txt", "red, green")])
        answer = kept.append(session.id, first.id, "assistant", "a colour")
        return [first, answer, kept.append(session.id, answer.id, "user", "and green")]


def conversations(person: Person) -> list[str]:
    with person.vault() as vault:
        return [session.title for session in vault.conversations.sessions()]


@pytest.mark.usefixtures("messages")
def test_a_conversation_goes_once_the_person_agreed(person: Person, session: Session) -> None:
    for answer, code, left in (("", 1, ["About colours"]), ("y", 0, [])):
        terminal = person.terminal("vault", "erase", "--session", session.id)
        terminal.sees("“About colours”: 3 messages, 1 attached file.")
        terminal.sees("Erase it for good? [y/N] ")
        terminal.types(answer)
        assert terminal.ends() == code
        assert conversations(person) == left
    assert "Receipt: entry" in terminal.screen


@pytest.mark.usefixtures("messages")
def test_without_anybody_to_ask_it_needs_yes(person: Person) -> None:
    done = person.claw("vault", "erase", "--session", "About colours")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert conversations(person) == ["About colours"]
    done = person.claw("vault", "erase", "--session", "About colours", "--yes", "--json")
    assert json.loads(done.stdout) == {
        "erased": {"sessions": 1, "messages": 3, "files": 1, "examples": 0, "adapters": 0},
        "entry": 0,
        "gone": True,
        "left": "",
    }
    assert done.stderr == ""


def test_a_message_takes_what_was_said_after_it(person: Person, messages: list[Message]) -> None:
    done = person.claw("vault", "erase", "--item", messages[1].id, "--yes")
    assert "2 messages: the message, and what was said after it." in done.stderr
    assert conversations(person) == ["About colours"]
    assert person.claw("vault", "erase", "--item", messages[1].id, "--yes").returncode == 2


@pytest.mark.usefixtures("messages")
def test_a_source_says_what_stays(person: Person, session: Session) -> None:
    done = person.claw("vault", "erase", "--source", "list.txt", "--yes")
    assert "1 attached file called “list.txt”" in done.stderr
    assert "replies that quote them" in done.stderr
    with person.vault() as vault:
        assert [message.attachments for message in vault.conversations.path(session.id)] == [(), (), ()]


@pytest.mark.usefixtures("messages")
def test_forks_are_named(person: Person, session: Session) -> None:
    person.claw("chat", "fork", session.id)
    done = person.claw("vault", "erase", "--session", session.id, "--yes")
    assert "hold copies and stay: “About colours (fork)”" in done.stderr
    assert conversations(person) == ["About colours (fork)"]


@pytest.mark.usefixtures("messages")
def test_deleting_a_conversation_leaves_a_receipt_too(person: Person, session: Session) -> None:
    person.claw("chat", "delete", session.id, "--yes")
    with person.vault() as vault:
        (stored,) = vault.log.entries()
        assert stored.entry is not None
        assert stored.entry.description == "erased 1 conversation, 3 messages, 1 attached file"


@pytest.mark.parametrize("name", ["--item", "--session", "--source"])
def test_an_empty_name_names_nothing(person: Person, name: str) -> None:
    done = person.claw("vault", "erase", name, "", "--yes")
    assert done.returncode == 2
    assert done.stderr.startswith("claw: An empty name names nothing.")


@pytest.mark.parametrize("arguments", [(), ("--item", "x", "--all"), ("--item", "x", "--models")])
def test_one_thing_at_a_time(person: Person, arguments: tuple[str, ...]) -> None:
    assert person.claw("vault", "erase", *arguments).returncode == 2


# Everything


def test_everything_goes_for_a_typed_word(person: Person) -> None:
    for word, code in (("yes", 1), ("erase", 0)):
        terminal = person.terminal("vault", "erase", "--all")
        terminal.sees("This destroys the vault")
        terminal.sees("Type erase to do it: ")
        terminal.types(word)
        assert terminal.ends() == code
    assert "It was not opened for that." in terminal.screen
    assert [path.name for path in person.home.data.iterdir()] == ["config.toml"]


def test_a_forgotten_passphrase_keeps_nobody_from_destroying_the_vault(person: Person) -> None:
    done = person.claw("vault", "erase", "--all", CLAW_PASSPHRASE_FILE="")
    assert done.returncode == 2
    assert person.home.vault.exists()
    done = person.claw("vault", "erase", "--all", "--yes", CLAW_PASSPHRASE_FILE="")
    assert done.returncode == 0
    assert "config.toml (settings)" in done.stderr
    assert not person.home.vault.exists()
    done = person.claw("vault", "erase", "--all", "--yes")
    assert done.returncode == 3
    assert "There is no vault" in done.stderr


def test_what_is_kept_is_said_and_nothing_else(person: Person) -> None:
    person.claw("pause")
    person.home.config_file.unlink()
    done = person.claw("vault", "erase", "--all", "--yes")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("  kept")]
    assert line == "  kept      the pause (`claw resume` ends it), backups wherever you put them"
    assert [path.name for path in person.home.data.iterdir()] == ["paused"]
    assert person.claw("resume").returncode == 0


def test_the_weights_go_when_asked_for(person: Person, tiny_model: Path) -> None:
    person.claw("model", "import", str(tiny_model), "--name", "mine")
    found = json.loads(person.claw("vault", "erase", "--all", "--models", "--yes", "--json").stdout)
    assert list(found) == ["key_files", "overwritten", "files", "bytes", "keychain", "keychain_left", "in_use"]
    assert found["bytes"] > tiny_model.stat().st_size
    assert not person.home.models.exists()


def test_the_desktops_keychain_forgets_the_vault(newcomer: Person, unlocked_desktop: Desktop) -> None:
    newcomer.environment |= unlocked_desktop.environment
    newcomer.claw("vault", "init")
    slots = json.loads(newcomer.home.keyslots.read_text())
    (account,) = [slot["account"] for slot in slots["slots"] if slot["kind"] == "keychain"]
    keychain = SystemKeychain()
    assert keychain.get(account) is not None
    done = newcomer.claw("vault", "erase", "--all", "--yes")
    assert "keychain  2 items removed" in done.stderr
    assert keychain.get(account) is None


def test_a_locked_keychain_is_said_to_be_left(newcomer: Person, unlocked_desktop: Desktop) -> None:
    newcomer.environment |= unlocked_desktop.environment
    newcomer.claw("vault", "init")
    unlocked_desktop.lock()
    done = newcomer.claw("vault", "erase", "--all", "--yes")
    assert done.returncode == 0
    assert "couldn't be asked to forget" in done.stderr
    assert not newcomer.home.vault.exists()
