"""The tools there are for one conversation, and the broker that holds their calls to the person's rules."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from skills.errors import NotPermitted
from skills.library import Library
from skills.permissions.approval import Approver
from skills.permissions.broker import Broker
from skills.permissions.events import Bus
from skills.permissions.policy import Decision
from skills.permissions.record import CallRecord
from skills.permissions.rules import Rules
from skills.sandbox.tiers import best
from skills.sandbox.walls import Walls
from skills.tools.activation import Activation, Offer, activation_tools
from skills.tools.arithmetic import arithmetic_tool
from skills.tools.clock import clock_tool
from skills.tools.edits import WRITE, edit_tools
from skills.tools.files import READ, file_tools
from skills.tools.notes import note_tools
from skills.tools.pages import FETCH, fetch_tool
from skills.tools.programs import RUN_SCRIPT, python_tool, script_tool
from skills.tools.tool import Effect, Resource, Tool
from vault.budget import Budget
from vault.classes import DataClass
from vault.egress import Egress, EgressJournal
from vault.note_store import NoteStore
from vault.pause import PauseLatch
from vault.settings import NetworkSettings
from vault.store import Vault

__all__ = ["PERMISSIONS", "Session", "begin", "described", "every_tool"]

PERMISSIONS = {
    READ: "list, read and search the files of a folder",
    WRITE: "write files in a folder, after showing what changes",
    "notes.add": "remember a note",
    "notes.search": "find notes again",
    "skill.use": "take up a skill that you agreed to, and read its files",
    RUN_SCRIPT: "run a script of a skill, in the sandbox",
    "python.run": "run Python text, in the sandbox",
    FETCH: "ask a host for a page",
    "arithmetic": "compute",
    "time": "tell the date and the time",
}
"""What there are rules about."""


def every_tool(
    vault: Vault, network: NetworkSettings, rules: Rules, walls: Callable[[], Walls], activation: Activation
) -> list[Tool[Any]]:
    """Every tool there is, whatever the rules say."""

    @contextlib.contextmanager
    def door() -> Iterator[Egress]:
        journal = EgressJournal(vault.database, vault.log, Budget(network.daily_send_limit), vault.closing)
        with Egress(network, journal, PauseLatch(vault.home)) as egress:
            yield egress

    def sight() -> Callable[[Path], int]:
        now = rules.policy()
        return lambda path: now.strictness(READ, path)

    def may_read(path: Path) -> bool:
        return rules.policy().strictness(READ, path) == Decision.ALLOW.strictness

    return [
        clock_tool(),
        arithmetic_tool(),
        *note_tools(NoteStore(vault.database)),
        *file_tools(lambda: rules.policy().granted(READ), sight),
        *edit_tools(lambda: rules.policy().granted(WRITE), may_read),
        python_tool(walls),
        *activation_tools(activation),
        script_tool(activation, walls),
        fetch_tool(door),
    ]


def _of_use(tool: Tool[Any], rules: Rules, activation: Activation) -> bool:
    """Whether a tool can be of use under the rules as they are now; another would only take up the context."""
    if tool.permission in (READ, WRITE):
        return bool(rules.policy().granted(tool.permission))
    if tool.permission == FETCH:
        return any(rule.resource.startswith("host:") for rule in rules.all())
    return tool.permission != RUN_SCRIPT or bool(activation.offers or activation.skill)


def described(vault: Vault) -> dict[str, str]:
    """What every tool says of itself, by its name, but for those that are nothing without a skill."""
    library = Library(vault)
    tools = every_tool(vault, NetworkSettings(), Rules(vault), best, Activation([], library.use))
    return {tool.name: tool.description for tool in tools if not tool.permission.startswith("skill.")}


class Session(NamedTuple):
    """What a conversation with tools stands on.

    Attributes:
        broker: Holds every call to the rules.
        bus: Tells what happens.
        activation: Says which skill is in use.
    """

    broker: Broker
    bus: Bus
    activation: Activation


def begin(
    vault: Vault,
    network: NetworkSettings,
    approver: Approver,
    walls: Callable[[], Walls],
    skill: str | None = None,
    closed: Sequence[Path] = (),
) -> Session:
    """Begin a session of calls.

    Args:
        vault: Its rules hold, and its log is told.
        network: How the door reaches the network.
        approver: Asks the person.
        walls: Gives the walls that programs run behind.
        skill: Name of the skill that is in use from the beginning; the model then takes up no other.
        closed: Files that no rule opens, such as the one that holds the passphrase.

    Raises:
        NotFound, SkillRefused: there is no such skill, or it can't be used.
        NotPermitted: a rule keeps it from being used.
    """
    rules, bus, library = Rules(vault, closed), Bus(), Library(vault)
    if skill:
        ruling = rules.policy().rule("skill.use", Effect.NONE, DataClass.MEDIUM, [Resource("skill", skill)])
        if ruling.decision is Decision.DENY:
            raise NotPermitted(f"The skill {skill!r} isn't to be used. {ruling.why}")
    bus.listen(CallRecord(vault.log).hear)
    offers = [] if skill else [Offer(name, description) for name, description in library.offered()]
    activation = Activation(offers, library.use, library.use(skill) if skill else None)
    every = every_tool(vault, network, rules, walls, activation)
    tools = [tool for tool in every if _of_use(tool, rules, activation)]
    return Session(Broker(tools, rules.policy, approver, bus, PauseLatch(vault.home)), bus, activation)
