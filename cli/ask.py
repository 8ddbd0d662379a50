"""`claw ask`: one question, answered to a terminal, a pipe, or as JSON."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.arguments import number_at_least, temperature
from cli.console import Console

if TYPE_CHECKING:
    from agent.assistant import TurnEnd
    from cli.desk import Desk
    from vault.messages import Attachment, Session

__all__ = ["as_json", "configure", "run"]

_EXAMPLES = """\
examples:
  claw ask "What is the capital of Norway?"
  claw ask --continue "And of Sweden?"
  claw ask -f notes.txt "What is still to be done?"
  git diff | claw ask -f - "What does this change?"
"""
_TRY = 'Try: claw ask "What is the capital of Norway?"'


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="the question; - or nothing reads stdin")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-c", metavar="SESSION", dest="session", help="go on with this conversation (id, its beginning, or title)"
    )
    which.add_argument(
        "--continue", action="store_true", dest="newest", help="go on with the conversation used last"
    )
    parser.add_argument("-s", "--system", metavar="SYSTEM", help="system prompt for this conversation")
    parser.add_argument("-m", "--model", metavar="MODEL", help="answer with this model")
    parser.add_argument(
        "-f",
        "--file",
        metavar="FILE",
        action="append",
        default=[],
        help="attach a text file (- for stdin); repeatable",
    )
    parser.add_argument(
        "--max-tokens", type=number_at_least(0), metavar="N", help="most tokens of the reply (0: no limit)"
    )
    parser.add_argument("--temperature", type=temperature, metavar="T", help="0 always takes the likeliest token")
    parser.add_argument("--seed", type=number_at_least(0), metavar="N", help="the same seed gives the same reply")
    parser.add_argument(
        "--tools",
        action=argparse.BooleanOptionalAction,
        help="let it use tools, as `claw permission` says (default: the setting tools.enabled)",
    )
    parser.add_argument("--skill", metavar="NAME", help="follow this skill; its tools come with it")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the text")
    parser.add_argument(
        "--no-save",
        action="store_true",
        help="keep nothing of this exchange (your shell keeps the command line: give the question on stdin)",
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Ask, print the reply, return the exit code."""
    # What can be refused is refused before the vault is opened and a model loaded.
    attachments = [_attachment(name) for name in arguments.file]
    prompt = _prompt(arguments)
    from agent.assistant import new_sampling
    from agent.errors import ContextOverflow
    from cli.desk import Desk
    from cli.turn import play, stoppable, stopped

    continues = bool(arguments.session or arguments.newest)
    wants_tools = console.settings.tools.enabled if arguments.tools is None else arguments.tools
    wants_tools = wants_tools or bool(arguments.skill)
    needs_vault = continues or wants_tools
    with Desk(console, arguments.model, keep=not arguments.no_save, needs_history=needs_vault) as desk:
        tools = desk.tools(arguments.skill) if wants_tools else None  # which may be refused
        session = _session(arguments, desk, prompt)
        sampling = new_sampling(
            console.settings.sampling,
            temperature=arguments.temperature,
            max_tokens=arguments.max_tokens,
            seed=arguments.seed,
        )
        try:
            with stoppable(desk.assistant.cancel):
                turn = desk.assistant.reply(
                    session, prompt, sampling=sampling, attachments=attachments, tools=tools
                )
                end, notices = play(turn, console, show=not arguments.json)
        except ContextOverflow:
            desk.forget_if_empty(session)
            raise
    if arguments.json:
        print(as_json(end, notices, saved=not arguments.no_save))
    elif end.generation.finish == "length" and not arguments.max_tokens:
        console.say("[cut off: the reply met its limit, or the context window is full]")
    elif end.generation.finish == "cancelled":
        console.say(stopped(end, kept=not arguments.no_save))
    return 130 if end.generation.finish == "cancelled" else 0


def _session(arguments: argparse.Namespace, desk: "Desk", prompt: str) -> "Session":
    from vault.errors import NotFound

    if not (arguments.session or arguments.newest):
        return desk.assistant.start_session(prompt, arguments.system)
    assert desk.vault is not None
    kept = desk.vault.conversations
    session = kept.find(arguments.session) if arguments.session else kept.newest()
    if session is None:
        raise NotFound("There is no conversation to go on with yet.", hint="Ask without --continue first.")
    if arguments.no_save:  # go on in memory, on a copy
        system = session.system_prompt if arguments.system is None else arguments.system
        return desk.conversations.start_with(kept.path(session.id), session.title, system)
    kept.mark_interrupted(session.id)
    if arguments.system is not None:
        kept.set_system_prompt(session.id, arguments.system)
    return session


def _prompt(arguments: argparse.Namespace) -> str:
    from agent.attachments import read_text
    from agent.errors import AttachmentRefused

    given: str | None = arguments.prompt
    if given is None or given == "-":
        if "-" in arguments.file:
            if given == "-":
                raise AttachmentRefused(
                    "Standard input can't be both the question and a file.",
                    hint="Give the question as an argument: claw ask -f - QUESTION",
                )
            given = "Answer about the attached text."
        elif given is None and sys.stdin.isatty():
            raise AttachmentRefused("Nothing was asked.", hint=_TRY)
        else:
            given = read_text(sys.stdin.buffer, "Standard input").strip()
    if not given.strip():
        raise AttachmentRefused("The question is empty.", hint=_TRY)
    return given


def _attachment(name: str) -> "Attachment":
    from agent.attachments import read_attachment, read_text
    from vault.messages import Attachment

    if name == "-":
        return Attachment("stdin", read_text(sys.stdin.buffer, "Standard input"))
    return read_attachment(Path(name))


def as_json(end: "TurnEnd", notices: list[str], *, saved: bool) -> str:
    """A reply for programs.

    Args:
        end: Of its turn.
        notices: What the person was told on the way.
        saved: Whether it was kept.
    """
    made = end.generation
    speed = made.tokens_per_second
    return msgspec.json.encode(
        {
            "text": end.message.text,
            "session": end.message.session_id if saved else None,
            "message": end.message.id if saved else None,
            "model": {"name": made.model_name, "sha256": made.model_sha256, "adapter": made.adapter_sha256},
            "usage": {
                "prompt_tokens": made.prompt_tokens,
                "cached_tokens": made.cached_tokens,
                "completion_tokens": made.completion_tokens,
            },
            "timings": {
                "load_s": round(made.load_s, 4),
                "prefill_s": round(made.prefill_s, 4),
                "decode_s": round(made.decode_s, 4),
                "time_to_first_token_s": round(made.first_token_s, 4),
                "tokens_per_second": round(speed, 2) if speed else None,
            },
            "finish": made.finish,
            "notices": notices,
        }
    ).decode()
