"""Running the trainer of heads in the sandbox, and looking at what it answers: nothing of that is believed."""

import math
import threading
from collections.abc import Callable

from msgspec.msgpack import Decoder

from fl_client.training.head_protocol import HeadJudged, HeadOrder, HeadResult
from fl_client.training.program import answer_of, finite_numbers, job_of, unexpected
from fl_client.training.protocol import PROTOCOL, Stopped
from skills.sandbox.job import Limits, Outcome, Progress
from skills.sandbox.run import run
from skills.sandbox.walls import Walls

__all__ = ["head_result_of", "train_head"]

_PACKAGES = ("msgspec", "numpy")
_RUNNING = 320 << 20
"""Bytes that the trainer takes beside its rows: Python, numpy, and the room that its linear algebra reserves."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""More gain nothing with matrices so small, and each would reserve room of its own."""
_DIGITS = 9
"""Bytes of a loss."""

_ANSWER: Decoder[HeadResult | Stopped] = Decoder(HeadResult | Stopped)


def train_head(
    order: HeadOrder,
    walls: Walls,
    *,
    wall_s: float,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> HeadResult:
    """Have a head trained.

    Args:
        order: What to do.
        walls: What to run the trainer behind.
        wall_s: Seconds that it may take.
        on_progress: Told how far it is, in steps.
        stop: Ends it, when set.

    Returns:
        A result of the expected numbers, all of them finite.

    Raises:
        NotTrainable: there is too little memory.
        TrainingStopped: `stop` was set.
        TrainingFailed: it ended without a result, or with another than was to be expected.
        SandboxError: it could not be started.
    """
    numbers = 4 * order.recipe.count(order.dimension)
    memory = _memory(order)
    limits = Limits(
        wall_s=wall_s,
        cpu_s=math.ceil(wall_s) + 1,
        memory=memory,
        file_bytes=4096 + numbers + _DIGITS * order.recipe.steps,
        scratch=0,
        stream=1 << 16,
    )
    job = job_of("head_program", order, _PACKAGES, limits=limits, environment=_ONE_THREAD)
    return head_result_of(run(job, walls, on_progress=on_progress, stop=stop), order, memory)


def head_result_of(outcome: Outcome, order: HeadOrder, memory: int) -> HeadResult:
    """The result of an order, if what came of it is one.

    Args:
        outcome: Of the trainer's job.
        order: What it was to do.
        memory: Bytes that it could take.

    Raises:
        NotTrainable, TrainingStopped, TrainingFailed: as `train_head`.
    """
    result = answer_of(outcome, _ANSWER, memory)
    finite_numbers(result.numbers, order.recipe.count(order.dimension))
    judged = [one for one in (result.before, result.after) if one is not None]
    if (
        result.protocol != PROTOCOL
        or len(result.losses) != order.recipe.steps
        or len(judged) != (2 if order.held_out.rows else 0)
        or not all(map(_possible, judged))
        or not all(0 <= number < math.inf for number in (*result.losses, result.seconds))
    ):
        raise unexpected()
    return result


def _possible(judged: HeadJudged) -> bool:
    return 0 <= judged.loss < math.inf and 0 <= judged.accuracy <= 1


def _memory(order: HeadOrder) -> int:
    """Bytes that it is allowed: what it reads, once as it came and once as it is read, and a few heads."""
    read = sum(len(part.vectors) + len(part.labels) for part in (order.rows, order.held_out)) + len(order.numbers)
    rows = 8 * (order.recipe.rows_a_step + 1024) * (2 * order.dimension + 4 * len(order.recipe.labels))
    return _RUNNING + 3 * read + rows + 8 * 8 * order.recipe.count(order.dimension) + 64 * order.recipe.steps
