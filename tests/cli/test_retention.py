"""`claw vault retention`: how long things are kept, and what a person has to say to keep them longer."""

import json
import time

import pytest

from tests.fixtures.command import Person

DAY = 24 * 3600 * 1000


def kept(person: Person) -> dict[str, int | None]:
    rules = json.loads(person.claw("vault", "retention", "show", "--json").stdout)
    assert [list(rule) for rule in rules] == [["kind", "days", "default", "then"]] * len(rules)
    return {rule["kind"]: rule["days"] for rule in rules}


def age(person: Person, title: str, days: int) -> None:
    """Make a conversation that was last used some days ago."""
    with person.vault() as vault:
        session = vault.conversations.start(title, "")
        vault.conversations.append(session.id, None, "user", f"words of {title}")
        used = time.time_ns() // 1_000_000 - days * DAY
        vault.database.write(
            lambda c: c.execute("UPDATE sessions SET updated_ms = ? WHERE id = ?", (used, session.id)).rowcount
        )


def test_the_rules_are_shown_with_their_defaults(person: Person) -> None:
    shown = person.claw("vault", "retention", "show").stdout.splitlines()
    assert shown[0].split() == ["KIND", "KEPT", "BY", "DEFAULT", "THEN"]
    assert ["sessions", "30", "days", "30", "days", "archived"] in [line.split() for line in shown]
    assert kept(person) == {
        "sessions": 30,
        "archived-sessions": None,
        "examples": None,
        "adapters": None,
        "sensitive-log": 7,
        "log": 90,
        "notifications": 30,
        "unfinished-runs": 7,
        "unfinished-downloads": 7,
        "temporary-files": 0,
    }


def test_a_shorter_time_is_set_without_a_question(person: Person) -> None:
    done = person.claw("vault", "retention", "set", "log", "10")
    assert done.stderr == "log: kept 10 days, then cleared; the leaf stays. It holds from the next run on.\n"
    assert kept(person)["log"] == 10


def test_a_longer_time_needs_a_yes(person: Person) -> None:
    done = person.claw("vault", "retention", "set", "sessions", "forever")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert kept(person)["sessions"] == 30
    done = person.claw("vault", "retention", "set", "sessions", "forever", "--yes", "--json")
    assert json.loads(done.stdout) == {"kind": "sessions", "days": None, "default": 30, "then": "archived"}


def test_longer_than_now_needs_a_yes_even_if_it_is_no_longer_than_by_default(person: Person) -> None:
    assert person.claw("vault", "retention", "set", "sessions", "1").returncode == 0
    done = person.claw("vault", "retention", "set", "sessions", "30")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert kept(person)["sessions"] == 1


def test_at_a_terminal_the_person_is_asked(person: Person) -> None:
    for answer, code, days in (("n", 1, 30), ("y", 0, 60)):
        terminal = person.terminal("vault", "retention", "set", "sessions", "60")
        terminal.sees("So far sessions go sooner. Keep them 60 days? [y/N] ")
        terminal.types(answer)
        assert terminal.ends() == code
        assert kept(person)["sessions"] == days


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("logs", "3"), "There are: sessions"),
        (("log", "soon"), "forever"),
        (("log", "99999999"), "36,500"),
        (("log", "9" * 5000), "36,500"),
        (("log", "\u0663"), "36,500"),
    ],
)
def test_what_is_no_kind_and_no_number_is_refused(
    person: Person, arguments: tuple[str, str], expected: str
) -> None:
    done = person.claw("vault", "retention", "set", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr) < 500


def test_zeros_in_front_are_no_mistake(person: Person) -> None:
    for days, text in ((7, "0" * 5000 + "7"), (0, "000")):
        assert person.claw("vault", "retention", "set", "log", text).returncode == 0
        assert kept(person)["log"] == days


def test_a_run_says_what_went(person: Person) -> None:
    assert person.claw("vault", "retention", "run").stderr == "Nothing was due.\n"
    age(person, "old", 31)
    assert person.claw("vault", "retention", "run").stderr == "Archived 1 conversation.\n"
    report = json.loads(person.claw("vault", "retention", "run", "--json").stdout)
    assert list(report) == ["archived", "erased", "log_entries", "notifications", "files", "runs", "left"]


def test_archived_conversations_are_listed_and_found_when_asked_for(person: Person) -> None:
    age(person, "old", 31)
    age(person, "young", 1)
    person.claw("vault", "retention", "run")
    for arguments, there, away in (((), "young", "old"), (("--archived",), "old", "young")):
        listed = person.claw("chat", "list", *arguments).stdout
        found = person.claw("chat", "search", "words", *arguments).stdout
        assert there in listed
        assert there in found
        assert away not in listed + found


def test_without_a_verb_the_rules_are_shown(person: Person) -> None:
    assert person.claw("vault", "retention").stdout == person.claw("vault", "retention", "show").stdout != ""


def test_the_archive_is_mentioned_where_nothing_else_is_found(person: Person) -> None:
    with person.vault() as vault:
        session = vault.conversations.start("Birds", "")
        vault.conversations.append(session.id, None, "user", "osprey")
        vault._database.write(lambda c: c.execute("UPDATE sessions SET archived_ms = 1"))
    listed, found = person.claw("chat", "list"), person.claw("chat", "search", "osprey")
    assert listed.stdout == found.stdout == ""
    assert listed.stderr == "1 in the archive: claw chat list --archived\n"
    assert "1 more in the archive: claw chat search --archived osprey" in found.stderr
    assert "Every conversation is archived" in person.claw("chat", "show").stderr
