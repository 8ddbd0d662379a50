"""`claw fl simulate`: try a plan on data that lie here, with as many devices as one likes."""

import argparse
import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from cli.arguments import number_at_least
from cli.console import Console
from cli.errors import UsageError

if TYPE_CHECKING:
    from cli.skill_progress import RunProgress
    from fl_client.simulation.examples import Labelled
    from fl_client.simulation.report import Report
    from fl_client.simulation.run import RoundEnded
    from fl_client.simulation.simulate import Setting, Task

__all__ = ["configure", "run"]

_EPILOG = """\
examples:
  claw fl simulate task.toml --devices 1000 --data requests.jsonl \\
    --partition 'dirichlet(0.3)'
  claw fl simulate task.toml --devices 40 --data requests.jsonl \\
    --partition by=meeting --masked 1
PLAN is what `claw-orchestrator task create` reads. FILE has a JSON object a
line, with a text, its label, and for by=FIELD who or where it came from. The
same seed gives the same releases, on any number of cores and on Ray. Nothing is
sent. A classifier's task doesn't open the vault; devices that train adapters do
it in the sandbox, one after the other, with your model.
"""
_AT_ONCE = 500


class _Simulation(NamedTuple):
    """What is simulated, and who hears of it."""

    task: "Task"
    examples: "Labelled"
    setting: "Setting"
    progress: "RunProgress"
    told: "Callable[[RoundEnded], None]"
    stop: threading.Event


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-verb's arguments."""
    parser.add_argument("plan", type=Path, metavar="PLAN", help="a task, in TOML")
    parser.add_argument("--devices", type=number_at_least(3), required=True, metavar="N", help="how many there are")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="examples, a JSON object a line")
    parser.add_argument(
        "--partition",
        required=True,
        metavar="HOW",
        help="who has which: by=FIELD keeps a meeting together, dirichlet(0.3) deals mixtures of labels",
    )
    for flag, what in (("input", "the text"), ("output", "its label")):
        parser.add_argument(
            f"--{flag}-field", default=flag, metavar="NAME", help=f"the field with {what} (%(default)s)"
        )
    parser.add_argument("--rounds", type=number_at_least(1), metavar="N", help="do so many rounds at most")
    parser.add_argument("--seed", default="1", metavar="TEXT", help="of all that is left to chance (%(default)s)")
    parser.add_argument(
        "--held-out", type=_share, default=0.1, metavar="SHARE", help="of the examples, to judge by (%(default)s)"
    )
    parser.add_argument(
        "--lost", type=_share, default=0.05, metavar="SHARE", help="of each cohort, before it sends (%(default)s)"
    )
    parser.add_argument(
        "--masked",
        type=number_at_least(0),
        default=0,
        metavar="N",
        help="do the first N rounds a second time with all their masks, and compare the sums (slow)",
    )
    parser.add_argument("--no-privacy", action="store_true", help="without clip and noise: what it could come to")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--cores", type=number_at_least(1), metavar="N", help="work with so many processes")
    where.add_argument("--ray", action="store_true", help="work on Ray, on this machine's cores")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("simulation.html"),
        metavar="FILE",
        help="the report; its picture lies beside it as PNG (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object about it")
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Simulate, and write the report."""
    from cli.fl.running import Ending
    from cli.skill_progress import RunProgress
    from fl_client.simulation.examples import read_examples
    from fl_client.simulation.partition import ByField, read_partition
    from fl_client.simulation.report import check_installed, page_of, picture_of
    from fl_client.simulation.run import Chances
    from fl_client.simulation.simulate import Setting, read_plan, seed_of, trains_head
    from skills.example_lines import Fields
    from vault.durable import replace_file
    from vault.portability.files import check_not_ours

    check_installed()
    page, picture = arguments.output.absolute(), arguments.output.absolute().with_suffix(".png")
    for path in (page, picture):
        if path.exists():
            raise UsageError(f"{path} exists already.", hint="Name another file with --output.")
        check_not_ours(path, console.home)
    partition, seed = read_partition(arguments.partition), seed_of(arguments.seed)
    task, comes = read_plan(arguments.plan, seed)
    field = partition.field if isinstance(partition, ByField) else None
    fields = Fields((arguments.input_field,), (arguments.output_field,))
    examples = read_examples(arguments.data, fields, field)
    for warning in () if arguments.no_privacy else comes.warnings:
        console.say(f"! {warning}")
    chances = Chances(arguments.lost, arguments.masked, not arguments.no_privacy)
    most = min(task.rounds, arguments.rounds or task.rounds)
    setting = Setting(arguments.devices, partition, arguments.held_out, most, chances, seed)
    stop = threading.Event()
    with Ending(stop) as ended, RunProgress(console) as progress:

        def told(one: "RoundEnded") -> None:
            well = f"loss {one.loss:.2f}" if one.accuracy is None else f"{one.accuracy:.1%} right"
            progress(f"round {one.number}: {well}, ε {one.epsilon:.2f}", one.number, most)

        at_hand = _Simulation(task, examples, setting, progress, told, stop)
        report = _of_head(arguments, at_hand) if trains_head(task) else _of_adapter(arguments, console, at_hand)
    drawn = picture_of(report)
    replace_file(picture, drawn)
    replace_file(page, page_of(report, drawn).encode())
    if arguments.json:
        print(_as_json(report))
    else:
        for line in _told(report):
            print(line)
    console.say(f"The report: {page}")
    return ended.status if report.stopped else 0


def _of_head(arguments: argparse.Namespace, at_hand: "_Simulation") -> "Report":
    from fl_client.simulation.pool import on_cores, on_ray
    from fl_client.simulation.simulate import simulate_head
    from skills.embedding.embedder import Embedder
    from vault.capacity import usable_cores

    with Embedder() as embedder:

        def embed(texts: Sequence[str]) -> list[bytes]:
            found: list[bytes] = []
            for begin in range(0, len(texts), _AT_ONCE):
                at_hand.progress("reading the examples", begin, len(texts))
                found += embedder.embed(texts[begin : begin + _AT_ONCE])
            return found

        return simulate_head(
            at_hand.task,
            at_hand.examples,
            at_hand.setting,
            embed,
            on_ray if arguments.ray else functools.partial(on_cores, cores=arguments.cores or usable_cores()),
            told=at_hand.told,
            stop=at_hand.stop,
        )


def _of_adapter(arguments: argparse.Namespace, console: Console, at_hand: "_Simulation") -> "Report":
    from cli.at_work import opener
    from fl_client.simulation.simulate import simulate_adapter
    from fl_client.training.plan import Machine
    from fl_client.training.sandboxed import check_installed
    from skills.sandbox.noted import noted_best

    if arguments.ray or arguments.cores:
        raise UsageError("Devices train adapters one after the other here.", hint="Leave out --cores and --ray.")
    check_installed()
    task = at_hand.task
    with console.open_vault() as vault, opener(console, vault)(task.model.hex(), task.skill) as (base, encoder):
        base.check()
        return simulate_adapter(
            task,
            at_hand.examples,
            at_hand.setting,
            base,
            encoder,
            noted_best(vault),
            Machine.here(),
            told=at_hand.told,
            stop=at_hand.stop,
        )


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError("it is a share, from 0 to below 1")
    return number


def _told(report: "Report") -> list[str]:
    last = report.rounds[-1] if report.rounds else None
    lines = [
        f"{len(report.rounds)} rounds{', stopped' if report.stopped else ''}.",
        f"  on held-out examples, before       {_how_well(*report.before)}",
        f"                        after        {_how_well(*report.after)}",
    ]
    if last is not None:
        lines += [
            f"  ε spent by who took part most      {last.epsilon:.2f} at δ = {report.task.plan.delta:g}",
            f"  sent by all devices                {report.sent / 2**20:,.1f} MiB",
            f"  devices that are better off        {report.better:.0%} of {len(report.gains):,} that can tell",
        ]
    return lines


def _how_well(loss: float, accuracy: float | None) -> str:
    return f"loss {loss:.3f} nats" + ("" if accuracy is None else f", {accuracy:.1%} right")


def _as_json(report: "Report") -> str:
    return msgspec.json.encode(
        {
            "task": report.task.name,
            "stopped": report.stopped,
            "before": {"loss": report.before[0], "accuracy": report.before[1]},
            "after": {"loss": report.after[0], "accuracy": report.after[1]},
            "epsilon": report.rounds[-1].epsilon if report.rounds else 0.0,
            "delta": report.task.plan.delta,
            "bytes_sent": report.sent,
            "devices": {"judged": len(report.gains), "better": report.better},
            "rounds": [
                {
                    "round": one.number,
                    "cohort": one.cohort,
                    "updates": one.survivors,
                    "opened": one.opened,
                    "masked": one.masked,
                    "loss": one.loss,
                    "accuracy": one.accuracy,
                    "epsilon": one.epsilon,
                    "clipped": one.clipped,
                }
                for one in report.rounds
            ],
        }
    ).decode()
