"""The grammar of calls, asked by llama.cpp itself: what it lets through, and what it doesn't."""

import ctypes
import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.worker.binding import llama
from agent.worker.calls import CallScanner
from agent.worker.engine import Engine
from agent.worker.grammar import SchemaFailed, bare, grammar_of_calls
from agent.worker.protocol import OfferedTool
from tests.hermes_model import COLOURS, PICK

NOW = OfferedTool("now", "Tell the time.", {"type": "object", "properties": {}, "required": []})
READ = OfferedTool(
    "read",
    "Read.",
    {
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 1},
            "line": {"type": "integer", "minimum": 1},
            "more": {"type": "integer", "minimum": 0, "default": 0},
        },
        "required": ["text", "line"],
    },
)
GRAMMAR = grammar_of_calls([PICK, NOW, READ])
FIRST_BYTE, END = 3, 2  # of the tiny model's tokens


def lets_through(engine: Engine, text: str) -> bool:
    """Whether a reply may be this, and end there."""
    sampler = llama.llama_sampler_init_grammar(engine.vocabulary.handle, GRAMMAR.encode(), b"root")
    assert sampler
    try:
        for token in [*(FIRST_BYTE + byte for byte in text.encode()), END]:
            data = (llama.llama_token_data * 1)(llama.llama_token_data(token, 1.0, 0.0))
            candidates = llama.llama_token_data_array(data, 1, -1, False)
            llama.llama_sampler_apply(sampler, ctypes.byref(candidates))
            if data[0].logit == float("-inf"):
                return False
            if token != END:
                llama.llama_sampler_accept(sampler, token)
        return True
    finally:
        llama.llama_sampler_free(sampler)


def call(name: str, **arguments: object) -> str:
    wanted = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{wanted}\n</tool_call>"


@pytest.mark.parametrize(
    "text",
    [
        call("now"),
        "\n" + call("now"),
        *(call("pick", colour=colour, how_often=3) for colour in COLOURS),
        call("read", text="é \u202f’\n", line=10),
        call("read", text=" ", line=1, more=0),
        "Hello. é 🌈",
        "",
        "<tool",
        "<tool_cal",
        "<tool_bar>",
        "<think>\n",
        "I would say " + call("now"),
        "<b>" + call("now") * 2,
        "\n\nAfter two lines.",
    ],
)
def test_a_call_that_fits_and_any_other_text_may_be_said(spaced_engine: Engine, text: str) -> None:
    assert lets_through(spaced_engine, text)


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        "<tool_call>now",
        call("rm"),
        call("now", colour="red"),
        call("pick"),
        call("pick", colour="red"),
        call("pick", colour="mauve", how_often=3),
        call("pick", colour="red", how_often="3"),
        call("pick", colour="red", how_often=3, more=1),
        call("read", text="", line=1),
        call("read", text="a", line=0),
        call("read", text="a", line=-1),
        call("read", text="a", line=1, more=-1),
        call("now") + call("now"),
        call("now") + "\nDone.",
        call("now").removesuffix("</tool_call>"),
        '{"name": "now", "arguments": {}}'.join(["<tool_call>", "</tool_call><tool_call>"]),
    ],
)
def test_what_only_begins_as_a_call_may_not(spaced_engine: Engine, text: str) -> None:
    assert not lets_through(spaced_engine, text)


@example(" <tool_call>", [1])
@example("\t<tool_call>", [])
@given(st.text("<tool_ca>x \n", max_size=24), st.lists(st.integers(0, 24), max_size=5))
def test_whoever_reads_the_reply_agrees_with_the_grammar_about_what_it_is(
    spaced_engine: Engine, text: str, cuts: list[int]
) -> None:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    scanner = CallScanner()
    shown = "".join(scanner.push(text[start:end]) for start, end in itertools.pairwise(places)) + scanner.flush()
    if lets_through(spaced_engine, text):
        assert (shown, scanner.call) == (text, None)
    elif scanner.kind == "call":
        assert shown == ""


def test_a_call_is_what_stands_between_its_marks() -> None:
    scanner = CallScanner()
    for character in "\n" + call("pick", colour="</tool_call>", how_often=1) + "\n":
        assert scanner.push(character) == ""

    assert json.loads(scanner.call or "") == {
        "name": "pick",
        "arguments": {"colour": "</tool_call>", "how_often": 1},
    }


def test_a_text_stays_one_whatever_it_says_further_on() -> None:
    scanner = CallScanner()

    assert scanner.push("No: ") + scanner.push(call("now")) + scanner.flush() == "No: " + call("now")
    assert scanner.call is None


def test_what_a_grammar_cannot_hold_to_is_left_out_and_fields_named_like_it_stay() -> None:
    title = {"type": "string", "title": "Title", "maxLength": 9, "default": ""}
    schema = {"type": "object", "properties": {"title": title, "default": {"type": "integer"}}, "description": "?"}

    assert bare(schema) == {
        "type": "object",
        "properties": {"title": {"type": "string"}, "default": {"type": "integer"}},
        "additionalProperties": False,
    }


def test_tools_without_a_usable_schema_are_refused() -> None:
    with pytest.raises(SchemaFailed, match="schemas of the tools"):
        grammar_of_calls([OfferedTool("odd", "", {"type": "nonsense"})])
