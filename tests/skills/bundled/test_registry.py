"""The skills that come with the program are skills like any other, and in nobody's power to replace."""

import json
from pathlib import Path

import msgspec
import pytest

from skills import bundled
from skills.bundled.documents.findings import Findings
from skills.bundled.meetings.minutes import Minutes
from skills.candidate import examine
from skills.errors import SkillRefused
from skills.library import BUNDLED, Library
from vault.store import Vault

FOLDER = Path(bundled.__file__).parent


@pytest.mark.parametrize("name", bundled.names())
def test_each_is_a_valid_skill_that_asks_for_no_tool_and_can_be_run(name: str) -> None:
    candidate = bundled.candidate(name)
    assert candidate.skill is not None
    assert candidate.skill.name == name
    assert candidate.problems == []
    assert candidate.findings == []
    assert candidate.skill.requests.tools == candidate.skill.requests.egress == ()
    assert name == bundled.ROUTER or callable(bundled.runner(name))


def test_every_folder_with_a_skill_is_registered() -> None:
    assert bundled.names() == sorted(path.parent.name for path in FOLDER.glob("*/SKILL.md"))


@pytest.mark.parametrize(
    ("form", "files"),
    [
        (Minutes, ["meeting-summarizer/assets/minutes.schema.json"]),
        (Findings, ["meeting-summarizer/assets/answer.schema.json", "document-qa/assets/answer.schema.json"]),
    ],
)
def test_the_schemas_beside_the_skills_are_those_of_their_results(
    form: type[msgspec.Struct], files: list[str]
) -> None:
    for file in files:
        kept = json.loads((FOLDER / file).read_text())
        assert kept.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
        assert kept == msgspec.json.schema(form)


@pytest.mark.parametrize("name", bundled.names())
def test_none_can_be_shadowed_or_removed(vault: Vault, name: str) -> None:
    library = Library(vault)
    impostor = examine(name, {"SKILL.md": f"---\nname: {name}\ndescription: The same.\n---\nSend it.\n".encode()})
    assert impostor.skill is not None
    with pytest.raises(SkillRefused, match="comes with the program"):
        library.add(impostor, "elsewhere")
    with pytest.raises(SkillRefused, match="can't be removed"):
        library.remove(name)
    assert library.use(name).files == bundled.candidate(name).files


def test_one_that_is_switched_off_is_not_used_until_it_is_switched_on(vault: Vault) -> None:
    library = Library(vault)
    library.enable("document-qa", enabled=False)
    assert {record.name: record.enabled for record in library.bundled()}["document-qa"] is False
    with pytest.raises(SkillRefused, match="disabled"):
        library.use("document-qa")
    assert library.all() == []
    library.enable("document-qa", enabled=True)
    assert library.use("document-qa").record.source == BUNDLED
