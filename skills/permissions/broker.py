"""The broker: the only way from a wanted call to one that is done.

A call is wanted by text: of a model, that may have been talked into it. So its words decide nothing. The policy
says whether it may be done, asked about or neither; the person says so where they are asked; a capability for this
very call carries that decision to where it is done; and the log is told before anything is changed.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from skills.errors import NotPermitted, SandboxError, SkillError, ToolFailed
from skills.permissions.approval import Answer, Approval, Approver
from skills.permissions.capability import Capability, Mint
from skills.permissions.events import Bus, Finished, NeedsApproval, Progressed, Refused, Started
from skills.permissions.policy import Decision, Policy
from skills.permissions.rate import Rate
from skills.permissions.trust import Trust
from skills.tools.tool import MOST_RESULT, Arguments, Effect, Plan, Resource, Running, Tool, digest_of
from vault.classes import DataClass
from vault.errors import ClawError, EgressError, NotFound
from vault.pause import PauseLatch, StopOrPause
from vault.sanitize import sanitize, sanitize_line

__all__ = ["Broker", "Outcome"]

_ACTS = {Effect.REMEMBER, Effect.WRITE, Effect.RUN, Effect.SEND}
_LASTING = {Effect.READ, Effect.REMEMBER, Effect.RUN}
"""What can be agreed to for a session: what writes or sends is looked at each time."""
_calls = itertools.count(1)


class Outcome(msgspec.Struct, frozen=True):
    """What came of a call.

    Attributes:
        text: The result, or why there is none; sanitized and bounded. Data, whatever it says.
        ok: Whether it was done.
        refused: Whether it wasn't permitted.
        foreign: Whether somebody else may have written the text.
        about: What it was about, if it was permitted.
    """

    text: str
    ok: bool
    refused: bool = False
    foreign: bool = False
    about: tuple[Resource, ...] = ()


class Broker:
    """Holds the calls of one session to the policy.

    Args:
        tools: That there are.
        policy: Gives the rules as they are now.
        approver: Asks the person.
        bus: Told what happens; the log listens there.
        latch: While it is engaged nothing is done, and what is under way ends.

    Attributes:
        trust: What the session has read.
    """

    def __init__(
        self,
        tools: Sequence[Tool[Any]],
        policy: Callable[[], Policy],
        approver: Approver,
        bus: Bus,
        latch: PauseLatch,
    ) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self.trust = Trust()
        self._policy = policy
        self._approver = approver
        self._bus = bus
        self._latch = latch
        self._mint = Mint()
        self._rate = Rate()
        self._agreed: dict[tuple[str, tuple[str, ...], str, str], int] = {}

    def call(
        self, name: str, arguments: bytes, *, asked_by: str = "", stop: threading.Event | None = None
    ) -> Outcome:
        """Do what is wanted, if it is permitted.

        Args:
            name: Of the tool.
            arguments: JSON.
            asked_by: The skill that wants it; empty for the assistant itself.
            stop: Ends it when set.

        Returns:
            What came of it; a refusal, too, is an outcome that a model can go on from.

        Raises:
            Paused: everything is paused; nothing was done.
            VaultError: the log can't be written, or the vault was locked; nothing was done.
        """
        self._latch.check()
        number, tool = next(_calls), self.tools.get(name)
        if tool is None:  # its name, a model's words, isn't the log's business
            self._bus.tell(Refused(number, "an unknown tool", "there is no such tool", DataClass.GENERAL, ""))
            return Outcome(f"There is no tool {sanitize_line(name, 60)!r}.", ok=False)
        call = _Call(number, tool, arguments, asked_by, StopOrPause(stop or threading.Event(), self._latch))
        try:
            self._rate.count(tool.effect)
            given = tool.read(arguments)
            resources = tool.about(given)
            permit = self._permitted(call, given, resources)
            self._latch.check()  # a pause may have begun while the person thought
            digest = _digest(call, given, resources, permit.plan)
            self._mint.spend(permit.capability, name, tuple(map(str, resources)), digest)
        except (SkillError, NotFound, OSError) as error:
            refused = isinstance(error, NotPermitted)
            why = error.message if isinstance(error, ClawError) else f"{error.strerror}."
            self._refuse(call, why)
            return Outcome(_bounded(why), ok=False, refused=refused)
        except BaseException as error:
            self._refuse(call, f"it ended with {type(error).__name__}")
            raise
        return self._do(call, permit, resources)

    def _refuse(self, call: "_Call", why: str) -> None:
        digest = digest_of(call.tool.name, call.arguments)
        self._bus.tell(Refused(call.number, call.tool.name, why, call.tool.data_class, digest))

    def _permitted(self, call: "_Call", given: Arguments, resources: tuple[Resource, ...]) -> "_Permit":
        """Plan a call that is permitted, by rule or by the person.

        Raises:
            NotPermitted: it isn't.
            ToolFailed: it can't be planned.
        """
        tool = call.tool
        ruling = self._policy().rule_on(tool, resources)
        if ruling.decision is Decision.DENY:
            raise NotPermitted(f"{tool.name} isn't permitted here. {ruling.why}")
        plan = tool.plan(given, resources)  # only now: it may look at what it is about
        names = tuple(map(str, resources))
        digest = _digest(call, given, resources, plan)

        def permit(how: str) -> _Permit:
            return _Permit(plan, self._mint.make(tool.name, names, digest), how)

        wary = self.trust.reasons(tool.effect)
        if ruling.decision is Decision.ALLOW and not plan.dangerous and not wary:
            return permit("a rule")
        lasting = tool.effect in _LASTING and not plan.dangerous
        scope = (tool.name, names, call.asked_by, digest if tool.effect is Effect.RUN else "")
        agreed_at = self._agreed.get(scope)
        if lasting and agreed_at is not None and (not wary or agreed_at == self.trust.reading):
            return permit("the person, for this session")
        self._bus.tell(NeedsApproval(call.number, tool.name, plan.action))
        approval = Approval(
            tool.name,
            sanitize_line(plan.action, 5_000),
            tuple(sanitize_line(name, 5_000) for name in names),
            sanitize(plan.details),
            sanitize_line(call.asked_by, 100),
            (ruling.why, *wary),
            digest,
            lasting,
        )
        answer = self._approver.ask(approval)
        if answer is Answer.DENY or (answer is Answer.SESSION and not lasting):
            raise NotPermitted("The person was asked, and doesn't allow it.")
        if self._policy().rule_on(tool, resources).decision is Decision.DENY:  # they may have taken their time
            raise NotPermitted(f"{tool.name} isn't permitted here any more.")
        if answer is Answer.SESSION:
            self._agreed[scope] = self.trust.reading
        return permit("the person")

    def _do(self, call: "_Call", permit: "_Permit", resources: tuple[Resource, ...]) -> Outcome:
        tool, begun, acts = call.tool, time.monotonic(), call.tool.effect in _ACTS
        action, digest = sanitize_line(permit.plan.action, 200), permit.capability.digest
        self._bus.tell(Started(call.number, tool.name, action, tool.data_class, digest, acts, permit.how))
        failed, text = True, ""
        try:
            text, failed = self._act(call, permit.plan)
        finally:
            self._bus.tell(Finished(call.number, tool.name, failed, len(text), time.monotonic() - begun))
        source = ", ".join(resource.name for resource in resources) or tool.name
        reading = self.trust.reading
        self.trust.take_in(source, tool.data_class, foreign=tool.foreign)  # what went wrong is told in its words
        for scope in [scope for scope, agreed_at in self._agreed.items() if agreed_at == reading]:
            # They agreed to what this one says, too.
            if scope[:3] == (tool.name, permit.capability.resources, call.asked_by):
                self._agreed[scope] = self.trust.reading
        return Outcome(text, ok=not failed, foreign=tool.foreign, about=resources)

    def _act(self, call: "_Call", plan: Plan) -> tuple[str, bool]:
        """Do what was permitted; what came of it, and whether it failed."""
        running = Running(
            call.stop,
            lambda note: self._bus.tell(Progressed(call.number, call.tool.name, sanitize_line(note, 120))),
        )
        try:
            return _bounded(plan.work(running)), False
        except (ToolFailed, SandboxError, EgressError) as error:
            return _bounded(error.message), True
        except OSError as error:
            return f"The system refused: {error.strerror}.", True


class _Call(msgspec.Struct, frozen=True):
    """A call that is wanted."""

    number: int
    tool: Any
    arguments: bytes
    asked_by: str
    stop: threading.Event


class _Permit(NamedTuple):
    """What was permitted.

    Attributes:
        plan: To be done.
        capability: For that very call.
        how: What permitted it.
    """

    plan: Plan
    capability: Capability
    how: str


def _digest(call: _Call, given: Arguments, resources: tuple[Resource, ...], plan: Plan) -> str:
    """Of a call's arguments, what it is about, and what its plan stands on: what is agreed to is this."""
    return digest_of(call.tool.name, msgspec.json.encode(given), call.asked_by, *map(str, resources), plan.basis)


def _bounded(text: str) -> str:
    text = sanitize(text)
    if len(text) <= MOST_RESULT:
        return text
    return f"{text[:MOST_RESULT]}\n… cut: {len(text) - MOST_RESULT:,} more characters"
