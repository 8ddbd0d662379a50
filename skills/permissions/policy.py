"""The policy: allow, ask or deny, by permission, resource and data class; the strictest where nothing is said.

Rules say what the person wants; three things no rule changes. What writes, runs or sends is never just allowed: it
asks. What is dangerous asks each single time. And files of the assistant's own, and hidden ones, aren't part of a
folder that was granted.
"""

import fnmatch
import os
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from skills.errors import RuleRefused
from skills.tools.tool import Effect, Resource, Tool
from vault.classes import DataClass
from vault.permission_store import PermissionRule
from vault.sanitize import sanitize_line

__all__ = ["ANY", "Decision", "Policy", "Ruling", "new_rule"]

ANY = "*"
_KINDS = ("file", "host", "skill", "vault")
_STRICTEST_FIRST = list(DataClass)
_WILD = set("*?[")


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
        rulings = [self._about(tool, resource) for resource in resources or (None,)]
        ruling = max(rulings, key=lambda ruling: ruling.decision.strictness)
        if ruling.decision is Decision.ALLOW and tool.effect in _NEVER_JUST_ALLOWED:
            return Ruling(Decision.ASK, f"What {tool.effect} is always asked about.")
        return ruling

    def _about(self, tool: Tool[Any], resource: Resource | None) -> Ruling:
        if resource and resource.kind == "file":
            path = resource.name
            if any(_within(path, own, hidden=True) or _within(own, path, hidden=True) for own in self._own):
                return Ruling(Decision.DENY, "The assistant's own files aren't open to its tools.")
        fitting = [
            rule
            for rule in self._rules
            if fnmatch.fnmatchcase(tool.permission, rule.permission) and _covers(rule, resource, tool.data_class)
        ]
        if fitting:
            rule = max(fitting, key=lambda rule: Decision(rule.decision).strictness)
            return Ruling(Decision(rule.decision), f"Your rule for {rule.permission} on {rule.resource} says so.")
        if resource and resource.kind == "file":
            return Ruling(
                Decision.DENY,
                f"No folder that you granted for {tool.permission} holds it "
                f"(`claw permission set {tool.permission} FOLDER ask` grants one).",
            )
        decision = _DEFAULTS[tool.effect]
        if decision is Decision.DENY:
            return Ruling(
                decision,
                f"{tool.permission} is off until you turn it on "
                f"(`claw permission set {tool.permission} HOST ask`).",
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
    if not permission or sanitize_line(permission, 100) != permission or permission == ANY:
        raise RuleRefused(
            f"{permission!r} names nothing that a tool does.", hint="`claw permission show` lists it."
        )
    return PermissionRule(
        permission, _resource(permission, resource), data_class, decision, time.time_ns() // 1_000_000
    )


def _resource(permission: str, resource: str) -> str:
    if resource == ANY:
        if permission.partition(".")[0] in ("files", "web"):
            raise RuleRefused(
                "A rule about files names a folder, and one about the web names a host.",
                hint="No rule opens all of them at once.",
            )
        return ANY
    if sanitize_line(resource, 4096) != resource or not resource:
        raise RuleRefused("The resource holds characters that can't be shown.")
    kind, colon, name = resource.partition(":")
    if colon and kind in _KINDS and kind != "file":
        return f"{kind}:{name.lower() if kind == 'host' else name}"
    if permission.startswith("web."):
        return f"host:{resource.lower()}"
    if permission.startswith("files."):
        path = Path(os.path.realpath(os.path.expanduser(resource.removeprefix("file:"))))
        if _WILD & set(resource):
            raise RuleRefused("A folder is named as it is, without patterns: all that is in it is meant.")
        if path == Path("/"):
            raise RuleRefused("The whole system can't be granted.", hint="Name a folder.")
        if not path.exists():
            raise RuleRefused(f"There is no {path}.")
        return f"file:{path}"
    raise RuleRefused(
        f"{resource!r} isn't a resource of {permission}.", hint="Say skill:NAME, vault:notes, host:NAME, or *."
    )


def _covers(rule: PermissionRule, resource: Resource | None, data_class: DataClass) -> bool:
    """Whether a rule is about something."""
    decision = Decision(rule.decision)
    # One that opens reaches up to its class; one that closes holds for its class and all that is stricter.
    reach, asked = _STRICTEST_FIRST.index(rule.data_class), _STRICTEST_FIRST.index(data_class)
    if decision is not Decision.DENY and asked < reach:
        return False
    if rule.resource == ANY:
        # Anything, but no file and no host: those are named, to be opened.
        return decision is Decision.DENY or resource is None or resource.kind not in ("file", "host")
    if resource is None:
        return False
    kind, _, name = rule.resource.partition(":")
    if kind != resource.kind:
        return False
    match kind:
        case "file":
            return _within(resource.name, name, hidden=decision is Decision.DENY)
        case "host":
            return resource.name == name or (name.startswith("*.") and resource.name.endswith(name[1:]))
        case "skill":
            return resource.name == name or resource.name.startswith(f"{name}/")
    return resource.name == name


def _within(path: str, folder: str, *, hidden: bool) -> bool:
    """Whether a file lies in a folder, with no hidden folder in between; hidden files are closed, not opened.

    Both are whole paths without links, `.` or `..`: texts tell it as well as `Path` would, at a tenth of the time.
    """
    if path == folder:
        return True
    inside = path.removeprefix(folder) if path.startswith(folder) else ""
    return inside.startswith("/") and (hidden or "/." not in inside)
