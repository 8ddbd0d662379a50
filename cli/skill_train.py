"""`claw skill train`: learn a personal adapter for a skill from one's own examples."""

import argparse
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.console import Console, counted
from cli.errors import UsageError
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from agent.models.open_model import OpenModel
    from fl_client.training.example_rows import Text
    from fl_client.training.personal import Learned
    from fl_client.training.plan import TrainingPlan
    from skills.sandbox.job import Progress
    from vault.store import Vault

__all__ = ["configure", "run"]

_EXAMPLES = """\
examples:
  claw skill train meeting-summarizer
  claw skill train meeting-summarizer --held-out others.jsonl
  claw skill train meeting-summarizer --passes 3 --peft adapter/
It learns in a sandbox, from this skill's examples (`claw skill examples`), on
this machine alone; nothing is sent. A tenth of them is held out to judge what
was learned, and an adapter that is no better isn't used. Training that is
stopped (Ctrl-C) or killed goes on when you run the same again.
`claw skill adapters` shows what there is, and takes it back.
"""
_KINDS = ("ffa", "core")
_MOST_HELD_OUT = 1000


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the action's arguments."""
    parser.add_argument("name", metavar="NAME", help="the skill, as `claw skill list` shows it")
    parser.add_argument("-m", "--model", metavar="MODEL", help="train on this model instead of the usual one")
    parser.add_argument(
        "--held-out",
        type=Path,
        metavar="FILE",
        help="judge by the examples of this file of JSON lines, and learn from all of one's own",
    )
    for flag, what in (("input", "goes in"), ("output", "should come out")):
        parser.add_argument(
            f"--{flag}-field",
            action="append",
            metavar="NAME",
            help=f"of --held-out: the field with what {what} ({flag}); given again, one below the other",
        )
    parser.add_argument("--passes", type=int, metavar="N", help="see each example at most N times")
    parser.add_argument(
        "--kind",
        choices=_KINDS,
        default="ffa",
        help="what is trained: ffa, which learns most, or core, twelve times smaller (%(default)s)",
    )
    parser.add_argument(
        "--peft", type=Path, metavar="FOLDER", help="write it there too, in clear, as peft loads it"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object about it")
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Train, say what came of it, return the exit code."""
    from agent.models.catalogue import Catalogue
    from skills.examples import check_name

    check_name(arguments.name)
    if arguments.passes is not None and not 1 <= arguments.passes <= 100:
        raise UsageError("Each example can be seen 1 to 100 times.")
    if arguments.peft:
        _check_peft(arguments.peft, console)
    held_out = _held_out(arguments)
    with console.open_vault() as vault:
        name = arguments.model or console.settings.model.default
        with Catalogue(console.home, vault.models).open_verified(name) as weights:
            return _train(arguments, console, vault, weights, held_out)


def _train(
    arguments: argparse.Namespace, console: Console, vault: "Vault", weights: "OpenModel", held_out: "list[Text]"
) -> int:
    from agent.inference import Inference
    from agent.models.gguf import read_header
    from cli.at_work import SHARE_OF_ROW, AsAtWork, base_of, instructions
    from cli.skill_progress import RunProgress
    from cli.turn import stoppable
    from fl_client.errors import TrainingStopped
    from fl_client.training.example_rows import read_rows
    from fl_client.training.personal import PersonalTraining
    from fl_client.training.plan import Machine
    from fl_client.training.sandboxed import check_installed
    from fl_client.training.trained import as_peft
    from skills.adapters import Adapters

    stop = threading.Event()
    record, header = weights.record, read_header(weights.descriptor)
    base = base_of(header, weights.path.resolve(), record.name, record.sha256)
    base.check()
    check_installed()
    plan = _plan(arguments.kind, arguments.passes)
    try:
        with stoppable(stop.set), RunProgress(console) as progress:

            def told(now: "Progress") -> None:
                progress(now.note or "training", now.done, now.total)

            def reading(done: int, total: int) -> None:
                progress("reading", done, total)

            with Inference(weights, console.settings.inference) as inference:
                encoder = AsAtWork(inference, console.settings.assistant.system)
                skill = instructions(vault, arguments.name, console.say)
                if left_out := encoder.stand_behind(skill, plan.longest.high // SHARE_OF_ROW):
                    console.say(f"[{left_out} too long to be trained with]")
                given = read_rows(vault, arguments.name, encoder, held_out, progress=reading, stop=stop)
            training = PersonalTraining(vault, arguments.name, base, given, Machine.here(), plan=plan)
            learned = training.run(on_progress=told, stop=stop)
    except TrainingStopped:
        console.say("[stopped; run the same again to go on from where the last checkpoint was]")
        return 130
    if arguments.json:
        print(_as_json(learned, weights), flush=True)
    else:
        for line in _told(arguments.name, learned):
            console.say(line)
    if arguments.peft:
        Adapters(vault).export_folder(as_peft(learned.trained), arguments.peft)
        console.say(f"Written to {arguments.peft}, in clear.")
    return 0


def _plan(kind: str, passes: int | None) -> "TrainingPlan":
    from fl_client.training.plan import PERSONAL, PERSONAL_CORE, Range

    plan = PERSONAL_CORE if kind == "core" else PERSONAL
    return msgspec.structs.replace(plan, passes=passes, steps=Range(1, plan.steps.high)) if passes else plan


def _check_peft(folder: Path, console: Console) -> None:
    """Refuse now what couldn't be written after hours of work."""
    from vault.portability.files import check_not_ours

    if os.path.lexists(folder):
        raise UsageError(f"{folder} exists already.", hint="Name another folder, or remove that one.")
    if not os.access(folder.parent, os.W_OK) or not folder.parent.is_dir():
        raise UsageError(f"{folder.parent} is no folder that can be written to.", hint="Name another place.")
    check_not_ours(folder, console.home)


def _held_out(arguments: argparse.Namespace) -> "list[Text]":
    from fl_client.training.example_rows import Text
    from skills.errors import ExampleRefused
    from skills.example_lines import FIELDS, Fields, Reader, numbered_lines
    from vault.portability.files import open_plain

    if arguments.held_out is None:
        if arguments.input_field or arguments.output_field:
            raise UsageError("The fields are those of --held-out FILE, and no such file is named.")
        return []
    path = arguments.held_out
    reader = Reader(
        Fields(tuple(arguments.input_field or FIELDS.input), tuple(arguments.output_field or FIELDS.output))
    )
    name = sanitize_line(path.name, 100)
    try:
        with open_plain(path) as file:
            texts: list[Text] = []
            for number, line in numbered_lines(file, name):
                if len(texts) == _MOST_HELD_OUT:
                    raise ExampleRefused(
                        f"{name} has more than {_MOST_HELD_OUT:,} lines.", hint="Take a part of it to judge by."
                    )
                texts.append(Text(*reader.read(line, f"{name}, line {number}")))
    except OSError as error:
        raise ExampleRefused(f"{path} can't be read: {error.strerror}.") from error
    if not texts:
        raise ExampleRefused(f"There is nothing in {name}.")
    return texts


def _told(skill: str, learned: "Learned") -> list[str]:
    result = learned.result
    speed = result.tokens / max(result.seconds, 1e-3)
    lines = [f"Learned from {counted(learned.rows, 'example')} ({speed:,.0f} tokens/s)."]
    if learned.cut:
        lines.append(f"{counted(learned.cut, 'example')} had to be cut, as too long.")
    before, after = result.judged.before, result.judged.after
    if before is not None and after is not None:
        of = counted(learned.held_out, "example")
        lines.append(
            f"On {of} that it didn't learn from, the loss was {before:.3f} nats a token, and is {after:.3f}."
        )
    if learned.used:
        lines.append(
            f"{skill} uses it from its next answer on. To take it back: claw skill adapters rollback {skill}"
        )
    else:
        lines.append(f"That is no better, so {skill} doesn't use it. More examples, or other ones, may help.")
    return lines


def _as_json(learned: "Learned", weights: "OpenModel") -> str:
    result, recipe = learned.result, learned.trained.recipe
    return msgspec.json.encode(
        {
            "adapter": learned.adapter,
            "used": learned.used,
            "model": {"name": weights.record.name, "sha256": weights.record.sha256},
            "recipe": {
                "kind": recipe.kind,
                "rank": recipe.rank,
                "steps": recipe.steps,
                "rows_a_step": recipe.rows_a_step,
                "longest": recipe.longest,
                "learning_rate": recipe.learning_rate,
                "seed": recipe.seed.hex(),
            },
            "parameters": len(learned.trained.numbers),
            "examples": {"learned_from": learned.rows, "held_out": learned.held_out, "cut": learned.cut},
            "loss": {"before": result.judged.before, "after": result.judged.after, "steps": result.losses},
            "tokens": result.tokens,
            "timings": {"load_s": round(result.load_s, 3), "train_s": round(result.seconds, 3)},
            "precision": result.precision,
            "peak_memory": result.peak_memory,
        }
    ).decode()
