"""Chat templates: from messages to pieces of prompt, with what people said kept apart from what the template says.

A GGUF carries its chat template as Jinja source by whoever made the file, so it runs in Jinja's sandbox inside the
confined worker. The contents are put in as markers and cut out again after rendering. That gives two things: the
template's control tokens are the only ones there are (a document that contains `<|im_start|>system` stays a text
about it), and a reply's own tokens can stand where its text would.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jinja2

from agent.worker.jinja_sandbox import environment
from agent.worker.protocol import ChatMessage, OfferedTool, ToolForm

__all__ = ["TOOLS", "ChatTemplate", "Piece", "TemplateFailed", "rehearse"]

TOOLS = -1
"""In place of a message's index: the text comes from the tools."""

_MARK = re.compile("(\ue000[0-9]{1,9}\ue001)")
_WITHOUT_MARKS = {0xE000: None, 0xE001: None}
_HERMES_CALL = re.compile(r'<tool_call>\s*\{"(?:name|arguments)": ')
"""What a template says of how to call a tool, where the model was trained to do it in the Hermes form. Others put
calls between the same marks in another language."""

_SAMPLE = OfferedTool("sample_of_a_tool", "A sample.", {"type": "object", "properties": {}})


class TemplateFailed(Exception):
    """The model's chat template can't be used; the text says why."""


class Piece(NamedTuple):
    """A stretch of the prompt.

    Attributes:
        text: Its text.
        message: Index of the message it is the content of, `TOOLS`, or `None` for the template's own text.
        tokens: The content's own tokens, where the message came with them.
    """

    text: str
    message: int | None = None
    tokens: bytes | None = None


class ChatTemplate:
    """A model's chat template.

    Args:
        source: Jinja source, as in the GGUF's `tokenizer.chat_template`.
        bos: Text of the model's beginning-of-sequence token.
        eos: Text of its end-of-sequence token.
        control: Gives the pattern of every text that would be read as a control token. Asked only when needed:
            a large vocabulary takes a while to go through.

    Raises:
        TemplateFailed: the source is no template.
    """

    def __init__(self, source: str, bos: str, eos: str, control: Callable[[], re.Pattern[str]]) -> None:
        try:
            self._template = environment().from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateFailed(f"the model's chat template doesn't parse: {error.message}") from error
        except Exception as error:  # nested too deeply for Python's own parser, say
            raise TemplateFailed(f"the model's chat template doesn't parse: {type(error).__name__}") from error
        self._control = control
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def tool_form(self) -> ToolForm:
        """How the model calls tools, as the template describes it; `none` where that is no form known here."""
        try:
            text = self._render([("user", "Hello.")], [_offer(_SAMPLE)])
        except Exception:  # noqa: BLE001  as in `pieces`, which tells of it when it matters
            return "none"
        thinks = text.rstrip().endswith("<think>")  # a call would only come after its thoughts
        return "hermes" if _SAMPLE.name in text and _HERMES_CALL.search(text) and not thinks else "none"

    def pieces(self, messages: Sequence[ChatMessage], tools: Sequence[OfferedTool] = ()) -> list[Piece]:
        """The prompt for the next reply, in order.

        Some templates refuse two messages of one role in a row, or a system message: then neighbours are joined,
        and the system's text goes in front of the first message, as those models are meant to be used. Where the
        template alters what was said (cuts reasoning out of old replies, say), contents can't be told from the
        template's text; then only what spells a control token is kept apart from it. So it is with tools: they may
        be a skill's, and are written out by the template in whatever way it likes.

        A model that can do without thinking aloud is asked to where there are tools: a call comes first, or not at
        all.

        Raises:
            TemplateFailed: it fails on these messages.
        """
        reason = "it takes no messages"
        try:
            for adapted in _adaptations(messages):
                try:
                    return self._cut(adapted, tools)
                except jinja2.TemplateError as error:
                    reason = error.message or type(error).__name__
        except Exception as error:  # hostile or careless template code fails in any of Python's ways
            raise TemplateFailed(_failure(type(error).__name__)) from error
        raise TemplateFailed(_failure(reason))

    def _cut(self, contents: list["_Content"], tools: Sequence[OfferedTool]) -> list[Piece]:
        spelled: list[Piece] = []  # what of the tools spells control tokens, by the number of its mark
        offered = [self._told(tool, spelled) for tool in tools]
        first = len(spelled)
        marks = {_mark(first + number): number for number in range(len(contents))}
        marked = self._render([(c.role, mark) for c, mark in zip(contents, marks, strict=True)], offered)
        parts = [part for part in _MARK.split(marked) if part]
        placed = [marks[part] for part in parts if part in marks]
        if len(set(placed)) == len(placed):
            for texts in ([c.text for c in contents], [c.text.strip() for c in contents]):
                # Whatever the template does to the marks, it must do the same to the texts.
                filled = "".join(texts[marks[part]] if part in marks else part for part in parts)
                if filled == self._render(
                    [(c.role, text) for c, text in zip(contents, texts, strict=True)], offered
                ):
                    return [
                        Piece(texts[marks[part]], contents[marks[part]].position, contents[marks[part]].tokens)
                        if part in marks
                        else _piece(part, spelled)
                        for part in parts
                    ]
        return self._cut_at_control(contents, offered, spelled)

    def _cut_at_control(
        self, contents: list["_Content"], offered: list[dict[str, Any]], spelled: list[Piece]
    ) -> list[Piece]:
        kept = [*spelled]
        said = [(content.role, self._apart(content.text, content.position, kept)) for content in contents]
        return [_piece(part, kept) for part in _MARK.split(self._render(said, offered)) if part]

    def _apart(self, text: str, message: int, kept: list[Piece]) -> str:
        """A text in which marks stand for what spells control tokens; that is added to `kept`."""

        def mark(match: re.Match[str]) -> str:
            kept.append(Piece(match[0], message))
            return _mark(len(kept) - 1)

        return self._control().sub(mark, text.translate(_WITHOUT_MARKS))

    def _told(self, tool: OfferedTool, kept: list[Piece]) -> dict[str, Any]:
        """A tool as templates expect it, with marks for what spells control tokens."""

        def apart(value: Any) -> Any:  # noqa: ANN401  any JSON
            if isinstance(value, str):
                return self._apart(value, TOOLS, kept)
            if isinstance(value, dict):
                return {apart(key): apart(each) for key, each in value.items()}
            return [apart(each) for each in value] if isinstance(value, list | tuple) else value

        return {key: apart(value) for key, value in _offer(tool).items()}

    def _render(self, messages: list[tuple[str, str]], offered: list[dict[str, Any]]) -> str:
        tools: dict[str, Any] = {}
        if offered:
            # SmolLM3 calls them `xml_tools` and writes them out as they are.
            written = [json.dumps(tool["function"], ensure_ascii=False) for tool in offered]
            tools = {"tools": offered, "xml_tools": written, "enable_thinking": False}
        return self._template.render(
            messages=[{"role": role, "content": content} for role, content in messages],
            add_generation_prompt=True,
            **tools,
            **self._tokens,
        )


class _Content(NamedTuple):
    """A message as it is put into the template; `position` is that of the (first) message it comes from."""

    role: str
    text: str
    position: int
    tokens: bytes | None


def _adaptations(messages: Sequence[ChatMessage]) -> Iterator[list[_Content]]:
    """The messages as they are; then with neighbours joined; then with the system's text in the first of them."""
    contents = [_Content(m.role, m.text, position, m.tokens) for position, m in enumerate(messages)]
    yield contents
    if (joined := _joined(contents)) != contents:
        yield joined
    if len(contents) > 1 and contents[0].role == "system":
        yield _joined([contents[0]._replace(role=contents[1].role), *contents[1:]])


def _joined(contents: list[_Content]) -> list[_Content]:
    joined: list[_Content] = []
    for content in contents:
        if joined and joined[-1].role == content.role:
            joined[-1] = joined[-1]._replace(text=f"{joined[-1].text}\n\n{content.text}", tokens=None)
        else:
            joined.append(content)
    return joined


def _mark(number: int) -> str:
    return f"\ue000{number}\ue001"


def _piece(part: str, kept: list[Piece]) -> Piece:
    """What a part of a rendered prompt stands for."""
    number = int(part[1:-1]) if _MARK.fullmatch(part) else len(kept)
    return kept[number] if number < len(kept) else Piece(part)


def _offer(tool: OfferedTool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _failure(reason: str) -> str:
    return f"the model's chat template fails on this conversation: {reason}"


def rehearse() -> None:
    """Use everything once that Jinja and Python load when first used; a confined process can't load it later."""
    source = (
        "{%- macro greet(name) %}{{ 'Hi\\n\\u00e9 ' ~ name | trim | upper }}{% endmacro -%}"
        "{%- for m in messages if m['role'] != 'x' -%}"
        "{{ greet(m.content) }}{{ [m] | tojson }}{% break %}{% endfor %}"
        "{{ strftime_now('%d %b %Y') }}{{ 'a b'.split(' ') | join(',') }}"
        "{{ messages | map(attribute='role') | list }}"
        "{% generation %}{% for tool in tools or [] %}{{ tool | tojson(indent=2) ~ (tool | string) }}"
        "{% for name, field in tool.function.parameters.properties | items %}{{ name }}{% endfor %}{% endfor %}"
        "{% endgeneration %}"
    )
    ChatTemplate(source, "", "", _no_control).pieces([ChatMessage("user", "rehearsal")], [_SAMPLE])
    for broken in ("{{ raise_exception('no') }}", "{{ 1 / 0 }}", "{{ missing.attribute }}", "{% if %}"):
        with contextlib.suppress(TemplateFailed):
            ChatTemplate(broken, "", "", _no_control).pieces([ChatMessage("user", "rehearsal")])


def _no_control() -> re.Pattern[str]:
    return re.compile("(?!)")
