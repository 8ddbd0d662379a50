"""`claw-orchestrator task`: what is learned together."""

import argparse
import asyncio
import sys

import msgspec
from sqlalchemy import select

from federation.task import Task
from orchestrator.commands.parts import opened
from orchestrator.errors import NotThere, OrchestratorError
from orchestrator.settings import Home
from orchestrator.tables import tasks
from orchestrator.task_file import Proposed, read_task_file

__all__ = ["run"]

_EXAMPLE = """\
# What people agree to before a device takes part: write it for them.
name = "minutes"
skill = "meeting-summarizer"
purpose = "Better minutes of meetings, for everybody in our group."
data = "Meetings for which you corrected or accepted the minutes. They stay on your device."
# sha256sum of the model's GGUF file; `claw model list --json` shows it too.
model_sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

[training]
kind = "adapter"
# "core" has 15,360 numbers for the embedded model; "ffa" has 184,320: it learns more, and takes more noise.
parameterization = "core"
parameters = 15360
rank = 16
scale = 1.0
learning_rate = 0.01

[privacy]
epsilon = 8.0               # over all participations of a device; smaller is more private
delta = 1e-6
participations = 4
dropout = 0.2               # share of devices that may be lost in a round
corrupt = 0.05              # share of devices that may work with the server

[rounds]
cohort = 100                # devices in a round
count = 20

[combining]
rule = "fedavg"
rate = 1.0
"""


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    if arguments.action == "example":
        print(_EXAMPLE, end="")
        return 0
    home = Home(arguments.folder)
    if arguments.action == "create":
        proposed = read_task_file(arguments.file)
        for line in _told(proposed):
            print(line, file=sys.stderr)
        if not arguments.yes and not _agreed():
            return 1
        asyncio.run(_create(home, proposed.task, promotes=not arguments.by_hand))
        print(f"{proposed.task.name} is open.", file=sys.stderr)
        return 0
    if arguments.action == "list":
        return asyncio.run(_list(home, as_json=arguments.json))
    asyncio.run(_set(home, arguments.name, "paused" if arguments.action == "pause" else "open"))
    return 0


def _told(proposed: Proposed) -> list[str]:
    """What comes of a plan, plainly; what the operator should know comes last, where it is read."""
    task, comes = proposed.task, proposed.forecast
    secagg = task.plan.secagg
    return [
        f"{task.name}: {task.purpose}",
        f"  cohort {secagg.max_cohort} devices, at least {secagg.min_survivors} updates are opened together",
        f"  {secagg.neighbours} neighbours each, {secagg.threshold} of them put a secret together",
        f"  ε = {comes.epsilon:.2f} at δ = {task.plan.delta:g} over {task.plan.participations} participations",
        f"  noise in a round's mean: {comes.noise_to_clip:.2f} times the longest update",
        f"  {comes.upload:,} bytes from each device in a round",
        *(f"  ! {warning}" for warning in comes.warnings),
    ]


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise OrchestratorError("Nobody is there to ask.", hint="--yes opens the task without asking.")
    return input("Open it? [y/N] ").strip().lower() in ("y", "yes")


async def _create(home: Home, task: Task, *, promotes: bool) -> None:
    async with opened(home) as service, service.database.transaction() as connection:
        await service.releases.create(connection, task, promotes=promotes)


async def _list(home: Home, *, as_json: bool) -> int:
    async with opened(home) as service, service.database.transaction() as connection:
        rows = (await connection.execute(select(tasks).order_by(tasks.c.place))).all()
    if as_json:
        keys = ("name", "state", "in_use", "next_round")
        print(msgspec.json.encode([{key: getattr(row, key) for key in keys} for row in rows]).decode())
        return 0
    for row in rows:
        print(f"{row.name:24} {row.state:9} release {row.in_use}, {row.next_round - 1} rounds")
    if not rows:
        print("There is no task yet: claw-orchestrator task example > task.toml", file=sys.stderr)
    return 0


async def _set(home: Home, name: str, state: str) -> None:
    async with opened(home) as service, service.database.transaction() as connection:
        changed = await connection.execute(
            tasks.update().where(tasks.c.name == name, tasks.c.state != "finished").values(state=state)
        )
        if changed.rowcount != 1:
            raise NotThere(f"There is no task {name} that goes on.")
