"""What runs in the sandbox: reads its order from stdin, trains, and writes what came of it."""

import os
import resource
import sys
import time
from pathlib import Path

import msgspec
import torch

from fl_client.training.protocol import PROTOCOL, Factors, Order, Result, Stopped
from fl_client.training.worker.adapter import Adapter
from fl_client.training.worker.base import Unsuitable, load
from fl_client.training.worker.loop import Training
from fl_client.training.worker.precision import faster
from fl_client.training.worker.reports import Reports

__all__ = ["main"]

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    """Do what stdin says."""
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    if order.protocol != PROTOCOL:
        raise SystemExit("the order is of another version")
    reports = Reports(int(os.environ["CLAW_PROGRESS"]))
    torch.set_num_threads(order.threads)
    try:
        answer: Result | Stopped = _train(order, reports)
    except Unsuitable as error:
        answer = Stopped(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        answer = Stopped("there isn't enough memory", memory=True)
    reports.end(answer)


def _train(order: Order, reports: Reports) -> Result:
    began = time.monotonic()
    reports.tell(0, 0, "loading the model")
    base = load(Path(order.base), order.sha256)
    recipe = order.recipe
    targets = base.targets(recipe.targets)
    if any(recipe.rank > min(target.outputs, target.inputs) for target in targets):
        raise Unsuitable(f"a rank of {recipe.rank} is more than the smallest of its weights has")
    wanted = order.resume.precision if order.resume else order.precision
    precision = _PRECISIONS.get(wanted) or faster(*base.of(0, "ffn_gate").shape)
    adapter = Adapter(recipe, targets, {target.name: base.of(target.layer, target.kind) for target in targets})
    decoder = base.decoder(adapter.downs, precision, recompute=order.recompute)
    loaded = time.monotonic()
    training = Training(order, decoder, adapter, precision, reports.tell, reports.keep)
    judged = training.run()
    return Result(
        numbers=adapter.numbers.detach().numpy().tobytes(),
        judged=judged,
        losses=tuple(training.losses),
        tokens=training.tokens,
        seconds=training.seconds,
        load_s=loaded - began,
        precision="bfloat16" if precision is torch.bfloat16 else "float32",
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        factors=tuple(
            Factors(name, adapter.downs[name].numpy().tobytes(), up.numpy().tobytes())
            for name, up in adapter.frozen_ups.items()
            if order.factors
        ),
    )


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
