"""`SKILL.md`, the file that makes a folder a skill: read strictly, with a line number for whatever is wrong.

The open Agent Skills format: YAML between two lines of `---`, then Markdown. Of YAML only what the format needs is
taken: no anchors, aliases, tags, repeated keys, or further documents. What a skill asks for (`allowed-tools`, and
`openclaw-core.*` in its metadata) is a request; nothing here grants anything.
"""

import re
from typing import NamedTuple

import msgspec
import yaml

from vault.sanitize import sanitize

__all__ = ["FILE_NAME", "MOST_BYTES", "Problem", "Requests", "SkillFile", "parse"]

FILE_NAME = "SKILL.md"
MOST_BYTES = 256 << 10

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NAME_LENGTH, _DESCRIPTION_LENGTH, _COMPATIBILITY_LENGTH = 64, 1024, 500
_BODY_LINES, _BODY_TOKENS, _CHARACTERS_A_TOKEN = 500, 5000, 4
_FENCE = "---"
_FRONT_BYTES = 16 << 10
"""Several times what all its values may have; PyYAML takes half a second for the worst of that size."""
_NESTED = 1
"""How deep values may lie in the frontmatter: those of metadata do."""
_KNOWN = {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
_OURS = "openclaw-core."
_REQUESTS = ("tools", "egress", "fs", "vault", "train")
_TEXT_TAG = "tag:yaml.org,2002:str"


class Problem(NamedTuple):
    """Something wrong with the file, or unwise.

    Attributes:
        line: Counted from 1.
        text: What, as a sentence without its full stop.
        refused: Whether the skill can't be used for it.
    """

    line: int
    text: str
    refused: bool = True


class Requests(msgspec.Struct, frozen=True):
    """What a skill would like to be allowed, each as words of its own.

    Attributes:
        tools: Names of tools.
        egress: Hosts that it would talk to.
        fs: Folders and files.
        vault: Kinds of data.
        train: Whether examples may be collected of its use.
    """

    tools: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    fs: tuple[str, ...] = ()
    vault: tuple[str, ...] = ()
    train: tuple[str, ...] = ()


class SkillFile(msgspec.Struct, frozen=True):
    """What one `SKILL.md` says.

    Attributes:
        name: Of the skill and its folder.
        description: What it does and when it is of use; at most 1,024 characters.
        body: The instructions, in Markdown.
        body_line: The line at which they begin.
        licence: As it says.
        compatibility: What it needs to run.
        metadata: Whatever else it says of itself.
        requests: What it would like to be allowed.
    """

    name: str
    description: str
    body: str
    body_line: int
    licence: str = ""
    compatibility: str = ""
    metadata: dict[str, str] = {}
    requests: Requests = Requests()


def parse(data: bytes, folder: str) -> tuple[SkillFile | None, list[Problem]]:
    """Read a `SKILL.md`.

    Args:
        data: The file.
        folder: The name of the folder that it lies in.

    Returns:
        What it says, or `None` where a problem forbids using it; and every problem found, in the order of lines.
    """
    try:
        text = _decoded(data)
        front, body, body_line = _split(text)
        root = _composed(front)
    except _Refused as refused:
        return None, [refused.problem]
    reader = _Reader(root)
    name = reader.text("name", _NAME_LENGTH)
    if name and not _NAME.fullmatch(name):
        reader.complain("name", "a name has a-z, 0-9 and single hyphens between them, and nothing else")
    elif name and name != folder:
        reader.complain("name", f"the name has to be that of the folder, {folder!r}")
    description = reader.text("description", _DESCRIPTION_LENGTH)
    compatibility = reader.text("compatibility", _COMPATIBILITY_LENGTH, needed=False)
    licence = reader.text("license", _DESCRIPTION_LENGTH, needed=False)
    allowed = reader.text("allowed-tools", _DESCRIPTION_LENGTH, needed=False)
    metadata = reader.metadata()
    requests = {key.removeprefix(_OURS): value.split() for key, value in metadata.items() if key.startswith(_OURS)}
    for unknown in requests.keys() - set(_REQUESTS):
        reader.complain(
            "metadata", f"{_OURS}{unknown} is none of {', '.join(_OURS + known for known in _REQUESTS)}"
        )
    requests["tools"] = list(dict.fromkeys([*allowed.split(), *requests.get("tools", ())]))
    problems = sorted([*reader.problems, *_about_body(body, body_line)])
    if any(problem.refused for problem in problems):
        return None, problems
    asked = Requests(**{what: tuple(words) for what, words in requests.items()})
    return SkillFile(name, description, body, body_line, licence, compatibility, metadata, asked), problems


class _Refused(Exception):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(line, text)


def _decoded(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise _Refused(1, f"the file is larger than {MOST_BYTES >> 10} KiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _Refused(line, "this isn't UTF-8") from None
    if (at := text.find("\0")) >= 0:
        raise _Refused(text.count("\n", 0, at) + 1, "there is a zero byte")
    return text.replace("\r\n", "\n")


def _split(text: str) -> tuple[str, str, int]:
    """The frontmatter, the body, and the line that the body begins at.

    Only a line that is nothing but `---` ends the frontmatter: three hyphens inside a description don't.
    """
    lines = text.split("\n")
    if lines[0] != _FENCE:
        raise _Refused(1, f"the file has to begin with a line that is {_FENCE}")
    size = 0
    for number, line in enumerate(lines[1:], start=1):
        size += len(line.encode()) + 1
        if size > _FRONT_BYTES:
            raise _Refused(number + 1, f"the frontmatter is larger than {_FRONT_BYTES >> 10} KiB")
        if line == _FENCE:
            # As many lines before it as there were, so that YAML counts them right.
            return "\n" + "\n".join(lines[1:number]) + "\n", "\n".join(lines[number + 1 :]), number + 2
    raise _Refused(len(lines), f"the frontmatter isn't ended by a line that is {_FENCE}")


class _Taken(yaml.SafeLoader):
    """Reads of YAML what the format needs, and ends at the first thing that it doesn't.

    Values too deep in others are refused while they are read: the time that PyYAML takes for some thousand of them
    grows with their square.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Read a value and what is in it."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _Refused(line, "anchors and aliases aren't taken")
        if getattr(event, "tag", None):
            raise _Refused(line, "tags aren't taken")
        if isinstance(event, yaml.SequenceStartEvent):
            raise _Refused(line, "lists aren't part of the format")
        if self._depth > _NESTED and isinstance(event, yaml.MappingStartEvent):
            raise _Refused(line, "only metadata has keys and values in it, and those are text")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _composed(front: str) -> yaml.MappingNode:
    """The tree of the frontmatter, of what YAML we take."""
    try:
        root = yaml.compose(front, Loader=_Taken)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Refused(mark.line + 1 if mark else 1, f"this isn't YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise _Refused(1, f"this isn't YAML: {sanitize(str(error)).splitlines()[0]}") from None
    except (RecursionError, ValueError):  # of a number or a date that only looks like one
        raise _Refused(1, "this isn't YAML of the kind that is taken") from None
    if not isinstance(root, yaml.MappingNode):
        raise _Refused(2, "the frontmatter has to be keys and values")
    return root


class _Reader:
    """Takes values out of the frontmatter, and collects what is wrong with them."""

    def __init__(self, root: yaml.MappingNode) -> None:
        self.problems: list[Problem] = []
        self._end = root.end_mark.line + 1
        self._nodes = self._of(root)
        for key, node in self._nodes.items():
            if key not in _KNOWN:
                self._at(node, f"{key!r} isn't part of the format; what is yours goes into metadata")

    def text(self, key: str, most: int, *, needed: bool = True) -> str:
        node = self._nodes.get(key)
        if node is None:
            if needed:
                self.problems.append(Problem(1, f"{key} is missing"))
            return ""
        if not isinstance(node, yaml.ScalarNode):
            self._at(node, f"{key} has to be text")
            return ""
        value: str = node.value.strip()
        if not value:
            self._at(node, f"{key} is empty")
        elif len(value) > most:
            self._at(node, f"{key} has {len(value):,} characters, and may have {most:,}")
        self._visible(node, key, value)
        return value

    def metadata(self) -> dict[str, str]:
        node = self._nodes.get("metadata")
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._at(node, "metadata has to be keys and values")
            return {}
        found = {}
        for key, value in self._of(node).items():
            if not isinstance(value, yaml.ScalarNode) or value.tag != _TEXT_TAG:
                self._at(value, f"metadata maps text to text: put the value of {key!r} in quotes")
                continue
            self._visible(value, key, key + value.value)
            found[key] = value.value
        return found

    def complain(self, key: str, text: str) -> None:
        self._at(self._nodes[key], text)

    def _of(self, mapping: yaml.MappingNode) -> dict[str, yaml.Node]:
        found: dict[str, yaml.Node] = {}
        for key, value in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT_TAG:
                self._at(key, "a key has to be text")
            elif key.value in found:
                self._at(key, f"{key.value!r} is there twice")
            else:
                found[key.value] = value
        return found

    def _visible(self, node: yaml.Node, key: str, value: str) -> None:
        if sanitize(value) != value:
            self._at(node, f"{key} holds control or invisible characters")

    def _at(self, node: yaml.Node, text: str) -> None:
        self.problems.append(Problem(node.start_mark.line + 1, sanitize(text)))


def _about_body(body: str, line: int) -> list[Problem]:
    if not body.strip():
        return [Problem(line, "there are no instructions after the frontmatter")]
    found = []
    if (lines := body.count("\n") + 1) > _BODY_LINES:
        found.append(
            Problem(line, f"the instructions have {lines:,} lines; {_BODY_LINES} are advised", refused=False)
        )
    if (tokens := len(body) // _CHARACTERS_A_TOKEN) > _BODY_TOKENS:
        text = f"the instructions take about {tokens:,} tokens of the context; {_BODY_TOKENS:,} are advised"
        found.append(Problem(line, text, refused=False))
    return found
