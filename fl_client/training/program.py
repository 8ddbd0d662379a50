"""A program of ours in the sandbox: how it is started, and what an answer of it has to be before it is looked at.

The programs lie in `fl_client.training.worker`. They read an order on stdin and write an answer, or why there is
none, to the output `RESULT`. Nothing of that is believed.
"""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from msgspec.msgpack import Decoder
from numpy.typing import NDArray

from fl_client.errors import NotTrainable, TrainingFailed, TrainingStopped
from fl_client.training.protocol import RESULT, Stopped
from skills.sandbox.job import PYTHON, Ended, Job, Limits, Outcome
from vault.sanitize import sanitize_line

__all__ = ["LARGEST_NUMBER", "answer_of", "decoded", "finite_numbers", "folders_of", "job_of", "unexpected"]

LARGEST_NUMBER = 1e4
"""What no number of an adapter that is of any use comes near."""

_OUT_OF_MEMORY = ("allocate memory", "MemoryError", "failed to map segment from shared object")
"""In the last words of a program that had too little: of the system, of Python, of whoever loads a library."""
_INSTALL = "pip install 'openclaw-core[train]'"
_START = """
import json, os, sys, tempfile
given = json.load(open("in/given.json"))
sys.path += given["path"]
os.environ |= given["environment"]
tempfile.tempdir = "/"
from fl_client.training.worker.{module} import main
main()
"""

Kind = TypeVar("Kind")


def job_of(
    module: str,
    order: msgspec.Struct,
    packages: Sequence[str],
    *,
    limits: Limits,
    outputs: Sequence[str] = (),
    readable: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
) -> Job:
    """The job of one of `fl_client.training.worker`'s programs.

    Args:
        module: Of the program; its `main` is called.
        order: What it reads on stdin.
        packages: That it needs, not ours.
        limits: How much it may take.
        outputs: That it writes, beside its answer.
        readable: Files that it may read, beside its own and its packages'; those of them that are there.
        environment: Of the program.

    Raises:
        NotTrainable: a package isn't installed.
    """
    ours, folders = Path(__file__).parents[1], folders_of(packages)
    given = {"path": [str(path) for path in (*folders, ours.parent)], "environment": dict(environment or {})}
    return Job(
        (*PYTHON, "in/start.py"),
        {"start.py": _START.format(module=module).encode(), "given.json": json.dumps(given).encode()},
        (RESULT, *outputs),
        msgspec.msgpack.encode(order),
        tuple(path for path in (*folders, ours, *readable) if path.exists()),
        limits,
    )


def answer_of(outcome: Outcome, decoder: Decoder[Kind | Stopped], memory: int) -> Kind:
    """A program's answer, if it gave one.

    Args:
        outcome: What came of its job.
        decoder: Reads answers.
        memory: Bytes that it could take.

    Raises:
        NotTrainable: it says that it can't be done, and why.
        TrainingStopped: it was stopped.
        TrainingFailed: it ended without an answer.
    """
    if outcome.ended is Ended.STOPPED:
        raise TrainingStopped("The training was stopped.")
    answer = decoded(outcome.outputs.get(RESULT, b""), decoder)
    if answer is None:
        raise _ended_badly(outcome, memory)
    if isinstance(answer, Stopped):
        if answer.memory:
            raise _needs_more(memory)
        raise NotTrainable(f"It can't be trained: {sanitize_line(answer.reason, 200)}.")
    return answer


def decoded(data: bytes, decoder: Decoder[Kind]) -> Kind | None:
    """What bytes say, if they are what a decoder reads."""
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def finite_numbers(data: bytes, count: int) -> NDArray[np.float32]:
    """So many numbers of an adapter.

    Args:
        data: Little-endian float32.
        count: How many there have to be.

    Returns:
        Shape (count,), not to be written.

    Raises:
        TrainingFailed: there are others, or one isn't finite, or is far too large.
    """
    if len(data) != 4 * count:
        raise unexpected()
    numbers: NDArray[np.float32] = np.frombuffer(data, "<f4")
    if not np.all(np.abs(numbers) < LARGEST_NUMBER):  # NaN isn't
        raise unexpected()
    return numbers


def unexpected() -> TrainingFailed:
    """The error for an answer that isn't what was to be expected."""
    return TrainingFailed(
        "The trainer answered something else than an adapter of the expected shape; it is discarded."
    )


def folders_of(packages: Sequence[str]) -> list[Path]:
    """Where some packages lie.

    Raises:
        NotTrainable: one isn't installed.
    """
    found = []
    for name in packages:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise NotTrainable(f"Training needs the package {name}, which isn't installed.", hint=_INSTALL)
        found.append(Path(next(iter(spec.submodule_search_locations))).resolve().parent)
    return list(dict.fromkeys(found))


def _needs_more(memory: int) -> NotTrainable:
    return NotTrainable(
        f"Training needs more than the {memory >> 20:,} MiB of memory that it may take here.",
        hint="Close other programs, or train a smaller model.",
    )


def _ended_badly(outcome: Outcome, memory: int) -> Exception:
    if outcome.ended is Ended.KILLED:
        return TrainingFailed(
            "The trainer was killed; there may have been too little memory.",
            hint="Run the same again to go on, with other programs closed.",
        )
    last = sanitize_line((outcome.stderr.decode(errors="replace").strip().splitlines() or [""])[-1], 200)
    if any(sign in last for sign in _OUT_OF_MEMORY):
        return _needs_more(memory)
    return TrainingFailed(f"The trainer ended without a result ({outcome.ended}{': ' if last else ''}{last}).")
