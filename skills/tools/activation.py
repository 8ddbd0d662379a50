"""Skills on demand: the names and descriptions are always there, the rest is read when a skill is taken up.

Taking one up grants nothing: its instructions are followed as far as they serve what the person asks, and every
call that it leads to is ruled on as the skill's.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from skills.bundled import is_bundled
from skills.errors import SkillRefused, ToolFailed
from skills.library import Skill
from skills.tools.tool import Arguments, Effect, Plan, Resource, Tool
from vault.classes import DataClass
from vault.errors import NotFound
from vault.sanitize import sanitize, sanitize_line

__all__ = ["Activation", "Offer", "activation_tools"]

_MOST_OFFERED = 4_000
"""Characters of all names and descriptions together: about a thousand tokens of the context."""
_LONGEST_DESCRIPTION = 200


class Offer(msgspec.Struct, frozen=True):
    """A skill that can be taken up.

    Attributes:
        name: Of the skill.
        description: What it does, and when it is of use.
    """

    name: str
    description: str


class Activation:
    """Which skill is in use.

    Args:
        offers: The skills that can be taken up.
        use: Gives one of them, checked.
        skill: In use from the beginning, if any.

    Attributes:
        skill: That is in use.
    """

    def __init__(self, offers: Sequence[Offer], use: Callable[[str], Skill], skill: Skill | None = None) -> None:
        self.offers = _within_budget(offers)
        self.skill = skill
        self._use = use

    @property
    def name(self) -> str:
        """Of the skill that is in use; empty where none is."""
        return self.skill.file.name if self.skill else ""

    @property
    def foreign(self) -> str:
        """The name of the skill that is in use, if somebody else wrote it; empty for those of the program."""
        return "" if is_bundled(self.name) else self.name

    @property
    def foreign_offers(self) -> list[str]:
        """The names of the skills that can be taken up and that somebody else wrote: the model reads of each."""
        return [offer.name for offer in self.offers if not is_bundled(offer.name)]

    def let_go(self) -> str:
        """Let go of the skill in use if it can't be used any more; why, or nothing."""
        if self.skill is None:
            return ""
        try:
            self.current()
        except (NotFound, SkillRefused) as error:
            name, self.skill = self.name, None
            return f"The skill {name} isn't used any more: {error.message}"
        return ""

    def current(self) -> Skill:
        """The skill that is in use, checked once more: it may have been disabled or removed meanwhile.

        Raises:
            ToolFailed: none is in use.
            NotFound, SkillRefused: it can't be used any more.
        """
        if self.skill is None:
            raise ToolFailed("No skill is in use.")
        return self._use(self.name)

    def take_up(self, name: str) -> Skill:
        """Take up a skill.

        Raises:
            NotFound, SkillRefused: there is none, or it can't be used.
        """
        self.skill = self._use(name)
        return self.skill


class ReadSkillFile(Arguments, frozen=True):
    """Which file of the skill."""

    path: Annotated[str, msgspec.Meta(description="its name in the skill, such as references/forms.md")]


def activation_tools(activation: Activation) -> list[Tool[Any]]:
    """The tools that take up a skill, and read what it brings."""
    tools: list[Tool[Any]] = []
    if activation.offers:
        tools.append(_use_tool(activation))
    if activation.offers or activation.skill:
        tools.append(_read_tool(activation))
    return tools


def _use_tool(activation: Activation) -> Tool[Any]:
    names = tuple(offer.name for offer in activation.offers)
    field = ("skill", Annotated[Literal[names], msgspec.Meta(description="its name")])
    arguments = msgspec.defstruct("UseSkill", [field], bases=(Arguments,), frozen=True, forbid_unknown_fields=True)

    def plan(given: Any, _resources: object) -> Plan:  # noqa: ANN401  of the type just made
        def work(_running: object) -> str:
            skill = activation.take_up(given.skill)
            files = ", ".join(sorted(skill.files.keys() - {"SKILL.md"}))
            return f"The skill {given.skill} is in use now." + (f" Its files: {files}" if files else "")

        return Plan(f"take up the skill {given.skill}", work)

    offered = "; ".join(f"{offer.name}: {offer.description}" for offer in activation.offers)
    return Tool(
        "use_skill",
        "skill.use",
        f"Take up a skill where one fits what is asked. {offered}",
        arguments,
        Effect.NONE,
        DataClass.MEDIUM,
        plan,
        lambda given: (Resource("skill", given.skill),),
    )


def _read_tool(activation: Activation) -> Tool[ReadSkillFile]:
    def plan(given: ReadSkillFile, _resources: object) -> Plan:
        data = activation.current().files.get(given.path)
        if data is None:
            raise ToolFailed(f"The skill has no file {sanitize_line(given.path, 80)!r}.")
        try:
            text = sanitize(data.decode())
        except UnicodeDecodeError:
            raise ToolFailed("That file isn't text.") from None
        return Plan(f"read {given.path} of the skill {activation.name}", lambda _running: text)

    return Tool(
        "read_skill_file",
        "skill.use",
        "Read a file of the skill that is in use.",
        ReadSkillFile,
        Effect.NONE,
        DataClass.MEDIUM,
        plan,
        lambda _given: (Resource("skill", activation.name),),
        foreign=True,
    )


def _within_budget(offers: Sequence[Offer]) -> list[Offer]:
    """As many as there is room for, each with the beginning of its description."""
    left, kept = _MOST_OFFERED, []
    for offer in offers:
        short = Offer(offer.name, sanitize_line(offer.description, _LONGEST_DESCRIPTION))
        left -= len(short.name) + len(short.description)
        if left < 0:
            break
        kept.append(short)
    return kept
