"""What runs in the sandbox to train a head: reads its order from stdin, trains, and writes what came of it."""

import os
import sys
import time
from collections.abc import Callable

import msgspec
import numpy as np

from fl_client.training.head_protocol import HeadJudged, HeadOrder, HeadResult, Labelled
from fl_client.training.protocol import PROTOCOL, Stopped
from fl_client.training.worker.reports import Reports
from fl_client.training.worker.softmax import Rows, Softmax
from fl_client.training.worker.turns import order as turns

__all__ = ["main", "train"]


def main() -> None:
    """Do what stdin says."""
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=HeadOrder)
    if order.protocol != PROTOCOL:
        raise SystemExit("the order is of another version")
    reports = Reports(int(os.environ["CLAW_PROGRESS"]))
    try:
        answer: HeadResult | Stopped = train(order, reports.tell)
    except MemoryError:
        answer = Stopped("there isn't enough memory", memory=True)
    reports.end(answer)


def train(order: HeadOrder, tell: Callable[[int, int, str], None]) -> HeadResult:
    """Train, and judge before and after.

    Args:
        order: What to do.
        tell: Told how far it is: steps that are done, of how many, and how it goes.
    """
    recipe = order.recipe
    rows, held_out = _read(order.rows, order.dimension), _read(order.held_out, order.dimension)
    shape = len(recipe.labels), order.dimension + recipe.biases
    begun = np.frombuffer(order.numbers, "<f4").reshape(shape) if order.numbers else np.zeros(shape, np.float32)
    head = Softmax(begun, recipe.penalty)
    before = _judged(head, held_out)
    losses: list[float] = []
    began = time.monotonic()
    for number, chosen in enumerate(turns(len(rows.labels), recipe.steps, recipe.rows_a_step, recipe.seed)):
        tell(number, recipe.steps, f"loss {losses[-1]:.2f}" if losses else "training")
        losses.append(head.step(rows.of(chosen), recipe.learning_rate * (1 - number / recipe.steps)))
    seconds = time.monotonic() - began
    return HeadResult(
        numbers=head.numbers.astype("<f4").tobytes(),
        before=before,
        after=_judged(head, held_out),
        losses=tuple(losses),
        seconds=seconds,
    )


def _read(rows: Labelled, dimension: int) -> Rows:
    return Rows(np.frombuffer(rows.vectors, "<f4").reshape(-1, dimension), np.frombuffer(rows.labels, "<u2"))


def _judged(head: Softmax, held_out: Rows) -> HeadJudged | None:
    return HeadJudged(*head.judge(held_out)) if len(held_out.labels) else None
