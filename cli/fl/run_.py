"""`claw fl run`: take part in the next rounds of what was agreed to, in the foreground."""

import argparse
import asyncio
import threading
from typing import TYPE_CHECKING

import msgspec

from cli.arguments import number_at_least
from cli.console import Console, counted

if TYPE_CHECKING:
    from fl_client.participation.participant import Done
    from skills.sandbox.job import Progress

__all__ = ["configure", "run"]

_EPILOG = """\
examples:
  claw fl run                       the next round of each task you agreed to
  claw fl run minutes --rounds 3    three rounds of one task, then it ends
Your limits hold (`claw limits`). Ctrl-C ends it, also in the middle of a round,
which then goes on without this device.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("task", nargs="?", metavar="TASK", help="a task, or FEDERATION/TASK; each if not given")
    parser.add_argument(
        "--rounds", type=number_at_least(1), default=1, metavar="N", help="end after so many (%(default)s)"
    )
    parser.add_argument("--wait", action="store_true", help="wait while a limit holds it up, instead of ending")
    parser.add_argument("--json", action="store_true", help="print one JSON object about it")
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Take part, say what came of it, return the exit code."""
    from cli.at_work import opener
    from cli.fl.running import Ending
    from cli.skill_progress import RunProgress
    from fl_client.errors import TrainingStopped
    from fl_client.participation.desk import Desk, chosen
    from fl_client.training.sandboxed import check_installed
    from vault.pause import PauseLatch

    check_installed()
    PauseLatch(console.home).check()
    ends = threading.Event()
    done: dict[str, list[Done]] = {}
    with console.open_vault() as vault, Ending(ends) as ended, RunProgress(console) as progress:

        def trained(now: "Progress") -> None:
            progress(now.note or "learning", now.done, now.total)

        desk = Desk(vault, console.settings, opener(console, vault), ends, told=console.say, on_progress=trained)
        try:
            with desk.alone():
                for consent in chosen(vault, arguments.task):
                    done[consent.task_name] = asyncio.run(desk.run(consent, arguments.rounds, waits=arguments.wait))
        except TrainingStopped as error:
            if not ends.is_set():
                raise
            console.say(f"[{error.message} What was sent is in `claw log list`.]")
    if arguments.json:
        print(_as_json(done), flush=True)
    else:
        for name, rounds in done.items():
            console.say(f"{name}: {counted(len(rounds), 'round')} taken part in.")
    return ended.status


def _as_json(done: "dict[str, list[Done]]") -> str:
    return msgspec.json.encode(
        {
            name: [
                {
                    "round": one.number,
                    "outcome": one.outcome,
                    "examples": one.learned.rows,
                    "loss": {"before": one.learned.loss[0], "after": one.learned.loss[1]},
                }
                for one in rounds
            ]
            for name, rounds in done.items()
        }
    ).decode()
