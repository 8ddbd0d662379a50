"""Running the trainer in the sandbox, and looking at what it answers: nothing of that is believed."""

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.msgpack import Decoder

from fl_client.training.factors import Target, count
from fl_client.training.program import answer_of, decoded, finite_numbers, folders_of, job_of, unexpected
from fl_client.training.protocol import CHECKPOINTS, PROTOCOL, Checkpoint, Order, Recipe, Result, Stopped, unframed
from skills.sandbox.job import Job, Limits, Outcome, Progress
from skills.sandbox.run import run
from skills.sandbox.walls import Walls

__all__ = ["check_installed", "checked_checkpoint", "result_of", "train"]

_PACKAGES = ("torch", "transformers", "gguf", "safetensors", "msgspec", "numpy")
_PROCESSORS = Path("/proc/cpuinfo")
"""Torch looks there for what the processor can do, and does without the half of it where it finds nothing."""
_NO_CACHE = "/"
"""Where torch may want to keep what it compiles, of which there is nothing; it insists on a folder."""
_CHECKPOINT_NUMBERS = 3
ADDRESSES = 2 << 30
"""What libraries and threads take of addresses beside memory: without a control group, addresses are counted."""

_ANSWER: Decoder[Result | Stopped] = Decoder(Result | Stopped)
_CHECKPOINT = Decoder(Checkpoint)


def train(
    order: Order,
    targets: Sequence[Target],
    walls: Walls,
    *,
    memory: int,
    wall_s: float,
    on_progress: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    stop: threading.Event | None = None,
) -> Result:
    """Have an order done.

    Args:
        order: What to do.
        targets: The weights that its recipe adapts, in their order, as the model's file has them.
        walls: What to run the trainer behind.
        memory: Bytes that it may take.
        wall_s: Seconds that it may take.
        on_progress: Told how far it is.
        on_checkpoint: Given where it was, now and then; what to resume from.
        stop: Ends it, when set.

    Returns:
        A result of the expected numbers, all of them finite.

    Raises:
        NotTrainable: torch isn't installed, or the trainer says that it can't be done, and why.
        TrainingStopped: `stop` was set.
        TrainingFailed: it ended without a result, or with another than was to be expected.
        SandboxError: it could not be started.
    """
    numbers = count(targets, order.recipe)
    most = 8192 + 64 * (order.recipe.steps + len(targets)) + 4 * _CHECKPOINT_NUMBERS * numbers
    most += sum(4 * order.recipe.rank * (target.inputs + target.outputs) for target in targets)

    def written(name: str, data: bytes) -> None:
        # One that is being written over already is passed over: another is coming.
        if on_checkpoint and name in CHECKPOINTS and (kept := unframed(data)) is not None:
            on_checkpoint(checked_checkpoint(kept, numbers, order.recipe))

    outcome = run(_job(order, most, memory, wall_s), walls, on_progress=on_progress, on_written=written, stop=stop)
    return result_of(outcome, order, targets, memory)


def _job(order: Order, most: int, memory: int, wall_s: float) -> Job:
    threads = str(order.threads)
    return job_of(
        "program",
        order,
        _PACKAGES,
        outputs=CHECKPOINTS,
        readable=(Path(order.base), _PROCESSORS),
        environment={
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            # Threads wait for each other by spinning; beside other busy programs that halves the speed.
            "GOMP_SPINCOUNT": "2000",
            "TORCHINDUCTOR_CACHE_DIR": _NO_CACHE,
        },
        limits=Limits(
            wall_s=wall_s,
            cpu_s=math.ceil(wall_s * (order.threads + 1)),
            memory=memory,
            addresses=ADDRESSES,
            file_bytes=most,
            scratch=0,
            stream=1 << 16,
        ),
    )


def result_of(outcome: Outcome, order: Order, targets: Sequence[Target], memory: int) -> Result:
    """The result of an order, if what came of it is one.

    Args:
        outcome: Of the trainer's job.
        order: What it was to do.
        targets: As for `train`.
        memory: Bytes that it could take.

    Raises:
        NotTrainable, TrainingStopped, TrainingFailed: as `train`.
    """
    result = answer_of(outcome, _ANSWER, memory)
    finite_numbers(result.numbers, count(targets, order.recipe))
    losses = [*result.losses, *(loss for loss in (result.judged.before, result.judged.after) if loss is not None)]
    if (
        result.protocol != PROTOCOL
        or len(result.losses) != order.recipe.steps
        or not all(0 <= loss < math.inf for loss in losses)  # NaN isn't
        or any((loss is None) is bool(order.held_out) for loss in (result.judged.before, result.judged.after))
    ):
        raise unexpected()
    factors = {target.name: target for target in targets} if order.factors and order.recipe.kind == "core" else {}
    if [one.name for one in result.factors] != list(factors):
        raise unexpected()
    for one in result.factors:
        target = factors[one.name]
        finite_numbers(one.down, order.recipe.rank * target.inputs)
        finite_numbers(one.up, order.recipe.rank * target.outputs)
    return result


def check_installed() -> None:
    """See that what the trainer needs is installed.

    Raises:
        NotTrainable: a package isn't.
    """
    folders_of(_PACKAGES)


def checked_checkpoint(data: bytes, numbers: int, recipe: Recipe) -> Checkpoint:
    """A checkpoint that can be gone on from.

    Args:
        data: As the trainer wrote it.
        numbers: How many are trained.
        recipe: That it belongs to.

    Raises:
        TrainingFailed: it isn't one of that.
    """
    kept = decoded(data, _CHECKPOINT)
    if kept is None or not 0 <= kept.step <= recipe.steps or len(kept.losses) != kept.step:
        raise unexpected()
    losses = kept.losses if kept.before is None else (*kept.losses, kept.before)
    if not all(map(math.isfinite, losses)):
        raise unexpected()
    for row in (kept.numbers, kept.mean, kept.square):
        finite_numbers(row, numbers)
    return kept
