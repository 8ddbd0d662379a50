"""A real vault, and a person at the broker's other side whose answers are given beforehand."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from skills.permissions.approval import Answer, Approval
from skills.permissions.broker import Broker
from skills.permissions.events import Bus, CallEvent
from skills.permissions.policy import Decision, Policy, new_rule
from skills.permissions.record import CallRecord
from skills.tools.tool import Tool
from tests.fixtures.models import CHEAP, PASSPHRASE
from vault.classes import DataClass
from vault.home import Home
from vault.log.entries import Action, Entry
from vault.pause import PauseLatch
from vault.permission_store import PermissionRule
from vault.store import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with Vault.create(Home.locate({"CLAW_HOME": str(tmp_path / "home")}), PASSPHRASE, cost=CHEAP) as vault:
        yield vault


@dataclass
class Person:
    """Answers in turn; *no* once the answers are used up.

    Attributes:
        answers: What is said, in turn.
        asked: The questions, in the order they came.
        meanwhile: Happens while the person thinks.
    """

    answers: list[Answer] = field(default_factory=list)
    asked: list[Approval] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def ask(self, approval: Approval) -> Answer:
        self.asked.append(approval)
        self.meanwhile()
        return self.answers.pop(0) if self.answers else Answer.DENY


class Session:
    """A broker with what surrounds it."""

    def __init__(self, vault: Vault, tools: Sequence[Tool[Any]], rules: list[PermissionRule]) -> None:
        self.vault = vault
        self.rules = rules
        self.person = Person()
        self.events: list[CallEvent] = []
        bus = Bus()
        bus.listen(CallRecord(vault.log).hear)
        bus.listen(self.events.append)
        self.broker = Broker(
            tools, lambda: Policy(self.rules, [vault.home.data]), self.person, bus, PauseLatch(vault.home)
        )

    def grant(self, permission: str, resource: str, decision: Decision = Decision.ALLOW) -> None:
        self.rules.append(new_rule(permission, resource, decision, DataClass.HIGHLY_SENSITIVE))

    @property
    def entries(self) -> list[Entry]:
        """What the log says of tools, the oldest first."""
        stored = [stored.entry for stored in reversed(self.vault.log.entries())]
        return [entry for entry in stored if entry and entry.action is Action.TOOL]


@pytest.fixture
def session(vault: Vault) -> Callable[..., Session]:
    """Begins a session with some tools."""
    return lambda *tools: Session(vault, tools, [])
