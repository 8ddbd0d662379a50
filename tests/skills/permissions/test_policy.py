"""What the policy says: the strictest where nothing is said, and what no rule loosens."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.errors import RuleRefused
from skills.permissions.policy import Decision, Policy, new_rule
from skills.tools.tool import Arguments, Effect, Plan, Resource, Tool
from vault.classes import DataClass
from vault.permission_store import PermissionRule
from vault.portability.checks import means_something

ALLOW, ASK, DENY = Decision.ALLOW, Decision.ASK, Decision.DENY
PERMISSIONS = {
    Effect.NONE: "time",
    Effect.READ: "files.read",
    Effect.REMEMBER: "notes.add",
    Effect.WRITE: "files.write",
    Effect.RUN: "skill.run",
    Effect.SEND: "web.fetch",
}


class Nothing(Arguments, frozen=True):
    pass


def tool(effect: Effect, permission: str = "", data_class: DataClass = DataClass.MEDIUM) -> Tool[Any]:
    plan = Plan("do it", lambda _running: "")
    return Tool(
        "it", permission or PERMISSIONS[effect], "", Nothing, effect, data_class, lambda _given, _about: plan
    )


def decision(policy: Policy, used: Tool[Any], *resources: Resource) -> Decision:
    return policy.rule_on(used, resources).decision


def file(path: Path) -> Resource:
    return Resource("file", str(path))


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (Effect.NONE, ALLOW),
        (Effect.READ, ASK),
        (Effect.REMEMBER, ASK),
        (Effect.WRITE, ASK),
        (Effect.RUN, ASK),
        (Effect.SEND, DENY),
    ],
)
def test_without_a_rule_nothing_happens_unasked_and_nothing_is_sent(effect: Effect, expected: Decision) -> None:
    assert decision(Policy([]), tool(effect), Resource("vault", "notes")) is expected


@pytest.mark.parametrize("effect", [Effect.READ, Effect.WRITE])
def test_a_file_in_no_granted_folder_is_denied(effect: Effect, tmp_path: Path) -> None:
    ruling = Policy([]).rule_on(tool(effect), [file(tmp_path / "a.txt")])
    assert ruling.decision is DENY
    assert "claw permission set" in ruling.why


def test_a_granted_folder_holds_what_is_below_it_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    policy = Policy([new_rule("files.read", str(tmp_path / "notes"), ALLOW, DataClass.HIGHLY_SENSITIVE)])
    reads = tool(Effect.READ)
    assert decision(policy, reads, file(tmp_path / "notes")) is ALLOW
    assert decision(policy, reads, file(tmp_path / "notes" / "deep" / "a.txt")) is ALLOW
    assert decision(policy, reads, file(tmp_path / "notes2" / "a.txt")) is DENY
    assert decision(policy, reads, file(tmp_path)) is DENY
    assert decision(policy, reads, file(tmp_path / "notes/a"), file(tmp_path / "b")) is DENY
    assert policy.granted("files.read") == [tmp_path / "notes"]
    assert policy.granted("files.write") == []


def test_reading_being_granted_says_nothing_of_writing(tmp_path: Path) -> None:
    policy = Policy([new_rule("files.read", str(tmp_path), ALLOW, DataClass.HIGHLY_SENSITIVE)])
    assert decision(policy, tool(Effect.WRITE), file(tmp_path / "a")) is DENY


def test_hidden_files_arent_part_of_a_grant_unless_it_names_them(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    reads = tool(Effect.READ)
    broad = Policy([new_rule("files.read", str(tmp_path), ALLOW, DataClass.HIGHLY_SENSITIVE)])
    assert decision(broad, reads, file(tmp_path / ".ssh" / "id_ed25519")) is DENY
    assert decision(broad, reads, file(tmp_path / "a" / ".env")) is DENY
    named = Policy([new_rule("files.read", str(tmp_path / ".ssh"), ASK, DataClass.HIGHLY_SENSITIVE)])
    assert decision(named, reads, file(tmp_path / ".ssh" / "config")) is ASK


@pytest.mark.parametrize("effect", [Effect.WRITE, Effect.RUN, Effect.SEND])
def test_what_writes_runs_or_sends_asks_though_a_rule_allows_it(effect: Effect, tmp_path: Path) -> None:
    about = {
        Effect.WRITE: (str(tmp_path), file(tmp_path / "a")),
        Effect.RUN: ("skill:count", Resource("skill", "count/scripts/a.py")),
        Effect.SEND: ("example.org", Resource("host", "example.org")),
    }
    resource, used = about[effect]
    rule = new_rule(PERMISSIONS[effect], resource, ALLOW, DataClass.HIGHLY_SENSITIVE)
    assert decision(Policy([rule]), tool(effect), used) is ASK


def test_the_strictest_of_several_rules_counts(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    rules = [
        new_rule("files.read", str(tmp_path), ALLOW, DataClass.HIGHLY_SENSITIVE),
        new_rule("files.*", str(tmp_path / "secret"), DENY, DataClass.HIGHLY_SENSITIVE),
    ]
    for order in (rules, rules[::-1]):
        assert decision(Policy(order), tool(Effect.READ), file(tmp_path / "a")) is ALLOW
        assert decision(Policy(order), tool(Effect.READ), file(tmp_path / "secret" / "a")) is DENY


def test_a_rule_that_opens_reaches_up_to_its_class_alone() -> None:
    rule = new_rule("notes.search", "vault:notes", ALLOW, DataClass.MEDIUM)
    notes = Resource("vault", "notes")
    assert decision(Policy([rule]), tool(Effect.READ, "notes.search"), notes) is ALLOW
    sensitive = tool(Effect.READ, "notes.search", DataClass.HIGHLY_SENSITIVE)
    assert decision(Policy([rule]), sensitive, notes) is ASK


def test_a_rule_that_closes_holds_for_every_class() -> None:
    rule = new_rule("notes.search", "vault:notes", DENY, DataClass.HIGHLY_SENSITIVE)
    assert decision(Policy([rule]), tool(Effect.READ, "notes.search"), Resource("vault", "notes")) is DENY


def test_a_domain_covers_its_hosts_and_none_that_only_ends_alike() -> None:
    policy = Policy([new_rule("web.fetch", "*.Example.org", ASK, DataClass.HIGHLY_SENSITIVE)])
    fetches = tool(Effect.SEND)
    assert decision(policy, fetches, Resource("host", "www.example.org")) is ASK
    for host in ("example.org", "badexample.org", "example.org.evil.net"):
        assert decision(policy, fetches, Resource("host", host)) is DENY


def test_the_assistants_own_files_are_closed_whatever_was_granted(tmp_path: Path) -> None:
    own = tmp_path / "home" / "vault"
    own.mkdir(parents=True)
    policy = Policy([new_rule("files.*", str(tmp_path), ALLOW, DataClass.HIGHLY_SENSITIVE)], [own])
    for effect in (Effect.READ, Effect.WRITE):
        assert decision(policy, tool(effect), file(own / "keyslots.json")) is DENY
        assert decision(policy, tool(effect), file(own)) is DENY
        assert decision(policy, tool(effect), file(tmp_path / "other")) is not DENY
    assert decision(policy, tool(Effect.WRITE), file(tmp_path / "home")) is DENY
    assert decision(policy, tool(Effect.READ), file(tmp_path / "home")) is ALLOW  # without them: `strictness`
    assert policy.strictness("files.read", own) == DENY.strictness


def test_a_folder_with_the_signs_of_a_pattern_in_its_name_can_be_closed_and_opened(tmp_path: Path) -> None:
    folder = tmp_path / "notes [old]"
    folder.mkdir()
    policy = Policy([new_rule("files.read", str(folder), ALLOW, DataClass.HIGHLY_SENSITIVE)])
    assert decision(policy, tool(Effect.READ), file(folder / "a")) is ALLOW
    with pytest.raises(RuleRefused, match="without patterns"):
        new_rule("files.read", str(tmp_path / "*.txt"), DENY, DataClass.HIGHLY_SENSITIVE)


@given(
    st.sampled_from(("files.read", "files.*", "*.run", "time", "skill.use", "web.fetch", "notes.*"))
    | st.text(st.sampled_from("a.*?["), max_size=6),
    st.sampled_from(
        ("/", "*", "/tmp", "skill:a-b/scripts/a b.py", "*.example.org", "notes", "/no\u202e", "/\ud800")
    )
    | st.text(max_size=6),
    st.sampled_from(list(Decision)),
)
def test_a_rule_that_can_be_set_is_one_that_a_backup_can_bring_back(
    permission: str, resource: str, decision_: Decision
) -> None:
    try:
        rule = new_rule(permission, resource, decision_, DataClass.MEDIUM)
    except RuleRefused:
        return
    for column in rule.__struct_fields__:
        assert means_something("permissions", column, getattr(rule, column)), column


@pytest.mark.parametrize("permission", ["*", "**", "*.*", "?", "[a-z]*", "files.rea?", "a.b.c", "Files.read"])
def test_a_rule_is_about_something_that_is_named(permission: str) -> None:
    with pytest.raises(RuleRefused, match="names nothing"):
        new_rule(permission, "*", DENY, DataClass.MEDIUM)


def test_a_rule_for_anything_opens_neither_files_nor_hosts() -> None:
    policy = Policy([new_rule("notes.*", "*", ALLOW, DataClass.HIGHLY_SENSITIVE)])
    assert decision(policy, tool(Effect.READ, "notes.search"), Resource("vault", "notes")) is ALLOW
    assert decision(policy, tool(Effect.READ, "notes.search"), Resource("file", "/etc/passwd")) is DENY


@pytest.mark.parametrize(
    ("permission", "resource"),
    [
        ("*", "*"),
        ("", "*"),
        ("files.read", "*"),
        ("files.read", "/"),
        ("files.read", "/no/such/folder"),
        ("files.read", "/tmp/*"),
        ("web.fetch", "*"),
        ("notes.add", "somewhere"),
        ("skill.run", "\x1b]52;c;x"),
        ("files.\u202eread", "/tmp"),
        ("files.read", "skill:x"),
        ("files.read", "host:example.org"),
        ("web.fetch", "https://example.org/"),
        ("web.fetch", "*.com"),
        ("web.fetch", "*."),
        ("web.fetch", "localhost"),
        ("skill.run", "file:/tmp"),
        ("python.run", "here"),
    ],
)
def test_rules_that_open_everything_or_say_nothing_are_refused(permission: str, resource: str) -> None:
    with pytest.raises(RuleRefused):
        new_rule(permission, resource, ALLOW, DataClass.HIGHLY_SENSITIVE)


def test_a_granted_folder_is_kept_by_where_it_really_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    rule = new_rule("files.read", str(tmp_path / "link"), ASK, DataClass.HIGHLY_SENSITIVE)
    assert rule.resource == f"file:{tmp_path / 'real'}"


def test_what_closes_the_whole_system_closes_what_was_granted(tmp_path: Path) -> None:
    rules = [
        new_rule("files.read", str(tmp_path), ALLOW, DataClass.HIGHLY_SENSITIVE),
        new_rule("files.read", "/", DENY, DataClass.HIGHLY_SENSITIVE),
    ]
    assert decision(Policy(rules), tool(Effect.READ), file(tmp_path / "a")) is DENY


@pytest.mark.parametrize(
    ("closed", "spelling"),
    [("Tax", "TAX"), ("TAX", "tax"), ("T\u00e1x", "Ta\u0301x"), ("Ta\u0301x", "T\u00c1X")],
)
def test_what_is_closed_is_closed_in_every_spelling(closed: str, spelling: str, tmp_path: Path) -> None:
    rules = [
        new_rule("files.read", str(tmp_path), ALLOW, DataClass.HIGHLY_SENSITIVE),
        new_rule("files.read", str(tmp_path / closed), DENY, DataClass.HIGHLY_SENSITIVE),
    ]
    own = Policy(rules[:1], [tmp_path / closed])
    for policy in (Policy(rules), own):
        assert decision(policy, tool(Effect.READ), file(tmp_path / spelling / "a")) is DENY


def test_what_is_granted_is_granted_as_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "Tax").mkdir()
    policy = Policy([new_rule("files.read", str(tmp_path / "Tax"), ALLOW, DataClass.HIGHLY_SENSITIVE)])
    assert decision(policy, tool(Effect.READ), file(tmp_path / "tax" / "a")) is DENY


@pytest.mark.parametrize(
    ("permission", "resource"),
    [("files.*", "*"), ("web.fetch", "*"), ("files.read", "/no/such"), ("skill.*", "*")],
)
def test_what_closes_may_close_everything_and_what_isnt_there_yet(permission: str, resource: str) -> None:
    rule = new_rule(permission, resource, DENY, DataClass.HIGHLY_SENSITIVE)
    assert rule.decision == DENY


@pytest.mark.parametrize("resource", ["file:", "file:relative", "*", "host:*", ""])
def test_a_rule_that_no_command_would_set_opens_no_file(resource: str, tmp_path: Path) -> None:
    rule = PermissionRule("*", resource, DataClass.HIGHLY_SENSITIVE, ALLOW, 0)
    assert decision(Policy([rule]), tool(Effect.READ), file(tmp_path / "a")) is DENY
