"""A whole simulation: from a plan and a file of examples to a report."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from federation.errors import FederationError
from federation.task import HeadTraining, Task
from federation.task_file import Proposed, propose_task
from fl_client.errors import SimulationRefused, TrainingStopped
from fl_client.simulation.adapter_device import AdapterWorld
from fl_client.simulation.device import World
from fl_client.simulation.examples import Labelled
from fl_client.simulation.partition import ByField, Dirichlet, Owned, deal
from fl_client.simulation.pool import Pool, one_by_one
from fl_client.simulation.report import Report
from fl_client.simulation.run import Chances, RoundEnded, rounds
from fl_client.simulation.seeded import dice, seeded
from fl_client.simulation.share import Share, Simulated
from fl_client.training.base_model import BaseModel
from fl_client.training.example_rows import Encoder, Text, encoded
from fl_client.training.head import rows_of
from fl_client.training.head_frame import head_frame, names_of
from fl_client.training.of_task import head_recipe
from fl_client.training.plan import Machine
from fl_client.training.worker.softmax import Rows
from skills.embedding.pins import DIMENSION, WEIGHTS
from skills.sandbox.walls import Walls

__all__ = ["Setting", "Task", "read_plan", "seed_of", "simulate_adapter", "simulate_head", "trains_head"]

Embed = Callable[[Sequence[str]], list[bytes]]
OpenPool = Callable[[World], AbstractContextManager[Pool]]


class Setting(NamedTuple):
    """Who learns, and by what chance.

    Attributes:
        devices: How many.
        partition: How examples are dealt to them.
        held_out: Share of the examples that devices keep to judge by.
        rounds: That are done at most.
        chances: What happens to them.
        seed: 32 bytes.
    """

    devices: int
    partition: ByField | Dirichlet
    held_out: float
    rounds: int
    chances: Chances
    seed: bytes


def seed_of(text: str) -> bytes:
    """The seed that a text stands for; 32 bytes."""
    return hashlib.sha256(f"openclaw-core simulation\0{text}".encode()).digest()


def read_plan(path: Path, seed: bytes) -> Proposed:
    """The task that a plan's file describes, as `claw-orchestrator task create` reads it, with seeds of one's own.

    Raises:
        SimulationRefused: it can't be read, is no task, no plan gives what it asks for, or it is about another
            embedder than this one's.
    """
    try:
        proposed = propose_task(path.read_text(), seeded(seed, "task"))
    except OSError as error:
        raise SimulationRefused(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeError:
        raise SimulationRefused(f"{path} is no text.") from None
    except FederationError as error:
        raise SimulationRefused(
            f"{path}: {error.message}", hint="`claw-orchestrator task example` prints a task."
        ) from None
    task = proposed.task
    if isinstance(task.training, HeadTraining) and task.model.hex() != WEIGHTS.sha256:
        raise SimulationRefused(
            f"{task.name} is about another embedder than this one's.", hint=f'model_sha256 = "{WEIGHTS.sha256}"'
        )
    return proposed


def trains_head(task: Task) -> bool:
    """Whether a task is for `simulate_head`; else it is for `simulate_adapter`."""
    return isinstance(task.training, HeadTraining)


def simulate_head(
    task: Task,
    examples: Labelled,
    setting: Setting,
    embed: Embed,
    open_pool: OpenPool,
    *,
    told: Callable[[RoundEnded], None],
    stop: threading.Event,
) -> Report:
    """Go through the rounds of a classifier's task with devices made of some examples.

    Args:
        task: As `read_plan` gives it.
        examples: All of them.
        setting: Who learns.
        embed: Makes vectors of texts.
        open_pool: Who works.
        told: Told of each round.
        stop: Ends it, when set; what was done until then is reported.

    Raises:
        SimulationRefused: there are too few examples or devices.
        NotTrainable: an example has a label that the task doesn't know.
    """
    if not isinstance(task.training, HeadTraining):
        raise SimulationRefused(f"{task.name} trains no classifier.")
    recipe = head_recipe(task.training, bytes(32))
    known = rows_of(recipe, [bytes(4 * DIMENSION)] * len(examples.labels), examples.labels)
    labels = np.frombuffer(known.labels, "<u2")
    shares = _shares(setting, examples.groups, labels.tolist())
    vectors = np.frombuffer(b"".join(embed(examples.texts)), "<f4").reshape(-1, DIMENSION)
    frame = head_frame(task.training, embed(names_of(task.training)))
    world = World(task, frame, Rows(vectors, labels), shares, setting.seed)
    return _simulated(world, setting, lambda: open_pool(world), told, stop)


def simulate_adapter(
    task: Task,
    examples: Labelled,
    setting: Setting,
    base: BaseModel,
    encoder: Encoder,
    walls: Walls,
    machine: Machine,
    *,
    told: Callable[[RoundEnded], None],
    stop: threading.Event,
) -> Report:
    """Go through the rounds of an adapter's task: one training after the other, each in the sandbox.

    Args:
        task: As `read_plan` gives it.
        examples: All of them; the labels are what should come out.
        setting: Who learns; devices are made by a field.
        base: The model that the task is for.
        encoder: Makes tokens for it.
        walls: What to train behind.
        machine: What training may take.
        told: Told of each round.
        stop: Ends it, when set; what was done until then is reported.

    Raises:
        SimulationRefused: there are too few examples or devices, or they have no labels to be dealt by.
        NotTrainable: the task isn't for this model, or there is too little memory.
    """
    if not isinstance(setting.partition, ByField):
        raise SimulationRefused(
            "What an adapter learns from has no labels that mixtures could be made of.",
            hint="Say by=FIELD, with a field of the data: by=meeting.",
        )
    shares = _shares(setting, examples.groups, [])
    rows = [
        encoded(encoder, Text(given, wanted)) for given, wanted in zip(examples.texts, examples.labels, strict=True)
    ]
    world = AdapterWorld(task, base, rows, shares, setting.seed, walls, machine, stop)
    return _simulated(world, setting, lambda: one_by_one(world), told, stop)


def _simulated(
    world: Simulated,
    setting: Setting,
    open_pool: Callable[[], AbstractContextManager[Pool]],
    told: Callable[[RoundEnded], None],
    stop: threading.Event,
) -> Report:
    judged = np.concatenate([share.held_out for share in world.shares])
    nothing = bytes(4 * world.task.plan.privacy.parameters)
    before, done, stopped, gains = world.judge(nothing, judged), list[RoundEnded](), False, np.empty(0)
    try:
        with open_pool() as pool:
            for one in rounds(world, judged, setting.chances, pool, stop):
                done.append(one)
                told(one)
                if one.number == setting.rounds:
                    break
        gains = world.gains(done[-1].release if done else nothing)
    except TrainingStopped:
        stopped = True
    sizes = [len(share.learned_from) for share in world.shares]
    facts = {
        "devices": f"{len(sizes):,}, of {min(sizes)} to {max(sizes)} examples, {np.mean(sizes):.1f} on average",
        "examples": f"{sum(sizes):,} learned from, {judged.size:,} held out",
        "partition": _in_words(setting.partition),
        "lost before they send": f"{setting.chances.lost:.0%} of each cohort",
        "privacy": "as the plan says" if setting.chances.private else "none: no clip, no noise",
    }
    return Report(world.task, facts, before, tuple(done), gains, stopped)


def _shares(setting: Setting, groups: Sequence[str], labels: Sequence[int]) -> list[Share]:
    luck = dice(setting.seed, "held out")
    owned = deal(setting.partition, groups, labels, setting.devices, dice(setting.seed, "partition"))
    shares = [_share(own, setting.held_out, luck) for own in owned]
    if not any(len(share.held_out) for share in shares):
        raise SimulationRefused(
            "No device has so many examples that it could hold one out to judge by.",
            hint="Name fewer devices, or a larger --held-out.",
        )
    return shares


def _share(owned: Owned, held_out: float, luck: np.random.Generator) -> Share:
    """Of n examples n times the share is held out, rounded up or down by chance; one at least is learned from."""
    count = min(int(len(owned) * held_out + luck.random()), len(owned) - 1)
    mixed = luck.permutation(owned)
    return Share(np.sort(mixed[count:]), np.sort(mixed[:count]))


def _in_words(partition: ByField | Dirichlet) -> str:
    if isinstance(partition, ByField):
        return f"each device has examples of one {partition.field}, or several whole ones"
    return f"each device has a mixture of labels drawn from Dirichlet({partition.alpha:g})"
