"""`claw skill run`: let a skill work on files that are named here, and print what it made of them."""

import argparse
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cli.collecting import offer_to_keep
from cli.console import Console, counted
from cli.errors import UsageError

if TYPE_CHECKING:
    from cli.desk import Desk
    from skills.bundled.reading import Read
    from skills.bundled.task import Outcome, Task
    from skills.runs import Run

__all__ = ["configure", "run"]

_EXAMPLES = """\
examples:
  claw skill run meeting-summarizer -f meeting.txt
  claw skill run meeting-summarizer -f meeting.txt "Who orders the printer?"
  claw skill run document-qa -f notes/ -f contract.txt "When does it end?" --json
  claw skill run word-count --script scripts/count.py < text.txt
  claw skill run intent-router "Make minutes of the meeting"
Minutes and answers that are stopped (Ctrl-C) or killed go on where they were
when you run the same again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the action's arguments."""
    parser.add_argument("name", metavar="NAME", help="a skill, as `claw skill list` shows it")
    # With nargs="?", argparse takes a question for missing that comes after an option (python/cpython#53584).
    question = parser.add_argument("question", default="", metavar="[QUESTION]", help="what to ask it")
    question.required = False
    parser.add_argument(
        "-f",
        "--file",
        metavar="FILE",
        action="append",
        default=[],
        help="a text file (- for stdin), or a folder of them; repeatable",
    )
    parser.add_argument("-m", "--model", metavar="MODEL", help="let it ask this model")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the Markdown there, and FILE.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of Markdown")
    parser.add_argument(
        "--forget", action="store_true", help="remove what is kept of its unfinished runs, and run nothing"
    )
    parser.add_argument("--script", metavar="SCRIPT", help="of a skill you imported: run it on stdin")
    parser.add_argument(
        "--argument", metavar="WORD", action="append", default=[], help="for the script; repeatable"
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the skill, print what it made, return the exit code."""
    from skills import bundled

    name = str(arguments.name)
    if name == bundled.ROUTER:
        from cli.skill_route import route

        return route(arguments, console)
    if not bundled.is_bundled(name):
        from cli import skill_imported

        return (skill_imported.run_script if arguments.script else skill_imported.follow)(arguments, console)
    if arguments.script:
        raise UsageError(f"{name} has no scripts.", hint=f"claw skill run {name} -f FILE")
    if arguments.forget:
        return _forget(name, console)
    # What can be refused is refused before the vault is opened and a model loaded.
    read = _read(arguments)
    outputs = _outputs(arguments.output)
    from cli.desk import Desk
    from skills.bundled.task import Task

    task = Task(read.sources, _sanitized(arguments.question), read.notices)
    for notice in task.notices:
        console.say(f"[{notice}]")
    with Desk(console, arguments.model) as desk:
        return _run_bundled(name, task, read, desk, arguments, outputs)


def _sanitized(question: str) -> str:
    from vault.sanitize import sanitize

    return " ".join(sanitize(question).split())


def _forget(name: str, console: Console) -> int:
    from skills.runs import forget_runs

    with console.open_vault() as vault:
        count, left = forget_runs(vault, name)
    console.say(f"{counted(count, 'unfinished run')} of {name} removed.")
    if left:
        console.say(left)
    return 0


def _read(arguments: argparse.Namespace) -> "Read":
    from skills.bundled.reading import read_sources, read_stream

    if not arguments.file:
        raise UsageError("No file was named.", hint=f"claw skill run {arguments.name} -f FILE")
    if "-" in arguments.file:
        if len(arguments.file) > 1:
            raise UsageError(
                "Standard input can't be read beside other files.", hint="Name files only, or -f - alone."
            )
        return read_stream(sys.stdin.buffer, "stdin")
    return read_sources([Path(name) for name in arguments.file])


def _outputs(markdown: Path | None) -> tuple[Path, Path] | None:
    """The two files to write; refused where something lies there, before hours of work."""
    if markdown is None:
        return None
    both = markdown, markdown.with_name(markdown.name + ".json")
    for path in both:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists already.", hint="Name another file, or remove that one.")
    return both


def _run_bundled(
    name: str,
    task: "Task",
    read: "Read",
    desk: "Desk",
    arguments: argparse.Namespace,
    outputs: tuple[Path, Path] | None,
) -> int:
    from agent.errors import WorkerDied
    from agent.skill_model import SkillModel
    from cli.skill_progress import RunProgress
    from cli.turn import stoppable
    from skills import bundled
    from skills.errors import RunStopped
    from skills.examples import Examples
    from skills.library import Library
    from skills.runs import Run
    from vault.database import UNLOCK
    from vault.errors import Locked

    console, vault, inference = desk.console, desk.vault, desk.inference
    assert vault is not None
    assert inference is not None
    skill = Library(vault).use(name)
    stop = threading.Event()

    def cancel() -> None:
        stop.set()
        inference.cancel()

    began = time.monotonic()
    model = SkillModel(inference, desk.model, desk.adapters.of(name))
    work = Run(vault, name, skill.record.digest, task, model, stop)
    if work.resumed:
        console.say(
            f"Going on where it was stopped: {counted(work.known, 'answer')} of the model known from before."
        )
    with RunProgress(console) as progress, stoppable(cancel):

        def told(doing: str, done: int, total: int) -> None:
            before = work.usage.kept
            progress(doing, done, total)
            if before == work.usage.asked:  # nothing but known answers so far
                progress.knew()

        try:
            outcome = bundled.runner(name)(task, work, told)
        except (RunStopped, WorkerDied) as error:
            if desk.locked:
                raise Locked(desk.locked, hint=UNLOCK) from None
            if isinstance(error, WorkerDied) and not stop.is_set():
                raise
            work.interrupt(len(task.sources), read.size)
            return _stopped(work, console)
    work.finish(len(task.sources), read.size)
    as_json = _as_json(name, outcome, work, desk, task, time.monotonic() - began)
    if outputs:
        _write(outputs, outcome.markdown, as_json, console)
    if arguments.json:
        print(as_json)
    elif not outputs:
        print(outcome.markdown, end="", flush=True)
    if not arguments.json:
        given = "\n\n".join([*(source.text for source in task.sources), task.question]).strip()
        source = task.sources[0].name if len(task.sources) == 1 else ""
        examples = Examples(vault, console.settings.skills)
        offer_to_keep(console, examples, name, given, outcome.markdown, source=source)
    return 0


def _stopped(work: "Run", console: Console) -> int:
    if work.known:
        console.say(f"[stopped; {counted(work.known, 'answer')} kept, sealed: run the same again to go on]")
    else:
        console.say("[stopped; nothing was done yet]")
    return 130


def _as_json(name: str, outcome: "Outcome", work: "Run", desk: "Desk", task: "Task", seconds: float) -> str:
    usage = work.usage
    assert desk.inference is not None
    return msgspec.json.encode(
        {
            "skill": name,
            "result": outcome.result,
            "markdown": outcome.markdown,
            "model": {"name": work.name, "sha256": work.sha256, "adapter": work.adapter_sha256},
            "usage": {
                "questions": usage.asked,
                "kept": usage.kept,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
            },
            "timings": {"load_s": round(desk.inference.ready().load_s, 4), "run_s": round(seconds, 4)},
            "resumed": work.resumed,
            "input_sha256": work.input_digest,
            "notices": list(task.notices),
        }
    ).decode()


def _write(outputs: tuple[Path, Path], markdown: str, as_json: str, console: Console) -> None:
    for path, text in zip(outputs, (markdown, as_json + "\n"), strict=True):
        # Nobody else's to read, and no file that has appeared there meanwhile is written over.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
    console.say(f"Written to {outputs[0]} and {outputs[1]}, in clear.")
