"""`claw fl`: learning together with others; one small module per sub-verb."""

import argparse
import importlib
from types import ModuleType

from cli.console import Console

__all__ = ["SUBVERBS", "configure", "run"]

SUBVERBS: dict[str, str] = {
    "join": "join a federation by its invite; nothing is learned by that",
    "leave": "leave a federation, and forget this device's key there",
    "status": "what you belong to, agreed to and took part in, and why it isn't learning right now",
    "preview": "make the very bytes that would leave, and keep them here",
    "run": "take part in the next rounds, here and now",
    "daemon": "take part whenever your limits allow, until it is ended",
    "simulate": "try a plan on data that lie here, with as many devices as you like",
}
"""The sub-verbs and what each does; the module of one is `cli.fl.<sub-verb>`, `run_` for `run`."""

_EPILOG = """\
Everything is off until you agree to it:
  claw fl join INVITE          belong to a federation
  claw consent show            see what it offers, and every number that matters
  claw fl preview TASK         see the bytes that would leave
  claw consent grant TASK      agree to one task
  claw fl run                  take part
`claw pause` stops all of it, `claw consent withdraw TASK` one task, within a
second. `claw log list --match federation` shows every byte that left.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    verbs = parser.add_subparsers(dest="fl_verb", metavar="VERB", required=True)
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name, summary in SUBVERBS.items():
        child = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        _module(name).configure(child)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Carry out the sub-verb."""
    return int(_module(arguments.fl_verb).run(arguments, console))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"cli.fl.{'run_' if name == 'run' else name}")
