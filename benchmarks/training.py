"""Training a personal adapter: ours, in its sandbox, beside peft with the Hugging Face `Trainer`.

One run, the same rows of real meetings, the same numbers trained by as many steps of the same optimizer. Tokens are
those of the rows: padding isn't counted. Both are judged on the same held-out rows, outside the time that is
measured. peft's own habit, to train the factor A too, is a run of its own: it can't be summed over devices.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent.inference import Inference
from agent.models.embedded import EMBEDDED, embedded_file
from agent.models.gguf import read_header
from agent.worker.protocol import ChatMessage
from benchmarks.harness import Bench
from cli.at_work import base_of
from fl_client.training.base_model import BaseModel
from fl_client.training.plan import PERSONAL, PERSONAL_CORE, Machine, Range, TrainingPlan, fit
from fl_client.training.protocol import Order, Result, Row
from fl_client.training.sandboxed import train
from fl_client.training.worker.packing import cut
from skills.sandbox.tiers import best
from vault.settings import InferenceSettings

__all__ = ["main"]

_DATA = Path(__file__).parents[2] / "shared" / "data" / "meetings"
_PEER = "benchmarks.hf_trainer"
_SYSTEM = "You are a helpful assistant. Answer briefly and truthfully."
_SEED = b"benchmark".ljust(32)


def main() -> int:
    """Measure both, and compare."""
    bench = Bench("training")
    if not _DATA.is_dir():
        bench.note("meetings", "missing: ../shared/data/meetings, which isn't part of the repository")
        return bench.finish()
    rows, held_out, longest = (16, 4, 512) if bench.quick else (80, 20, 1024)
    plan = msgspec.structs.replace(PERSONAL, longest=Range(256, longest), passes=1, steps=Range(1, 1000))
    given = {"train": rows, "val": held_out}
    with open(embedded_file(), "rb") as weights:
        base = _base(weights.fileno())
        texts = {split: _rows(weights.fileno(), split, count, longest) for split, count in given.items()}
    machine = Machine.here()
    bench.say(f"{rows} rows, {sum(len(row.tokens) // 4 for row in texts['train']):,} tokens, ours")
    ours = _ours(plan, base, texts, machine)
    bench.say("the peer, the same numbers")
    peer = _peer(plan, base, texts, machine, ours, frozen=True)
    _compare(bench, ours, peer)
    if not bench.quick:
        bench.say("the peer, both factors")
        both = _peer(plan, base, texts, machine, ours, frozen=False)
        bench.note("peft, A trained too", f"{both['tokens'] / both['seconds']:,.0f} tokens/s")
        bench.figure("after_both", "peft, A trained too: held-out loss", both["after"], "nats a token")
        bench.say("ours, core")
        core = msgspec.structs.replace(PERSONAL_CORE, longest=plan.longest, passes=1, steps=plan.steps)
        of_core = _ours(core, base, texts, machine)
        bench.figure("core_after", "core of rank 16 (15,360 numbers): held-out loss", of_core.judged.after or 0.0)
    return bench.finish()


def _compare(bench: Bench, ours: Result, peer: dict[str, Any]) -> None:
    speed, theirs = ours.tokens / ours.seconds, peer["tokens"] / peer["seconds"]
    after, before = ours.judged.after or 0.0, ours.judged.before or 0.0
    bench.note("ours", f"{speed:,.0f} tokens/s, {ours.peak_memory >> 20:,} MiB, {ours.precision}")
    bench.note("peft and Trainer", f"{theirs:,.0f} tokens/s, {peer['peak_memory'] >> 20:,} MiB, float32")
    bench.figure("speed", "tokens/s, ours / peer", speed / theirs, "x", (">=", 1.7))
    bench.figure("memory", "peak memory, ours / peer", ours.peak_memory / peer["peak_memory"], "x", ("<=", 0.45))
    bench.figure("before", "held-out loss of the base", before, "nats a token")
    bench.figure("after", "held-out loss, ours", after, "nats a token")
    bench.figure("after_peer", "held-out loss, peer", peer["after"], "nats a token")
    bench.figure("worse", "ours is worse than the peer's by", 100 * (after / peer["after"] - 1), "%", ("<=", 1.0))
    bench.figure("loading", "loading torch, transformers and the weights", ours.load_s, "s")


def _ours(plan: TrainingPlan, base: BaseModel, texts: dict[str, list[Row]], machine: Machine) -> Result:
    fitted = fit(plan, base, [len(row.tokens) // 4 for row in texts["train"]], machine, _SEED)
    order = Order(
        base=str(base.path),
        sha256=base.sha256,
        recipe=fitted.recipe,
        rows=texts["train"],
        held_out=texts["val"],
        threads=machine.threads,
        tokens_at_once=fitted.tokens_at_once,
        recompute=fitted.recompute,
    )
    targets = base.targets(fitted.recipe.targets)
    return train(order, targets, best(), memory=machine.memory, wall_s=4 * 3600.0)


def _peer(
    plan: TrainingPlan,
    base: BaseModel,
    texts: dict[str, list[Row]],
    machine: Machine,
    ours: Result,
    *,
    frozen: bool,
) -> dict[str, Any]:
    rows = {
        split: [{"tokens": np.frombuffer(row.tokens, "<i4").tolist(), "answer": row.answer} for row in of_split]
        for split, of_split in texts.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "base": str(base.path),
            "threads": machine.threads,
            "rank": plan.rank[0],
            "alpha": plan.scale * plan.rank[0],
            "frozen_a": frozen,
            "steps": len(ours.losses),
            "learning_rate": plan.learning_rate,
            "rows": rows["train"],
            "held_out": rows["val"],
            "folder": folder,
        }
        done = subprocess.run(
            [sys.executable, "-m", _PEER],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "OMP_NUM_THREADS": str(machine.threads)},
        )
    if done.returncode:
        raise SystemExit(f"The peer failed: {done.stderr[-1000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _base(descriptor: int) -> BaseModel:
    return base_of(read_header(descriptor), embedded_file().resolve(), EMBEDDED.name, EMBEDDED.sha256)


def _rows(descriptor: int, split: str, count: int, longest: int) -> list[Row]:
    """The first rows of a split, as a conversation has them, cut alike for both sides."""

    class _Weights:
        def __init__(self) -> None:
            self.descriptor = descriptor

    with Inference(_Weights(), InferenceSettings()) as inference, open(_DATA / f"qmsum-{split}.jsonl") as file:
        made = []
        for line, _ in zip(file, range(count), strict=False):
            row = json.loads(line)
            asked = [ChatMessage("system", _SYSTEM), ChatMessage("user", f"{row['query']}\n\n{row['excerpt']}")]
            tokens = inference.encode(asked, row["summary"])
            made.append(cut(Row(tokens.prompt + tokens.reply, len(tokens.prompt) // 4), longest))
    return made


if __name__ == "__main__":
    sys.exit(main())
