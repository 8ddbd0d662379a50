"""`claw permission`: show what the assistant's tools may do, or change it."""

import argparse
import fnmatch
import os
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, columns
from vault.errors import NoVault
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.permission_store import PermissionRule

__all__ = ["configure", "run"]

_EPILOG = """\
examples:
  claw permission set files.read ~/notes ask       read there, after asking
  claw permission set files.read ~/notes allow     read there
  claw permission set files.read ~/notes/tax deny  but not there
  claw permission set web.fetch '*.wikipedia.org' ask
  claw permission set files.read ~/notes default   as if nothing had been said

The strictest rule counts. What writes, runs a program or sends is always asked
about, whatever a rule allows.
"""
_CLASSES = ("general", "medium", "highly-sensitive")
_DECISIONS = ("allow", "ask", "deny", "default")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    showing = verbs.add_parser("show", help="show every rule, and what holds without one")
    showing.add_argument("--json", action="store_true")
    showing.set_defaults(work=_show)
    setting = verbs.add_parser("set", help="allow, ask about or deny something")
    setting.add_argument("permission", metavar="PERMISSION", help="what: files.read, or a pattern such as files.*")
    setting.add_argument("resource", metavar="RESOURCE", help="what with: a folder, a host, skill:NAME, or *")
    setting.add_argument("decision", choices=_DECISIONS, metavar="allow|ask|deny|default")
    setting.add_argument(
        "--class",
        dest="data_class",
        choices=_CLASSES,
        default="highly-sensitive",
        help="the strictest data that it is about (default: %(default)s; your files are that)",
    )
    setting.set_defaults(work=_set)
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the action."""
    return int(arguments.work(arguments, console))


def _show(arguments: argparse.Namespace, console: Console) -> int:
    from skills.toolbox import PERMISSIONS

    rules = _rules(console)
    if arguments.json:
        print(msgspec.json.encode({"rules": rules, "permissions": PERMISSIONS}).decode())
        return 0
    if rules:
        rows = [(rule.decision, rule.permission, sanitize_line(rule.resource), rule.data_class) for rule in rules]
        print(columns([("DECISION", "PERMISSION", "RESOURCE", "UP TO"), *rows]))
    else:
        console.say("You made no rule.")
    console.say(
        "\nWithout a rule: files and the web are closed; what computes is allowed; the rest is asked about."
    )
    console.say(columns([(f"  {name}", text) for name, text in PERMISSIONS.items()]))
    return 0


def _rules(console: Console) -> "list[PermissionRule]":
    from skills.permissions.rules import Rules

    try:
        with console.open_vault() as vault:
            return Rules(vault).all()
    except NoVault:
        return []


def _set(arguments: argparse.Namespace, console: Console) -> int:
    from skills.errors import RuleRefused
    from skills.library import Library
    from skills.permissions.policy import Decision, new_rule
    from skills.permissions.rules import Rules
    from skills.toolbox import PERMISSIONS
    from vault.classes import DataClass

    if arguments.decision == "default":
        return _unset(arguments, console)
    rule = new_rule(
        arguments.permission, arguments.resource, Decision(arguments.decision), DataClass(arguments.data_class)
    )
    if not any(fnmatch.fnmatchcase(name, rule.permission) for name in PERMISSIONS):
        raise RuleRefused(
            f"{rule.permission!r} names nothing that a tool does.", hint="`claw permission show` lists it."
        )
    with console.open_vault(create=True) as vault:
        Rules(vault).set(rule)
        library = Library(vault)
        known = {record.name for record in (*library.bundled(), *library.all())}
    console.say(f"{rule.permission} on {rule.resource}: {rule.decision}.")
    kind, _, name = rule.resource.partition(":")
    if kind == "skill" and name.partition("/")[0] not in known:
        console.say(f"There is no skill {name.partition('/')[0]!r} yet. The rule holds once there is.")
    return 0


def _unset(arguments: argparse.Namespace, console: Console) -> int:
    """Remove a rule, by what it says: what it is about may be gone, or lead elsewhere by now."""
    from skills.permissions.rules import Rules

    given = os.path.expanduser(arguments.resource)
    names = (given, os.path.abspath(given), os.path.realpath(given), given.lower())
    stored = [given, *(f"{kind}:{name}" for kind in ("file", "host", "skill", "vault") for name in names)]
    with console.open_vault() as vault:
        rules = Rules(vault)
        gone = [resource for resource in stored if rules.unset(arguments.permission, resource)]
    if not gone:
        console.say("There was no such rule.")
        return 1
    console.say(f"{arguments.permission} on {gone[0]}: as without a rule.")
    return 0
