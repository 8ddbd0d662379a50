"""Which tool a model wants: always one that there is, with arguments that fit, or none at all."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.inference import Inference
from agent.tool_choice import ANSWER, choice_schema, read_call, read_choice
from agent.worker.protocol import ChatMessage
from skills.tools.arithmetic import arithmetic_tool
from skills.tools.clock import clock_tool
from skills.tools.edits import edit_tools
from skills.tools.files import file_tools
from skills.tools.tool import Tool
from tests.agent.talk import GREEDY, ask
from vault.sanitize import sanitize

TOOLS: dict[str, Tool[Any]] = {
    tool.name: tool
    for tool in (
        clock_tool(),
        arithmetic_tool(),
        *file_tools(lambda: [Path("/granted")]),
        *edit_tools(lambda: [Path("/granted")]),
    )
}
NAMES = f"These are your tools: {', '.join(TOOLS)}. Which one do you want?"


def test_a_small_models_choices_fit_what_there_is_to_choose_from_every_time(shared: Inference) -> None:
    schema, wanted = choice_schema(list(TOOLS.values())), []
    for seed in range(6):
        sampling = msgspec.structs.replace(GREEDY, temperature=1.5, seed=seed, max_tokens=40)
        reply = ask(shared, ChatMessage("user", NAMES), sampling=sampling, schema=schema)
        choice = read_choice(reply.text)
        if reply.end.finish == "length":  # random words, without an end
            assert choice is None
            continue
        assert choice is not None
        wanted.append(choice.tool)
        if choice.tool != ANSWER:
            TOOLS[choice.tool].read(bytes(choice.arguments))

    assert wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "[]",
        '{"tool": "now"',
        '{"tool": 1, "arguments": {}}',
        '{"arguments": {}}',
        '{"tool": "now", "arguments": {}, "approved": true}',
        '{"tool": "now", "arguments": {}} {"tool": "now", "arguments": {}}',
        'I would like {"tool": "now", "arguments": {}}',
        '{"tool": "now", "arguments": {"a": ' + "[" * 100_000,
        '{"tool": "\ud800"',
    ],
)
def test_what_is_no_choice_is_none(text: str) -> None:
    assert read_choice(text) is None
    assert read_call(text.replace("tool", "name")) is None


def test_a_choice_says_which_tool_with_which_arguments() -> None:
    choice = read_choice(' {"tool": "calculate", "arguments": {"expression": "1 + \\u001b"}} ')
    call = read_call('{"name": "calculate", "arguments": {"expression": "1 + \\u001b"}}')

    assert choice is not None
    assert choice == call
    assert (choice.tool, json.loads(bytes(choice.arguments))) == ("calculate", {"expression": "1 + \x1b"})
    assert read_choice('{"tool": "answer"}') is not None
    assert read_call('{"name": "calculate"}') is None


def test_a_rare_line_end_in_an_argument_leaves_the_call_one() -> None:
    said = '{"name": "calculate",\n"arguments": {"expression": "1\u2028+ 1"}}'
    call = read_call(sanitize(said))

    assert call is not None
    assert json.loads(bytes(call.arguments)) == {"expression": "1 + 1"}
