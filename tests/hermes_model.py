"""Tiny models whose chat template has the Hermes form of calling tools; some like to call, some don't."""

from pathlib import Path

import gguf

from agent.worker.protocol import OfferedTool
from tests.tiny_model import tiny_gguf

__all__ = ["COLOURS", "HERMES", "PICK", "hermes_gguf"]

HERMES = (
    "{{ '<|im_start|>system\\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}"
    "{% if tools %}{{ '\\n<tools>' }}{% for tool in tools %}{{ '\\n' }}{{ tool | tojson }}{% endfor %}"
    '{{ \'\\n</tools>\\n<tool_call>\\n{"name": <name>, "arguments": <object>}\\n</tool_call>\' }}{% endif %}'
    "{{ '<|im_end|>\\n' }}"
    "{% for m in messages %}{% if m.role != 'system' %}"
    "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

COLOURS = ["red", "green", 'b"l\\ue']

PICK = OfferedTool(
    "pick",
    "Pick a colour.",
    {
        "type": "object",
        "properties": {"colour": {"enum": COLOURS}, "how_often": {"type": "integer", "description": "Times."}},
        "required": ["colour", "how_often"],
    },
)


def hermes_gguf(
    path: Path,
    *,
    eager: bool,
    control: bool = True,
    template: str = HERMES,
    tool_template: str | None = None,
    context: int = 2048,
) -> Path:
    """Write such a model.

    Args:
        path: Where.
        eager: Whether it calls a tool whenever it may; its own words are random bytes.
        control: Whether the marks around a call are control tokens to it, as for some models, or plain ones.
        template: Its chat template.
        tool_template: A chat template of its own for conversations with tools; the other then takes none.
        context: Its window, in tokens.
    """
    marks = gguf.TokenType.CONTROL if control else gguf.TokenType.USER_DEFINED
    return tiny_gguf(
        path,
        template=template if tool_template is None else template.replace("if tools", "if false"),
        tool_template=tool_template,
        context=context,
        more_tokens={
            "<|im_start|>": gguf.TokenType.CONTROL,
            "<|im_end|>": gguf.TokenType.CONTROL,
            "<tool_call>": marks,
            "</tool_call>": marks,
        },
        eager="<tool_call>" if eager else "",
    )
