"""Tools that run a program behind the sandbox's walls: a script of a skill, or Python text.

Nothing of the person's goes in but what the call names, and nothing comes out but what the program says. It has no
network, no environment and no files of its own after it ended.
"""

import json
import time
from collections.abc import Callable
from typing import Annotated

import msgspec

from skills.errors import ToolFailed
from skills.library import Skill
from skills.sandbox.job import PYTHON, Ended, Job, Outcome, Progress
from skills.sandbox.run import run
from skills.sandbox.walls import Walls
from skills.tools.activation import Activation
from skills.tools.tool import Arguments, Effect, Plan, Resource, Running, Tool, digest_of
from vault.classes import DataClass
from vault.sanitize import sanitize, sanitize_line, without_unseen

__all__ = ["RUN_SCRIPT", "python_tool", "script_tool"]

RUN_SCRIPT = "skill.run"
"""What rules call it."""

_MOST_SAID = 8_000
_LONGEST_PROGRAM = 10_000
_MOST_LINES = 150
"""As many as a person looks through before they agree."""
_STARTER = """\
import json, os, runpy, sys

with open("in/call.json", encoding="utf-8") as file:
    sys.argv = json.load(file)
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Starts a script with arguments that stand in no list of processes."""
_MOST_ARGUMENTS = 50


class RunPython(Arguments, frozen=True):
    """The program."""

    program: Annotated[str, msgspec.Meta(min_length=1, description="Python 3, standard library; print the result")]


class RunScript(Arguments, frozen=True):
    """Which script of the skill, and what with."""

    script: Annotated[str, msgspec.Meta(description="the script's name, such as scripts/count.py")]
    arguments: Annotated[
        tuple[str, ...], msgspec.Meta(max_length=_MOST_ARGUMENTS, description="its arguments")
    ] = ()
    stdin: Annotated[str, msgspec.Meta(description="what it reads on its standard input")] = ""


def python_tool(walls: Callable[[], Walls]) -> Tool[RunPython]:
    """The tool that runs Python text.

    Args:
        walls: Gives the walls to run behind, or raises `NoSandbox`.
    """

    def plan(given: RunPython, _resources: object) -> Plan:
        program = given.program
        if len(program) > _LONGEST_PROGRAM or program.count("\n") >= _MOST_LINES:
            raise ToolFailed(f"A program may have {_MOST_LINES} lines and {_LONGEST_PROGRAM:,} characters.")
        if without_unseen(program) != program:
            raise ToolFailed("The program holds control or invisible characters; it isn't run.")
        job = Job((*PYTHON, "in/program.py"), {"program.py": program.encode()})
        return Plan(
            f"run a Python program of {program.count(chr(10)) + 1} lines in the sandbox",
            lambda running: _run(job, walls(), running),
            details=program,
            basis=digest_of(program),
            dangerous=True,
        )

    return Tool(
        "run_python",
        "python.run",
        "Run a Python program, without network and files.",
        RunPython,
        Effect.RUN,
        DataClass.MEDIUM,
        plan,
        foreign=True,
    )


def script_tool(activation: Activation, walls: Callable[[], Walls]) -> Tool[RunScript]:
    """The tool that runs a script of the skill in use, which the person agreed to.

    Args:
        activation: Says which skill that is.
        walls: As for `python_tool`.
    """

    def plan(given: RunScript, _resources: object) -> Plan:
        skill = activation.current()
        scripts, name = _scripts(skill), skill.file.name
        if given.script not in scripts:
            there = f"it has: {', '.join(scripts)}" if scripts else "it has none"
            raise ToolFailed(f"The skill has no script {sanitize_line(given.script, 80)!r}; {there}.")
        if any(sanitize_line(word, 10_000) != word for word in given.arguments):
            raise ToolFailed("The arguments hold control or invisible characters.")
        call = [f"in/{name}/{given.script}", *given.arguments]
        inputs = {f"{name}/{file}": data for file, data in skill.files.items()}
        inputs |= {"call.json": json.dumps(call).encode(), "start.py": _STARTER.encode()}
        job = Job((*PYTHON, "in/start.py"), inputs, stdin=given.stdin.encode("utf-8", "replace"))
        job.check()
        said = [f"arguments: {' '.join(map(repr, given.arguments))}"] if given.arguments else []
        said += [f"standard input:\n{sanitize(given.stdin)}"] if given.stdin else []
        return Plan(
            f"run {given.script} of the skill {name} in the sandbox",
            lambda running: _run(job, walls(), running),
            details="\n".join(said),
            basis=digest_of(skill.record.digest),
        )

    return Tool(
        "run_script",
        RUN_SCRIPT,
        "Run a script of the skill that is in use.",
        RunScript,
        Effect.RUN,
        DataClass.MEDIUM,
        plan,
        lambda given: (Resource("skill", f"{activation.name}/{given.script}"),),
        foreign=True,
    )


def _scripts(skill: Skill) -> list[str]:
    return sorted(file for file in skill.files if file.startswith("scripts/") and file.endswith(".py"))


def _run(job: Job, walls: Walls, running: Running) -> str:
    def tell(progress: Progress) -> None:
        share = f"{progress.done} of {progress.total} " if progress.total else ""
        running.progress(f"{share}{progress.note}".strip())

    begun = time.monotonic()
    outcome = run(job, walls, on_progress=tell, stop=running.stop)
    if outcome.ended is not Ended.EXITED:
        raise ToolFailed(
            f"The program {_why(outcome)} after {time.monotonic() - begun:.1f} s.{_said(outcome.stdout)}"
        )
    if outcome.status:
        raise ToolFailed(f"The program ended with status {outcome.status}.{_said(outcome.stderr)}")
    return _said(outcome.stdout).strip() or "The program said nothing."


def _why(outcome: Outcome) -> str:
    return "was stopped" if outcome.ended is Ended.STOPPED else str(outcome.ended)


def _said(data: bytes) -> str:
    text = sanitize(data.decode("utf-8", "replace")).strip()
    if len(text) > _MOST_SAID:
        text = f"{text[:_MOST_SAID]}\n… and {len(text) - _MOST_SAID:,} more characters"
    return f"\n{text}" if text else ""
