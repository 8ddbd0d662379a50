"""A small world to simulate: four subjects whose texts lie around directions of their own."""

from collections.abc import Iterator, Sequence

import numpy as np

from federation.task import Task
from federation.task_file import propose_task
from fl_client.simulation.device import World
from fl_client.simulation.partition import Dirichlet, deal
from fl_client.simulation.pool import Job, Part, work
from fl_client.simulation.seeded import dice, seeded
from fl_client.simulation.share import Share
from fl_client.training.head_frame import head_frame
from fl_client.training.worker.softmax import Rows
from skills.embedding.pins import DIMENSION, WEIGHTS

__all__ = ["JUDGED", "LABELS", "PLAN", "SEED", "Here", "task_of", "world_of"]

LABELS = ("weather", "time", "music", "light")
SEED = bytes(range(32))
PLAN = f"""
name = "intents"
skill = "intent-router"
purpose = "To tell what a <request> wants."
data = "Requests."
model_sha256 = "{WEIGHTS.sha256}"
[training]
kind = "head"
labels = ["weather", "time", "music", "light"]
dimension = 384
learning_rate = 10.0
steps = 2
rows_a_step = 8
penalty = 0.0
biases = false
[privacy]
epsilon = 200.0
delta = 1e-5
participations = 2
[rounds]
cohort = 20
count = 6
most_examples = 1
[combining]
rate = 3.0
"""
_EXAMPLES, _JUDGED = 120, 40
JUDGED = np.arange(_EXAMPLES, _EXAMPLES + _JUDGED)


class Here:
    """Works in this process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.jobs: list[Job] = []

    def parts(self, jobs: Sequence[Job]) -> Iterator[Part]:
        self.jobs += jobs
        return (work(self._world, job) for job in jobs)


def task_of(plan: str = PLAN) -> Task:
    return propose_task(plan, seeded(SEED, "task")).task


def world_of(task: Task, devices: int = 40, seed: bytes = SEED) -> World:
    luck = np.random.default_rng(5)
    labels = np.arange(_EXAMPLES + _JUDGED) % len(LABELS)
    vectors = luck.normal(size=(len(LABELS), DIMENSION))[labels] + 2.0 * luck.normal(size=(len(labels), DIMENSION))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    owned = deal(Dirichlet(0.3), [], labels[:_EXAMPLES].tolist(), devices, dice(seed, "partition"))
    shares = [Share(own[1:], own[:1]) if len(own) > 1 else Share(own, own[:0]) for own in owned]
    rows = Rows(vectors.astype(np.float32), labels.astype(np.uint16))
    return World(task, head_frame(task.training, []), rows, shares, seed)  # type: ignore[arg-type]  # a head's
