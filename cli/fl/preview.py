"""`claw fl preview`: really learn an update, clip, noise and mask it, and show the bytes. They stay here."""

import argparse
import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console
from cli.errors import UsageError

if TYPE_CHECKING:
    from fl_client.participation.trial import Previewed
    from skills.sandbox.job import Progress

__all__ = ["configure", "run", "shown"]

_BYTES_A_LINE, _LINES = 32, 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("task", metavar="TASK", help="a task, or FEDERATION/TASK; no consent to it is needed")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the message there, to look into it"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object about it")
    parser.epilog = (
        "What is fetched for it is the task and the release that is in use. It trains as a round does, in the "
        "sandbox, for as long; what it learned is forgotten."
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Make it and show it."""
    from cli.at_work import opener
    from cli.fl.running import Ending
    from cli.skill_progress import RunProgress
    from fl_client.errors import TrainingStopped
    from fl_client.participation.trial import preview
    from fl_client.training.sandboxed import check_installed
    from vault.portability.files import check_not_ours

    check_installed()
    if arguments.output:
        if arguments.output.exists():
            raise UsageError(f"{arguments.output} exists already.", hint="Name another file.")
        check_not_ours(arguments.output, console.home)
    ends = threading.Event()
    with console.open_vault() as vault, Ending(ends) as ended, RunProgress(console) as progress:

        def trained(now: "Progress") -> None:
            progress(now.note or "learning", now.done, now.total)

        try:
            made = asyncio.run(
                preview(vault, console.settings, arguments.task, opener(console, vault), ends, trained)
            )
        except TrainingStopped as error:
            console.say(f"[{error.message} Nothing was kept.]")
            return ended.status or 1
    if arguments.output:
        from vault.durable import replace_file

        replace_file(arguments.output.absolute(), made.preview.data)
    if arguments.json:
        print(_as_json(made))
    else:
        for line in shown(made):
            print(line)
        if arguments.output:
            console.say(f"Written to {arguments.output}.")
    return 0


def shown(made: "Previewed") -> list[str]:
    """A preview for a person."""
    one = made.preview
    lines = [
        f"What would leave for {made.task} in a round: {len(one.data):,} bytes, SHA-256 {one.sha256[:16]}…",
        f"  learned     from {made.rows:,} examples, an update of length {one.length:.3f}",
        f"  clipped     to length {one.clipped:.3f}",
        f"  noised      by this device's share of the noise, of length {one.noise:.3f}",
        f"  masked      as among {one.devices:,} devices; {100 * one.even:.2f} % of its bits are ones, as of any "
        "random bits",
        "  it begins",
    ]
    for start in range(0, _LINES * _BYTES_A_LINE, _BYTES_A_LINE):
        lines.append(f"    {one.data[start : start + _BYTES_A_LINE].hex(' ', 4)}")
    lines.append("Nothing was sent.")
    return lines


def _as_json(made: "Previewed") -> str:
    one = made.preview
    return msgspec.json.encode(
        {
            "task": made.task,
            "bytes": len(one.data),
            "sha256": one.sha256,
            "examples": made.rows,
            "length": {"learned": one.length, "clipped": one.clipped, "noise": one.noise},
            "share_of_ones": one.even,
            "devices": one.devices,
        }
    ).decode()
