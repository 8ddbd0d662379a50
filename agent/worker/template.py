"""Chat templates: from messages to pieces of prompt, with what people said kept apart from what the template says.

A GGUF carries its chat template as Jinja source by whoever made the file, so it runs in Jinja's sandbox inside the
confined worker. The contents are put in as markers and cut out again after rendering. That gives two things: the
template's control tokens are the only ones there are (a document that contains `<|im_start|>system` stays a text
about it), and a reply's own tokens can stand where its text would.
"""

import contextlib
import functools
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, NamedTuple, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2.runtime import Context

from agent.worker.protocol import ChatMessage

__all__ = ["ChatTemplate", "Piece", "TemplateFailed", "rehearse"]

_LARGEST_STEP = 1_000_000
_LARGEST_POWER = 64
_WITHOUT_MARKS = {0xE000: None, 0xE001: None}


class TemplateFailed(Exception):
    """The model's chat template can't be used; the text says why."""


class Piece(NamedTuple):
    """A stretch of the prompt.

    Attributes:
        text: Its text.
        message: Index of the message it is the content of, or `None` for the template's own text.
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
        environment = _Sandbox(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols], autoescape=False
        )
        # What Hugging Face's templates expect to find (transformers, chat_template_utils).
        environment.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = time.strftime
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateFailed(f"the model's chat template doesn't parse: {error.message}") from error
        except Exception as error:  # nested too deeply for Python's own parser, say
            raise TemplateFailed(f"the model's chat template doesn't parse: {type(error).__name__}") from error
        self._control = control
        self._tokens = {"bos_token": bos, "eos_token": eos}

    def pieces(self, messages: Sequence[ChatMessage]) -> list[Piece]:
        """The prompt for the next reply, in order.

        Some templates refuse two messages of one role in a row, or a system message: then neighbours are joined,
        and the system's text goes in front of the first message, as those models are meant to be used. Where the
        template alters what was said (cuts reasoning out of old replies, say), contents can't be told from the
        template's text; then only what spells a control token is kept apart from it.

        Raises:
            TemplateFailed: it fails on these messages.
        """
        reason = "it takes no messages"
        try:
            for adapted in _adaptations(messages):
                try:
                    return self._cut(adapted)
                except jinja2.TemplateError as error:
                    reason = error.message or type(error).__name__
        except Exception as error:  # hostile or careless template code fails in any of Python's ways
            raise TemplateFailed(_failure(type(error).__name__)) from error
        raise TemplateFailed(_failure(reason))

    def _cut(self, contents: list["_Content"]) -> list[Piece]:
        marks = {f"\ue000{number}\ue001": number for number in range(len(contents))}
        marked = self._render([(c.role, mark) for c, mark in zip(contents, marks, strict=True)])
        parts = [part for part in re.split("(\ue000\\d+\ue001)", marked) if part]
        placed = [marks[part] for part in parts if part in marks]
        if len(set(placed)) == len(placed):
            for texts in ([c.text for c in contents], [c.text.strip() for c in contents]):
                # Whatever the template does to the marks, it must do the same to the texts.
                filled = "".join(texts[marks[part]] if part in marks else part for part in parts)
                if filled == self._render([(c.role, text) for c, text in zip(contents, texts, strict=True)]):
                    return [
                        Piece(texts[marks[part]], contents[marks[part]].position, contents[marks[part]].tokens)
                        if part in marks
                        else Piece(part)
                        for part in parts
                    ]
        return self._cut_at_control(contents)

    def _cut_at_control(self, contents: list["_Content"]) -> list[Piece]:
        control = self._control()
        kept: list[Piece] = []

        def apart(content: _Content) -> str:
            def mark(match: re.Match[str]) -> str:
                kept.append(Piece(match[0], content.position))
                return f"\ue000{len(kept) - 1}\ue001"

            return control.sub(mark, content.text.translate(_WITHOUT_MARKS))

        rendered = self._render([(content.role, apart(content)) for content in contents])
        texts = re.split("\ue000(\\d+)\ue001", rendered)
        pieces = [kept[int(part)] if odd % 2 else Piece(part) for odd, part in enumerate(texts)]
        return [piece for piece in pieces if piece.text]

    def _render(self, messages: list[tuple[str, str]]) -> str:
        return self._template.render(
            messages=[{"role": role, "content": content} for role, content in messages],
            add_generation_prompt=True,
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


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox, and no single step that takes all the memory or time there is."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401
        for sequence, times in ((left, right), (right, left)):
            repeated = operator == "*" and isinstance(sequence, Sized) and isinstance(times, int)
            if repeated and len(sequence) * times > _LARGEST_STEP:
                raise jinja2.exceptions.SecurityError("it builds a giant text")
        if operator == "**" and not (abs(left) <= _LARGEST_STEP and abs(right) <= _LARGEST_POWER):
            raise jinja2.exceptions.SecurityError("it computes a giant number")
        return super().call_binop(context, operator, left, right)


def _failure(reason: str) -> str:
    return f"the model's chat template fails on this conversation: {reason}"


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def rehearse() -> None:
    """Use everything once that Jinja and Python load when first used; a confined process can't load it later."""
    source = (
        "{%- macro greet(name) %}{{ 'Hi\\n\\u00e9 ' ~ name | trim | upper }}{% endmacro -%}"
        "{%- for m in messages if m['role'] != 'x' -%}"
        "{{ greet(m.content) }}{{ [m] | tojson }}{% break %}{% endfor %}"
        "{{ strftime_now('%d %b %Y') }}{{ 'a b'.split(' ') | join(',') }}"
        "{{ messages | map(attribute='role') | list }}"
    )
    ChatTemplate(source, "", "", _no_control).pieces([ChatMessage("user", "rehearsal")])
    for broken in ("{{ raise_exception('no') }}", "{{ 1 / 0 }}", "{{ missing.attribute }}", "{% if %}"):
        with contextlib.suppress(TemplateFailed):
            ChatTemplate(broken, "", "", _no_control).pieces([ChatMessage("user", "rehearsal")])


def _no_control() -> re.Pattern[str]:
    return re.compile("(?!)")
