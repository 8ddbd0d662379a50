"""Skills on demand: described always, read when taken up, and granted nothing by that."""

import json

import pytest

from skills.candidate import examine
from skills.errors import SkillError
from skills.library import Library
from skills.permissions.approval import Answer
from skills.permissions.policy import Decision
from skills.sandbox.tiers import best
from skills.toolbox import begin
from skills.tools.activation import Activation, Offer, activation_tools
from skills.tools.programs import script_tool
from tests.skills.permissions.conftest import Person, Session
from vault.settings import NetworkSettings
from vault.store import Vault

SKILL_MD = """---
name: {name}
description: {description}
---
Do it like this.
"""


def add(vault: Vault, name: str, description: str = "Counts words.", files: dict[str, bytes] | None = None) -> None:
    named = {"SKILL.md": SKILL_MD.format(name=name, description=description).encode(), **(files or {})}
    Library(vault).add(examine(name, named), "here")


def activation(vault: Vault) -> Activation:
    library = Library(vault)
    return Activation([Offer(*offered) for offered in library.offered()], library.use)


def test_only_skills_that_are_enabled_are_offered_with_their_descriptions(vault: Vault) -> None:
    add(vault, "count")
    add(vault, "other", "Does something else.")
    Library(vault).enable("other", enabled=False)
    (use, read) = activation_tools(activation(vault))
    assert "count: Counts words." in use.description
    assert "other" not in use.description
    assert use.schema["properties"]["skill"]["enum"] == ["count"]
    assert read.name == "read_skill_file"


def test_taking_one_up_makes_its_files_and_scripts_usable_and_calls_its_own(vault: Vault) -> None:
    add(vault, "count", files={"scripts/a.py": b"print('ran')", "references/more.md": b"more \x1b[31mhere"})
    skills = activation(vault)
    begun = Session(vault, [*activation_tools(skills), script_tool(skills, best)], [])
    assert "No skill is in use" in begun.broker.call("read_skill_file", b'{"path": "references/more.md"}').text
    assert not begun.broker.call("run_script", b'{"script": "scripts/a.py"}').ok
    assert begun.broker.call("use_skill", b'{"skill": "count"}').ok
    assert skills.name == "count"
    assert begun.broker.call("read_skill_file", b'{"path": "references/more.md"}').text == "more [31mhere"
    begun.person.answers = [Answer.ONCE]
    assert begun.broker.call("run_script", b'{"script": "scripts/a.py"}', asked_by=skills.name).text == "ran"
    assert begun.person.asked[-1].asked_by == "count"


@pytest.mark.parametrize("name", ["missing", "../count", "", "Count"])
def test_a_skill_that_isnt_offered_cant_be_taken_up(vault: Vault, name: str) -> None:
    add(vault, "count")
    skills = activation(vault)
    begun = Session(vault, activation_tools(skills), [])
    assert not begun.broker.call("use_skill", json.dumps({"skill": name}).encode()).ok
    assert skills.skill is None


def test_a_rule_can_keep_skills_from_being_taken_up(vault: Vault) -> None:
    add(vault, "count")
    skills = activation(vault)
    begun = Session(vault, activation_tools(skills), [])
    begun.grant("skill.use", "skill:count", Decision.DENY)
    assert begun.broker.call("use_skill", b'{"skill": "count"}').refused
    assert skills.skill is None


def test_the_offers_stay_within_their_part_of_the_context(vault: Vault) -> None:
    offers = [Offer(f"skill-{n}", "d" * 1024) for n in range(100)]
    kept = Activation(offers, Library(vault).use).offers
    assert 10 < len(kept) < 30
    assert max(len(offer.description) for offer in kept) == 200


def test_a_skill_that_was_asked_for_by_name_is_the_only_one(vault: Vault) -> None:
    add(vault, "count")
    add(vault, "other")
    session = begin(vault, NetworkSettings(), Person(), best, "count")
    assert session.activation.name == "count"
    assert "use_skill" not in session.broker.tools
    Library(vault).enable("count", enabled=False)
    with pytest.raises(SkillError):
        begin(vault, NetworkSettings(), Person(), best, "count")


@pytest.mark.parametrize("gone", ["disabled", "removed"])
def test_a_skill_that_is_disabled_or_removed_meanwhile_isnt_used_any_more(vault: Vault, gone: str) -> None:
    add(vault, "count", files={"scripts/a.py": b"print('ran')", "references/more.md": b"more"})
    skills = activation(vault)
    begun = Session(vault, [*activation_tools(skills), script_tool(skills, best)], [])
    assert begun.broker.call("use_skill", b'{"skill": "count"}').ok
    if gone == "disabled":
        Library(vault).enable("count", enabled=False)
    else:
        Library(vault).remove("count")
    begun.person.answers = [Answer.ONCE]
    assert not begun.broker.call("run_script", b'{"script": "scripts/a.py"}').ok
    assert not begun.broker.call("read_skill_file", b'{"path": "references/more.md"}').ok
    assert begun.person.asked == []
