"""A tool: a typed function with a JSON schema, whose calls are planned first and carried out when permitted."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from skills.errors import ToolFailed
from vault.classes import DataClass

__all__ = ["MOST_RESULT", "Arguments", "Effect", "Plan", "Resource", "Running", "Tool"]

MOST_RESULT = 20_000
"""Characters of what a tool gives back; the rest is cut, and said to be."""


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tool is called with: the fields are its parameters, their metadata describes them to the model."""


Given = TypeVar("Given", bound=Arguments)


def _nothing(_given: object) -> tuple["Resource", ...]:
    return ()


class Effect(StrEnum):
    """What a call does beyond giving a result, mildest first."""

    NONE = "computes"
    READ = "reads"
    REMEMBER = "remembers"
    WRITE = "writes"
    RUN = "runs a program"
    SEND = "sends"


class Resource(NamedTuple):
    """What a call is about.

    Attributes:
        kind: `file`, `host`, `skill` or `vault`.
        name: Of a file, its whole path without links; of a host, its name in lower case; of a skill's script,
            the skill's name, a slash, and the script's.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Running:
    """What a call that is under way is given.

    Attributes:
        stop: Set when it is to end.
        progress: Told how far it is, in a few words.
    """

    stop: threading.Event
    progress: Callable[[str], None] = lambda _note: None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a call would do, exactly: what is decided about, shown, and then done.

    Attributes:
        action: In a line, with the very paths, hosts and sizes; for the person.
        work: Does it, and gives the result.
        details: What the person should see before they agree: a difference, a program.
        basis: Digest of what the plan stands on, such as a file's contents; agreeing is bound to it.
        dangerous: Whether each single call needs a person's word.
    """

    action: str
    work: Callable[[Running], str] = field(repr=False)
    details: str = ""
    basis: str = ""
    dangerous: bool = False


@dataclass(frozen=True, slots=True)
class Tool(Generic[Given]):
    """One tool.

    Attributes:
        name: What the model calls it.
        permission: What rules call what it does; tools that do the same share it.
        description: For the model.
        arguments: The type of its arguments.
        effect: What a call does.
        data_class: Of the strictest data that it reads and returns.
        about: What a call is about, without looking at any of it.
        plan: Plans a call that is about just that; only called where the policy doesn't deny it.
        foreign: Whether what it gives back was written by somebody who isn't to be trusted.
    """

    name: str
    permission: str
    description: str
    arguments: type[Given]
    effect: Effect
    data_class: DataClass
    plan: Callable[[Given, tuple[Resource, ...]], Plan] = field(repr=False)
    about: Callable[[Given], tuple[Resource, ...]] = field(default=_nothing, repr=False)
    foreign: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its arguments: an object, without references."""
        found = msgspec.json.schema(self.arguments)
        return {key: value for key, value in found["$defs"][self.arguments.__name__].items() if key != "title"}

    def read(self, arguments: bytes) -> Given:
        """Read the arguments of a call, as strictly as its schema says.

        Args:
            arguments: JSON.

        Raises:
            ToolFailed: they don't fit.
        """
        try:
            return msgspec.json.decode(arguments, type=self.arguments)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ToolFailed(f"The arguments of {self.name} don't fit: {error}.") from None


def digest_of(*parts: str | bytes) -> str:
    """SHA-256 of parts that can't run into one another, in hexadecimal."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()
