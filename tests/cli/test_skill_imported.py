"""`claw skill run` of what a person imported: a script in the sandbox, or the model following it."""

import json
from pathlib import Path

import pytest

from tests.fixtures.command import Person
from vault.log.entries import Action, Status

SKILL = """\
---
name: word-count
description: Counts words. Use when somebody asks how long a text is.
---
# How

Say how many words there are.
"""
SCRIPT = """\
import sys
try:
    open(sys.argv[1]).read()
    print("reached it")
except OSError:
    print(len(sys.stdin.read().split()), "words")
"""


@pytest.fixture
def imported(person: Person, tmp_path: Path) -> Path:
    folder = tmp_path / "word-count"
    (folder / "scripts").mkdir(parents=True)
    (folder / "SKILL.md").write_text(SKILL)
    (folder / "scripts" / "count.py").write_text(SCRIPT)
    assert person.claw("skill", "import", str(folder), "--yes").returncode == 0
    return folder


def run(person: Person, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    done = person.claw("skill", "run", "word-count", *arguments, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def test_a_script_reads_its_input_and_nothing_of_the_persons(person: Person, imported: Path) -> None:
    given = ("--script", "scripts/count.py", "--argument", str(imported / "SKILL.md"))
    assert run(person, *given, stdin="one two three") == (0, "3 words\n", "")
    with person.vault() as vault:
        entries = [e.entry for e in vault.log.entries() if e.entry and e.entry.action is Action.TOOL]
    assert [entry.status for entry in entries] == [Status.DONE, Status.PREPARED]


def test_what_isnt_its_script_isnt_run(person: Person, imported: Path) -> None:
    for script in ("scripts/other.py", "SKILL.md", "../x.py", "/usr/bin/env"):
        code, out, err = run(person, "--script", script)
        assert (code, out) == (1, "")
        assert "has no script" in err


def test_a_rule_that_denies_it_holds_for_the_command_too(person: Person, imported: Path) -> None:
    assert person.claw("permission", "set", "skill.run", "skill:word-count", "deny").returncode == 0
    code, out, err = run(person, "--script", "scripts/count.py")
    assert (code, out) == (4, "")
    assert "claw permission show" in err


def test_a_skill_that_is_disabled_or_unknown_isnt_run(person: Person, imported: Path) -> None:
    assert person.claw("skill", "disable", "word-count").returncode == 0
    for arguments in (("--script", "scripts/count.py"), ("How long is this?",)):
        code, _, err = run(person, *arguments)
        assert code == 2
        assert "is disabled" in err
    assert person.claw("skill", "run", "no-such-skill", "x").returncode == 2


def test_the_model_follows_it_in_a_conversation_that_is_kept(person: Person, imported: Path) -> None:
    code, out, _ = run(person, "--json", "How many words are in: one two three?")
    assert code == 0
    reply = json.loads(out)
    with person.vault() as vault:
        (session,) = vault.conversations.sessions()
        assert session.title.startswith("word-count: How many words")
        assert vault.conversations.tree(session.id)[-1].text == reply["text"]
