"""The tools of a conversation, as the rules of a real vault shape them."""

import json
from pathlib import Path

import pytest

from skills.candidate import examine
from skills.errors import NotPermitted
from skills.library import Library
from skills.permissions.approval import Nobody
from skills.permissions.policy import Decision, new_rule
from skills.permissions.rules import Rules
from skills.sandbox.tiers import best
from skills.toolbox import PERMISSIONS, Session, begin, described
from vault.classes import DataClass
from vault.settings import NetworkSettings
from vault.store import Vault

SKILL_MD = b"---\nname: count\ndescription: Counts.\n---\nCount.\n"


def allow(vault: Vault, permission: str, resource: str, decision: Decision = Decision.ALLOW) -> None:
    Rules(vault).set(new_rule(permission, resource, decision, DataClass.HIGHLY_SENSITIVE))


def session(vault: Vault, skill: str | None = None, closed: list[Path] | None = None) -> Session:
    return begin(vault, NetworkSettings(), Nobody(), best, skill, closed or [])


def search(begun: Session, folder: Path) -> str:
    return begun.broker.call("search_files", json.dumps({"text": "canary", "folder": str(folder)}).encode()).text


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes" / "tax").mkdir(parents=True)
    (tmp_path / "notes" / "tax" / "t.txt").write_text("canary of the tax")
    (tmp_path / "notes" / "a.txt").write_text("canary of the notes")
    return tmp_path / "notes"


def test_without_a_rule_there_is_nothing_that_looks_at_files_or_the_web(vault: Vault) -> None:
    assert set(session(vault).broker.tools) == {"now", "calculate", "add_note", "search_notes", "run_python"}


def test_a_rule_brings_the_tools_that_it_is_about(vault: Vault, notes: Path) -> None:
    allow(vault, "files.read", str(notes))
    assert {"list_files", "read_file", "search_files"} <= set(session(vault).broker.tools)
    assert not {"write_file", "fetch_page"} & set(session(vault).broker.tools)
    allow(vault, "files.write", str(notes), Decision.ASK)
    allow(vault, "web.fetch", "example.org", Decision.ASK)
    assert {"write_file", "edit_file", "fetch_page"} <= set(session(vault).broker.tools)


def test_a_search_passes_over_what_a_rule_closes_and_hears_of_rules_that_come_later(
    vault: Vault, notes: Path
) -> None:
    allow(vault, "files.read", str(notes))
    begun = session(vault)
    assert "tax" in search(begun, notes)
    allow(vault, "files.read", str(notes / "tax"), Decision.DENY)
    assert search(begun, notes) == "a.txt:1: canary of the notes"


def test_the_passphrase_file_and_the_settings_are_closed(vault: Vault, notes: Path, tmp_path: Path) -> None:
    allow(vault, "files.read", str(tmp_path))
    (notes / "passphrase").write_text("canary of the passphrase")
    begun = session(vault, closed=[notes / "passphrase"])
    assert "passphrase" not in search(begun, notes)
    read = json.dumps({"path": str(notes / "passphrase")}).encode()
    assert begun.broker.call("read_file", read).refused
    vault.home.config_file.parent.mkdir(parents=True, exist_ok=True)
    vault.home.config_file.write_text("# canary")
    assert begun.broker.call("read_file", json.dumps({"path": str(vault.home.config_file)}).encode()).refused


def test_a_skill_that_a_rule_denies_isnt_begun_with(vault: Vault) -> None:
    Library(vault).add(examine("count", {"SKILL.md": SKILL_MD}), "here")
    assert session(vault, "count").activation.name == "count"
    allow(vault, "skill.use", "count", Decision.DENY)
    with pytest.raises(NotPermitted):
        session(vault, "count")


def test_every_tool_is_described_and_has_a_permission_that_rules_can_name(vault: Vault, notes: Path) -> None:
    Library(vault).add(examine("count", {"SKILL.md": SKILL_MD}), "here")
    for permission in ("files.read", "files.write"):
        allow(vault, permission, str(notes))
    allow(vault, "web.fetch", "example.org", Decision.ASK)
    tools = session(vault).broker.tools
    assert {tool.permission for tool in tools.values()} == set(PERMISSIONS)
    of_skills = {"use_skill", "read_skill_file", "run_script"}
    assert {name: tool.description for name, tool in tools.items() if name not in of_skills} == described(vault)
