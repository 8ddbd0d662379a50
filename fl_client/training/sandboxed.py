"""Running the trainer in the sandbox, and looking at what it answers: nothing of that is believed."""

import importlib.util
import json
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from fl_client.errors import NotTrainable, TrainingFailed, TrainingStopped
from fl_client.training.factors import Target, count
from fl_client.training.protocol import CHECKPOINTS, PROTOCOL, RESULT, Checkpoint, Order, Result, Stopped
from skills.sandbox.job import PYTHON, Ended, Job, Limits, Progress
from skills.sandbox.run import run
from skills.sandbox.walls import Walls
from vault.sanitize import sanitize_line

__all__ = ["checked_checkpoint", "train"]

_PACKAGES = ("torch", "transformers", "msgspec", "numpy")
_INSTALL = "pip install 'openclaw-core[train]'"
_PROCESSORS = Path("/proc/cpuinfo")
"""Torch looks there for what the processor can do, and does without the half of it where it finds nothing."""
_NO_CACHE = "/"
"""Where torch may want to keep what it compiles, of which there is nothing; it insists on a folder."""
_START = """
import json, os, sys, tempfile
given = json.load(open("in/given.json"))
sys.path += given["path"]
os.environ |= given["environment"]
tempfile.tempdir = "/"
from fl_client.training.worker.program import main
main()
"""
_CHECKPOINT_NUMBERS = 3
_LARGEST_NUMBER = 1e6
"""What no number of an adapter that is of any use comes near."""

_ANSWER = msgspec.msgpack.Decoder(Result | Stopped)
_CHECKPOINT = msgspec.msgpack.Decoder(Checkpoint)


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
    factors = {target.name: target for target in targets} if order.factors and order.recipe.kind == "core" else {}
    most = 8192 + 64 * (order.recipe.steps + len(targets)) + 4 * _CHECKPOINT_NUMBERS * numbers
    most += sum(4 * order.recipe.rank * (target.inputs + target.outputs) for target in targets)

    def written(name: str, data: bytes) -> None:
        if on_checkpoint and name in CHECKPOINTS:
            on_checkpoint(checked_checkpoint(data, numbers, order))

    outcome = run(_job(order, most, memory, wall_s), walls, on_progress=on_progress, on_written=written, stop=stop)
    if outcome.ended is Ended.STOPPED:
        raise TrainingStopped("The training was stopped.")
    try:
        answer: Result | Stopped = _ANSWER.decode(outcome.outputs.get(RESULT, b""))
    except msgspec.MsgspecError:
        raise _ended_badly(outcome.ended, outcome.stderr, memory) from None
    if isinstance(answer, Stopped):
        if answer.memory:
            raise _needs_more(memory)
        raise NotTrainable(f"It can't be trained: {sanitize_line(answer.reason, 200)}.")
    _check(answer, numbers, factors, order)
    return answer


def _job(order: Order, most: int, memory: int, wall_s: float) -> Job:
    package = Path(__file__).parents[1]
    folders = _folders()
    threads = str(order.threads)
    given = {
        "path": [str(path) for path in (*folders, package.parent)],
        "environment": {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TORCHINDUCTOR_CACHE_DIR": _NO_CACHE,
            "HF_HUB_OFFLINE": "1",
        },
    }
    readable = [*folders, package, Path(order.base), _PROCESSORS]
    return Job(
        (*PYTHON, "in/start.py"),
        {"start.py": _START.encode(), "given.json": json.dumps(given).encode()},
        (RESULT, *CHECKPOINTS),
        msgspec.msgpack.encode(order),
        tuple(path for path in readable if path.exists()),
        Limits(
            wall_s=wall_s,
            cpu_s=math.ceil(wall_s * (order.threads + 1)),
            memory=memory,
            file_bytes=most,
            scratch=0,
            stream=1 << 16,
        ),
    )


def _folders() -> list[Path]:
    """Where the packages lie that the trainer needs.

    Raises:
        NotTrainable: one isn't installed.
    """
    found = []
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise NotTrainable(f"Training needs the package {name}, which isn't installed.", hint=_INSTALL)
        found.append(Path(next(iter(spec.submodule_search_locations))).resolve().parent)
    return list(dict.fromkeys(found))


def _check(result: Result, numbers: int, factors: dict[str, Target], order: Order) -> None:
    """See that a result is what was to be expected.

    Raises:
        TrainingFailed: it isn't.
    """
    _numbers(result.numbers, numbers)
    losses = [*result.losses, *(loss for loss in (result.judged.before, result.judged.after) if loss is not None)]
    if (
        result.protocol != PROTOCOL
        or len(result.losses) != order.recipe.steps
        or not all(map(math.isfinite, losses))
    ):
        raise _unexpected()
    if [one.name for one in result.factors] != list(factors):
        raise _unexpected()
    for one in result.factors:
        target = factors[one.name]
        _numbers(one.down, order.recipe.rank * target.inputs)
        _numbers(one.up, order.recipe.rank * target.outputs)


def checked_checkpoint(data: bytes, numbers: int, order: Order) -> Checkpoint:
    """A checkpoint that can be gone on from.

    Args:
        data: As the trainer wrote it.
        numbers: How many are trained.
        order: That it belongs to.

    Raises:
        TrainingFailed: it isn't one of this order.
    """
    try:
        kept: Checkpoint = _CHECKPOINT.decode(data)
    except msgspec.MsgspecError:
        raise _unexpected() from None
    for row in (kept.numbers, kept.mean, kept.square):
        _numbers(row, numbers)
    losses = kept.losses if kept.before is None else (*kept.losses, kept.before)
    if (
        not 0 < kept.step < order.recipe.steps
        or len(kept.losses) != kept.step
        or not all(map(math.isfinite, losses))
    ):
        raise _unexpected()
    return kept


def _numbers(data: bytes, count: int) -> None:
    if len(data) != 4 * count or not np.all(np.abs(np.frombuffer(data, "<f4")) < _LARGEST_NUMBER):  # NaN isn't
        raise _unexpected()


def _unexpected() -> TrainingFailed:
    return TrainingFailed(
        "The trainer answered something else than an adapter of the expected shape; it is discarded."
    )


def _needs_more(memory: int) -> NotTrainable:
    return NotTrainable(
        f"Training needs more than the {memory >> 20:,} MiB of memory that it may take here.",
        hint="Close other programs, or train a smaller model.",
    )


def _ended_badly(ended: Ended, stderr: bytes, memory: int) -> Exception:
    if ended is Ended.KILLED:
        return _needs_more(memory)
    last = sanitize_line((stderr.decode(errors="replace").strip().splitlines() or [""])[-1], 200)
    if "allocate memory" in last or "MemoryError" in last:
        return _needs_more(memory)
    return TrainingFailed(f"The trainer ended without a result ({ended}{': ' if last else ''}{last}).")
