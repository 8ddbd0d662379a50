"""`claw skill run` of a skill that the person imported: the model follows it, or one of its scripts is run."""

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console
from cli.errors import UsageError

if TYPE_CHECKING:
    from skills.permissions.approval import Answer, Approval

__all__ = ["follow", "run_script"]

_FOLLOW = "Follow the skill."


def follow(arguments: argparse.Namespace, console: Console) -> int:
    """Have the model follow the skill, with its tools; kept as a conversation."""
    from agent.assistant import new_sampling
    from agent.attachments import read_attachment, read_text
    from cli.ask import as_json
    from cli.desk import Desk
    from cli.turn import play, stoppable, stopped
    from vault.messages import Attachment

    files = [
        Attachment("stdin", read_text(sys.stdin.buffer, "Standard input"))
        if name == "-"
        else read_attachment(Path(name))
        for name in arguments.file
    ]
    prompt = arguments.question or _FOLLOW
    if arguments.output or arguments.forget:
        raise UsageError("-o and --forget are for the skills that come with the program.", hint="Leave them out.")
    with Desk(console, arguments.model) as desk:
        tools = desk.tools(str(arguments.name))
        session = desk.assistant.start_session(f"{arguments.name}: {prompt}")
        sampling = new_sampling(console.settings.sampling)
        with stoppable(desk.assistant.cancel):
            turn = desk.assistant.reply(session, prompt, sampling=sampling, attachments=files, tools=tools)
            end, notices = play(turn, console, show=not arguments.json)
    if arguments.json:
        print(as_json(end, notices, saved=True))
    elif end.generation.finish == "cancelled":
        console.say(stopped(end, kept=True))
    return 130 if end.generation.finish == "cancelled" else 0


def run_script(arguments: argparse.Namespace, console: Console) -> int:
    """Run a script of the skill in the sandbox, as the person says; its input is ours, and its output too."""
    from agent.attachments import read_text
    from skills.errors import NotPermitted, ToolFailed
    from skills.sandbox.noted import noted_best
    from skills.toolbox import begin

    if arguments.file or arguments.question or arguments.json or arguments.output or arguments.forget:
        raise UsageError("A script reads standard input, and takes --argument.", hint="Leave the rest out.")
    given = "" if sys.stdin.isatty() else read_text(sys.stdin.buffer, "Standard input")
    with console.open_vault() as vault:
        name = str(arguments.name)
        session = begin(vault, console.settings.network, _ByCommand(), lambda: noted_best(vault), name)
        call = {"script": arguments.script, "arguments": arguments.argument, "stdin": given}
        outcome = session.broker.call(
            "run_script", msgspec.json.encode(call), asked_by=str(arguments.name), stop=threading.Event()
        )
    if outcome.refused:
        raise NotPermitted(outcome.text, hint="`claw permission show` says what is permitted.")
    if not outcome.ok:
        raise ToolFailed(outcome.text)
    print(outcome.text)
    return 0


class _ByCommand:
    """Who types the command that names the script and its arguments has agreed to this one call."""

    def ask(self, approval: "Approval") -> "Answer":
        from skills.permissions.approval import Answer

        return Answer.ONCE if approval.tool == "run_script" else Answer.DENY
