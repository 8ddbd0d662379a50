"""`claw vault status`, `check` and `accept`: where everything lies, whether it is whole, and what to do if not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.command import Person
from vault.attempts import MANY
from vault.connection import Connection
from vault.messages import Attachment
from vault.notifications import LargeExport, RollbackAccepted

KEYS = ["folder", "exists", "slots", "bytes", "problem", "files", "failed_unlocks", "state", "locked_why", "inside"]
INSIDE = [
    "alarm",
    "opened_by",
    "anchor",
    "rotated_ms",
    "kinds",
    "sent_today",
    "received_today",
    "sent",
    "received",
    "notices",
]
PARTS = [
    "anchor",
    "key slots",
    "pages",
    "references",
    "full-text index",
    "sealed fields",
    "transparency log",
]


@pytest.fixture
def filled(person: Person) -> Person:
    """A person whose vault holds a bit of everything."""
    with person.vault() as vault:
        kept = vault.conversations
        session = kept.start("talk", "")
        files = [Attachment("a.txt", "one"), Attachment("b.txt", "two")]
        kept.append(session.id, None, "user", "words", attachments=files)
        vault.erasure.carry_out(vault.erasure.of_sessions([kept.start("gone", "")]))
        vault.database.write(
            lambda c: c.execute("INSERT INTO egress_days VALUES ('2020-01-01', 1000, 2048)").rowcount
        )
    return person


def status(person: Person, *, locked: bool = False) -> dict[str, object]:
    """What the command says, with or without a way to open the vault."""
    if locked:
        person.environment["CLAW_PASSPHRASE_FILE"] = ""
    found: dict[str, object] = json.loads(person.claw("vault", "status", "--json").stdout)
    person.environment["CLAW_PASSPHRASE_FILE"] = str(person.passphrase_file)
    assert list(found) == KEYS
    return found


# Status


def test_the_open_vault_says_what_lies_in_it_how_strictly_and_for_how_long(filled: Person) -> None:
    found = status(filled)
    assert found["state"] == "open"
    inside = found["inside"]
    assert isinstance(inside, dict)
    assert list(inside) == INSIDE
    kinds = {use["kind"]: use for use in inside["kinds"]}
    assert kinds["conversations"]["rows"] == 2
    assert kinds["conversations"]["kept"].startswith("sessions: 30 days, then archived")
    assert kinds["attached files"]["rows"] == 2
    assert kinds["attached files"]["data_class"] == "highly-sensitive"
    assert all(use["bytes"] > 0 for use in kinds.values() if use["rows"])
    assert (inside["sent"], inside["sent_today"], inside["received"]) == (1000, 0, 2048)
    assert inside["anchor"]["log"] == 1
    shown = filled.claw("vault", "status").stdout
    for said in ("conversations", "highly-sensitive", "0 B today, 2.0 KiB ever", "vault/vault.db"):
        assert said in shown


def test_a_locked_vault_says_what_can_be_said_and_how_to_hear_more(filled: Person) -> None:
    found = status(filled, locked=True)
    assert (found["state"], found["inside"], found["slots"]) == ("locked", None, ["passphrase"])
    files = found["files"]
    assert isinstance(files, list)
    assert {Path(file["path"]).name: file["bytes"] for file in files}["vault.db"] > 4096
    shown = filled.claw("vault", "status", CLAW_PASSPHRASE_FILE="").stdout
    assert "claw vault status --open" in shown


def test_before_there_is_a_vault_it_says_so(newcomer: Person) -> None:
    assert status(newcomer)["state"] == "none"
    assert newcomer.claw("vault", "status").stdout.startswith("There is no vault")


def test_a_vault_that_cant_be_read_is_called_so(filled: Person) -> None:
    filled.home.database.write_bytes(b"x" * 8192)
    found = status(filled)
    assert found["state"] == "unreadable"
    assert "damaged" in str(found["problem"])


def test_failed_unlocks_are_counted_while_it_is_locked_and_told_when_it_opens(filled: Person) -> None:
    wrong = filled.folder / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("a wrong passphrase")
    for _ in range(MANY):
        assert filled.claw("chat", "list", CLAW_PASSPHRASE_FILE=str(wrong)).returncode == 3
    assert status(filled, locked=True)["failed_unlocks"] == MANY
    assert f"{MANY} attempts to open the vault failed" in filled.claw("vault", "status", "--notices").stderr
    assert status(filled)["failed_unlocks"] == 0


def test_notices_are_shown_once(filled: Person) -> None:
    with filled.vault() as vault:
        vault.notifications.raise_(LargeExport(5_000_000, 12))
    assert "`claw vault status --notices`" in filled.claw("vault", "status").stdout
    told = json.loads(filled.claw("vault", "status", "--notices", "--json").stdout)
    assert [notice["event"] for notice in told] == [{"kind": "large-export", "bytes": 5_000_000, "rows": 12}]
    done = filled.claw("vault", "status", "--notices")
    assert done.stderr == "There is nothing that you haven't been told.\n"


# Check


def check(person: Person) -> tuple[int, dict[str, list[str]]]:
    """The exit code, and what is wrong by part."""
    done = person.claw("vault", "check", "--json")
    found = json.loads(done.stdout)
    assert [part["part"] for part in found] == PARTS
    return done.returncode, {part["part"]: part["wrong"] for part in found if not part["ok"]}


def test_a_whole_vault_is_checked_part_by_part(filled: Person) -> None:
    done = filled.claw("vault", "check")
    assert done.returncode == 0
    assert done.stderr == "Everything in the vault is whole.\n"
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"ok     {part}" for part in PARTS]
    assert "sealed fields: 3" in done.stdout  # two files and the signing key
    assert check(filled) == (0, {})


def test_checking_changes_nothing(filled: Person) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in filled.home.vault.iterdir()}

    filled.claw("vault", "check")
    before = files()
    filled.claw("vault", "check")
    assert files()["vault.db"] == before["vault.db"]


Tampering = Callable[[Connection], object]
TAMPERED: dict[str, tuple[str, str, Tampering]] = {
    "a message that the index doesn't know": (
        "full-text index",
        "doesn't match",
        lambda c: [c.execute("DROP TRIGGER messages_text_update"), c.execute("UPDATE messages SET text = 'new'")],
    ),
    "a sealed field moved to another row": (
        "sealed fields",
        "attachments 1",
        lambda c: c.execute("UPDATE attachments SET text = (SELECT text FROM attachments WHERE n = 2) WHERE n = 1"),
    ),
    "a conversation that ends nowhere": (
        "references",
        "1 conversations end",
        lambda c: c.execute("UPDATE sessions SET head = 'nowhere'"),
    ),
    "an entry of the log that was edited": (
        "transparency log",
        "Entry 0 was changed",
        lambda c: c.execute("UPDATE log_entries SET body = CAST(replace(body, 'erased', 'viewed') AS BLOB)"),
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_it_names(filled: Person, name: str) -> None:
    part, expected, tamper = TAMPERED[name]

    def work(connection: Connection) -> None:
        tamper(connection)

    with filled.vault() as vault:
        vault.database.write(work)
    code, wrong = check(filled)
    assert code == 6
    assert list(wrong) == [part]
    assert expected in wrong[part][0]
    shown = filled.claw("vault", "check")
    assert f"WRONG  {part}" in shown.stdout
    assert "backup" in shown.stderr


def test_it_names_a_copy_of_the_slots_that_is_none(filled: Person) -> None:
    backup = filled.home.vault / "keyslots.json.backup"
    filled.claw("vault", "check")
    backup.write_bytes(backup.read_bytes().replace(b"\n", b"\n\n", 1))
    code, wrong = check(filled)
    assert (code, list(wrong)) == (6, ["key slots"])


def test_it_names_everything_and_not_only_the_first(filled: Person) -> None:
    def work(connection: Connection) -> None:
        for name in ("a conversation that ends nowhere", "an entry of the log that was edited"):
            TAMPERED[name][2](connection)

    with filled.vault() as vault:
        vault.database.write(work)
    assert set(check(filled)[1]) == {"references", "transparency log"}
    assert "(2 findings)" in filled.claw("vault", "check").stderr


# An older vault, and accepting it


@pytest.fixture
def rolled_back(filled: Person) -> Person:
    """A person in whose vault somebody put an older database."""
    older = filled.home.database.read_bytes()
    with filled.vault() as vault:
        vault.conversations.start("newer", "")
    filled.home.database.write_bytes(older)
    return filled


def test_an_alarm_is_said_once_and_reading_goes_on(rolled_back: Person) -> None:
    done = rolled_back.claw("chat", "list")
    assert done.returncode == 0
    assert "talk" in done.stdout
    assert done.stderr.count("ALARM") == 1
    assert "claw vault accept" in done.stderr
    assert rolled_back.claw("chat", "rename", "talk", "other").returncode == 6
    assert status(rolled_back)["state"] == "alarm"
    code, wrong = check(rolled_back)
    assert (code, list(wrong)) == (6, ["anchor"])


def test_a_check_that_finds_the_anchor_alone_wrong_says_what_to_do(rolled_back: Person) -> None:
    done = rolled_back.claw("vault", "check")
    assert done.returncode == 6
    assert "claw vault accept" in done.stderr
    assert "check the disk" not in done.stderr
    assert ".." not in done.stderr


def test_accepting_needs_a_yes_and_then_everything_goes_on(rolled_back: Person) -> None:
    done = rolled_back.claw("vault", "accept")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    terminal = rolled_back.terminal("vault", "accept")
    terminal.sees("ALARM")
    terminal.sees("Take it as it is? Whatever is missing stays missing. [y/N] ")
    terminal.types("y")
    assert terminal.ends() == 0
    assert rolled_back.claw("chat", "rename", "talk", "other").returncode == 0
    assert check(rolled_back) == (0, {})


def test_an_acceptance_is_logged_and_told(rolled_back: Person) -> None:
    assert rolled_back.claw("vault", "accept", "--yes").returncode == 0
    with rolled_back.vault() as vault:
        entry = vault.log.entries()[0].entry
        assert entry is not None
        assert entry.action == "accept"
        (notice,) = [n.event for n in vault.notifications.unseen() if isinstance(n.event, RollbackAccepted)]
        assert notice.finding in entry.description
    assert "though:" in rolled_back.claw("vault", "status", "--notices").stderr


def test_a_vault_without_an_alarm_has_nothing_to_accept(filled: Person) -> None:
    done = filled.claw("vault", "accept", "--yes")
    assert done.returncode == 0
    assert "nothing to accept" in done.stderr


def test_a_no_leaves_the_alarm(rolled_back: Person) -> None:
    terminal = rolled_back.terminal("vault", "accept")
    terminal.sees("[y/N] ")
    terminal.types("")
    assert terminal.ends() == 1
    assert status(rolled_back)["state"] == "alarm"
