"""The policy: allow, ask or deny, by permission, resource and data class; the strictest where nothing is said.

Rules say what the person wants; three things no rule changes. What writes, runs or sends is never just allowed: it
asks. What is dangerous asks each single time. And files of the assistant's own, and hidden ones, aren't part of a
folder that was granted.
"""

import fnmatch
import functools
import os
import re
import time
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from skills.errors import RuleRefused
from skills.tools.tool import Effect, Resource, Tool
from vault.classes import DataClass
from vault.permission_store import PermissionRule, is_permission, is_resource
from vault.sanitize import sanitize

__all__ = ["ANY", "Decision", "Policy", "Ruling", "new_rule"]

ANY = "*"
_KIND_OF = {"files": "file", "web": "host", "skill": "skill", "notes": "vault"}
"""What the rules of a permission's first word are about; the others' are about nothing in particular."""
_HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_SKILL = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(/[^/*?\[].*)?")
_STRICTEST_FIRST = list(DataClass)
_WILD = set("*?[")
_LONGEST = 4096


class Decision(StrEnum):
    """What is to happen with a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"

    @property
    def strictness(self) -> int:
        """0 for what allows, more for what is stricter."""
        return list(Decision).index(self)


_DEFAULTS = {
    Effect.NONE: Decision.ALLOW,
    Effect.READ: Decision.ASK,
    Effect.REMEMBER: Decision.ASK,
    Effect.WRITE: Decision.ASK,
    Effect.RUN: Decision.ASK,
    Effect.SEND: Decision.DENY,
}
"""Without a rule. Files that no rule is about are denied, whatever would be done with them."""
_NEVER_JUST_ALLOWED = {Effect.WRITE, Effect.RUN, Effect.SEND}


class Ruling(NamedTuple):
    """What the policy says of a call.

    Attributes:
        decision: What is to happen.
        why: In a sentence.
    """

    decision: Decision
    why: str


class Policy:
    """The rules of one person.

    Args:
        rules: What they set.
        own: Folders of the assistant's own, which no rule opens.
    """

    def __init__(self, rules: Sequence[PermissionRule], own: Sequence[Path] = ()) -> None:
        self._rules = list(rules)
        self._own = [os.path.realpath(folder) for folder in own]

    def granted(self, permission: str) -> list[Path]:
        """The folders in which something may be done with files, at least after asking."""
        return [
            Path(rule.resource.removeprefix("file:"))
            for rule in self._rules
            if rule.resource.startswith("file:")
            and rule.decision != Decision.DENY
            and fnmatch.fnmatchcase(permission, rule.permission)
        ]

    def rule_on(self, tool: Tool[Any], resources: Sequence[Resource]) -> Ruling:
        """What is to happen with a call, by the strictest rule about any of its resources."""
        return self.rule(tool.permission, tool.effect, tool.data_class, resources)

    def rule(self, permission: str, effect: Effect, data_class: DataClass, resources: Sequence[Resource]) -> Ruling:
        """As `rule_on`, for what a tool would be if there were one."""
        rulings = [self._about(permission, effect, data_class, resource) for resource in resources or (None,)]
        ruling = max(rulings, key=lambda ruling: ruling.decision.strictness)
        if ruling.decision is Decision.ALLOW and effect in _NEVER_JUST_ALLOWED:
            return Ruling(Decision.ASK, f"What {effect} is always asked about.")
        return ruling

    def strictness(self, permission: str, path: Path) -> int:
        """How strict the rules are about reading a file: the more, the stricter."""
        resource = Resource("file", str(path))
        return self.rule(permission, Effect.READ, DataClass.HIGHLY_SENSITIVE, [resource]).decision.strictness

    def _about(self, permission: str, effect: Effect, data_class: DataClass, resource: Resource | None) -> Ruling:
        if resource and resource.kind == "file":
            path = resource.name
            # What holds them may be listed and searched, without them; but not written in the place of.
            holds = effect is not Effect.READ and any(_within(own, path, hidden=True) for own in self._own)
            if holds or any(_within(path, own, hidden=True) for own in self._own):
                return Ruling(Decision.DENY, "The assistant's own files aren't open to its tools.")
        fitting = [
            rule
            for rule in self._rules
            if _covers(rule, resource)  # the cheapest first: there may be hundreds
            and (rule.permission == permission or fnmatch.fnmatchcase(permission, rule.permission))
            and _reaches(rule, data_class)
        ]
        if fitting:
            rule = max(fitting, key=lambda rule: Decision(rule.decision).strictness)
            return Ruling(Decision(rule.decision), f"Your rule for {rule.permission} on {rule.resource} says so.")
        if resource and resource.kind == "file":
            return Ruling(
                Decision.DENY,
                f"No folder that you granted for {permission} holds it "
                f"(`claw permission set {permission} FOLDER ask` grants one).",
            )
        decision = _DEFAULTS[effect]
        if decision is Decision.DENY:
            return Ruling(
                decision,
                f"{permission} is off until you turn it on (`claw permission set {permission} HOST ask`).",
            )
        return Ruling(decision, "You made no rule about it.")


def new_rule(permission: str, resource: str, decision: Decision, data_class: DataClass) -> PermissionRule:
    """A rule as a person states it.

    Args:
        permission: Such as `files.read`, or a pattern such as `files.*`.
        resource: A folder or file, a host (or `*.` and a domain), `skill:NAME`, `vault:notes`, or `*`.
        decision: What is to happen.
        data_class: The strictest data that the rule is about.

    Raises:
        RuleRefused: it says nothing that can be kept to.
    """
    if not is_permission(permission):
        raise RuleRefused(
            f"{permission!r} names nothing that a tool does.", hint="`claw permission show` lists it."
        )
    about = _resource(permission, resource, decision)
    if not is_resource(about):  # such as a folder behind a link, with a name that can't be shown
        raise RuleRefused("The resource is one that can't be shown.")
    return PermissionRule(permission, about, data_class, decision, time.time_ns() // 1_000_000)


def _resource(permission: str, resource: str, decision: Decision) -> str:
    if not resource or len(resource) > _LONGEST or sanitize(resource) != resource or "\n" in resource:
        raise RuleRefused("The resource is empty, or holds characters that can't be shown.")
    area = permission.partition(".")[0]
    kind, colon, name = resource.partition(":")
    named = name if colon and kind == _KIND_OF.get(area) else resource
    if resource == ANY:
        if area in ("files", "web") and decision is not Decision.DENY:
            raise RuleRefused(
                "A rule that opens files names a folder, and one that opens the web names a host.",
                hint="No rule opens all of them at once.",
            )
        return ANY
    match area:
        case "files":
            return f"file:{_folder(named, decision)}"
        case "web":
            return f"host:{_host(named)}"
        case "skill" if _SKILL.fullmatch(named):
            return f"skill:{named}"
        case "notes" if named == "notes":
            return "vault:notes"
    raise RuleRefused(
        f"{resource!r} isn't a resource of {permission}.",
        hint="Files take a folder, the web a host, skills a name, notes the word notes; all else takes *.",
    )


def _folder(given: str, decision: Decision) -> Path:
    path = Path(os.path.realpath(os.path.expanduser(given)))
    if _WILD & set(given) and not path.exists():
        raise RuleRefused("A folder is named as it is, without patterns: all that is in it is meant.")
    if path == Path("/") and decision is not Decision.DENY:
        raise RuleRefused("The whole system can't be granted.", hint="Name a folder.")
    if decision is not Decision.DENY and not path.exists():
        raise RuleRefused(f"There is no {path}.")
    return path


def _host(given: str) -> str:
    host = given.lower()
    if not _HOST.fullmatch(host):
        raise RuleRefused(
            f"{given!r} is no host, and no domain with *. before it.", hint="Such as example.org, or *.example.org"
        )
    return host


def _reaches(rule: PermissionRule, data_class: DataClass) -> bool:
    """Whether a rule is about data of a class: one that opens up to its own, one that closes about all."""
    if rule.decision == Decision.DENY:
        return True
    return _STRICTEST_FIRST.index(data_class) >= _STRICTEST_FIRST.index(rule.data_class)


def _covers(rule: PermissionRule, resource: Resource | None) -> bool:
    """Whether a rule is about a resource."""
    closes = rule.decision == Decision.DENY
    if rule.resource == ANY:
        # Anything, but no file and no host: those are named, to be opened.
        return closes or resource is None or resource.kind not in ("file", "host")
    if resource is None:
        return False
    kind, _, name = rule.resource.partition(":")
    if kind != resource.kind:
        return False
    match kind:
        case "file":
            return _within(resource.name, name, hidden=closes)
        case "host":
            return resource.name == name or (name.startswith("*.") and resource.name.endswith(name[1:]))
        case "skill":
            return resource.name == name or resource.name.startswith(f"{name}/")
    return resource.name == name


@functools.lru_cache(maxsize=4096)
def _spelled(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _within(path: str, folder: str, *, hidden: bool) -> bool:
    """Whether a file lies in a folder, with no hidden folder in between; hidden files are closed, not opened.

    Both are whole paths without links, `.` or `..`: texts tell it as well as `Path` would, at a tenth of the time.
    What is closed is closed in every spelling, for many file systems (APFS, NTFS) take those for the same file.
    """
    if hidden:
        path, folder = _spelled(path), _spelled(folder)
        if folder == "/":
            return True
    if path == folder or not folder.startswith("/"):
        return path == folder
    inside = path.removeprefix(folder) if path.startswith(folder) else ""
    return inside.startswith("/") and (hidden or "/." not in inside)
