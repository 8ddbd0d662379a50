"""`claw skill run intent-router`: which skill or tool a request wants, or that it wants none."""

import argparse
import sys

import msgspec

from cli.collecting import offer_to_keep
from cli.console import Console
from cli.errors import UsageError
from vault.classes import DataClass

__all__ = ["route"]

_SHOWN = 3
_NONE = "none of these"
"""What the output of an example says whose request wanted none of the choices."""


def route(arguments: argparse.Namespace, console: Console) -> int:
    """Say what a request wants; exit code 1 where it is none of what there is."""
    from agent.attachments import read_text
    from skills.bundled.intents import Choice, Router
    from skills.embedding.embedder import Embedder
    from skills.examples import Examples
    from skills.library import Library
    from skills.toolbox import described
    from vault.log.entries import Action, Entry

    if arguments.file:
        raise UsageError("A request is a question, not a file.", hint='claw skill run intent-router "…"')
    request = arguments.question or ("" if sys.stdin.isatty() else read_text(sys.stdin.buffer, "Standard input"))
    if not request.strip():
        raise UsageError("There is no request.", hint='claw skill run intent-router "Who was at the meeting?"')
    with console.open_vault(create=True) as vault:
        library = Library(vault)
        library.use(str(arguments.name))  # which may be switched off
        examples = Examples(vault, console.settings.skills)
        known: dict[str, list[str]] = {}
        for example in examples.all(str(arguments.name)):
            known.setdefault(example.output.strip(), []).append(example.input)
        there = {name: text for name, text in library.known() if name != arguments.name} | described(vault)
        choices = [Choice(name, text, tuple(known.get(name, ()))) for name, text in there.items()]
        with Embedder() as embedder:
            decision = Router.learn(embedder, choices, known.get(_NONE, ())).decide(request)
        vault.log.append(
            Entry(
                action=Action.SKILL,
                purpose=f"run of {arguments.name}",
                data_class=DataClass.MEDIUM,
                description=f"one request was compared with {len(choices)} skills and tools",
            )
        )
        if arguments.json:
            ranked = [each._asdict() for each in decision.ranked]
            print(msgspec.json.encode({**decision._asdict(), "ranked": ranked}).decode())
        else:
            print(decision.label or _NONE)
            for each in decision.ranked[:_SHOWN]:
                console.say(f"  {each.probability:5.0%}  {each.label}")
        label = decision.label or _NONE
        if not arguments.json:
            offer_to_keep(console, examples, str(arguments.name), request, label, others=[*there, _NONE], source="")
    return 0 if decision.label else 1
