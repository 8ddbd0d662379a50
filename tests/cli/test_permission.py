"""`claw permission`: what the assistant's tools may do, shown and changed."""

import json
from pathlib import Path

from tests.fixtures.command import Person
from vault.log.entries import Action


def rules(person: Person) -> list[dict[str, object]]:
    return list(json.loads(person.claw("permission", "show", "--json").stdout)["rules"])


def test_without_a_rule_it_says_what_holds(person: Person) -> None:
    done = person.claw("permission", "show")
    assert done.returncode == 0
    assert "You made no rule." in done.stderr
    assert "files and the web are closed" in done.stderr
    assert "web.fetch" in done.stderr


def test_a_rule_is_set_shown_logged_and_taken_back(person: Person, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    assert person.claw("permission", "set", "files.read", str(folder), "ask").returncode == 0
    (rule,) = rules(person)
    assert (rule["permission"], rule["resource"], rule["decision"]) == ("files.read", f"file:{folder}", "ask")
    assert str(folder) in person.claw("permission", "show").stdout
    assert person.claw("permission", "set", "files.read", str(folder), "deny").returncode == 0
    assert [rule["decision"] for rule in rules(person)] == ["deny"]
    assert person.claw("permission", "set", "files.read", str(folder), "default").returncode == 0
    assert rules(person) == []
    assert person.claw("permission", "set", "files.read", str(folder), "default").returncode == 1
    with person.vault() as vault:
        said = [e.entry.description for e in vault.log.entries() if e.entry and e.entry.action is Action.PERMISSION]
    assert len(said) == 3
    assert not any(str(folder) in text for text in said)


def test_a_rule_about_a_skill_that_is_not_there_says_so(person: Person) -> None:
    told = person.claw("permission", "set", "skill.run", "skill:tidy-up/run.py", "deny")
    assert told.returncode == 0
    assert "There is no skill 'tidy-up' yet" in told.stderr
    assert "yet" not in person.claw("permission", "set", "skill.use", "skill:document-qa", "deny").stderr


def test_what_would_open_everything_is_refused_with_the_way_to_go(person: Person) -> None:
    for arguments in (
        ("files.read", "/", "allow"),
        ("files.read", "*", "allow"),
        ("files.reed", "/tmp", "allow"),
        ("*", "*", "allow"),
        ("web.fetch", "*", "allow"),
        ("files.read", "/no/such/folder", "ask"),
        ("web.fetch", "https://example.org/", "ask"),
    ):
        done = person.claw("permission", "set", *arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("claw: ")
    assert person.claw("permission", "set", "files.read", "/tmp", "perhaps").returncode == 2


def test_a_rule_about_a_folder_that_is_gone_or_leads_elsewhere_can_be_taken_back(
    person: Person, tmp_path: Path
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    assert person.claw("permission", "set", "files.read", str(folder), "ask").returncode == 0
    folder.rmdir()
    folder.symlink_to("/etc")
    assert person.claw("permission", "set", "files.read", str(folder), "default").returncode == 0
    assert rules(person) == []
