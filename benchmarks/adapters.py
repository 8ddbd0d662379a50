"""What it takes to answer with another adapter in a running worker, and a million files that are none.

A swap is timed from the question to the moment where its prompt begins to be evaluated: looking the adapter up in
the vault, opening and checking it, sending it to the worker, and loading it there. Beside it stands the same with
no swap. The first token is what a person waits for: it is compared with a question that finds nothing in the cache.
"""

import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from agent.adapters import SkillAdapters
from agent.errors import AdapterRefused
from agent.inference import Inference
from agent.models.adapter import AdaptableModel
from agent.models.embedded import EMBEDDED, embedded_file
from agent.worker.protocol import ChatMessage, Sampling
from benchmarks.harness import Bench, median
from tests.agent.models.test_adapter import mutated
from tests.agent.talk import Weights
from tests.lora_adapter import TINY, lora_gguf
from tests.tiny_model import tiny_gguf
from vault.adapter_store import AdapterKind, AdapterStore, TrainedAdapter
from vault.classes import HighlySensitive
from vault.database import Database
from vault.settings import InferenceSettings

__all__ = ["main"]

FULL, QUICK = 1_000_000, 20_000
_ONE_TOKEN = Sampling(
    temperature=0, top_k=0, top_p=1, min_p=0, repeat_penalty=1, repeat_last_n=0, seed=0, max_tokens=1
)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    bench = Bench("adapters", arguments)
    with tempfile.TemporaryDirectory() as folder:
        _time_swaps(bench, Path(folder), 20 if bench.quick else 100)
        _fuzz(bench, Path(folder), QUICK if bench.quick else FULL)
    return bench.finish()


def _time_swaps(bench: Bench, folder: Path, rounds: int) -> None:
    database = Database.in_memory()
    store = AdapterStore(database)
    for seed, skill in enumerate(("one", "other")):
        content = HighlySensitive(lora_gguf(folder / skill, seed=seed))
        trained = TrainedAdapter(skill, EMBEDDED.sha256, AdapterKind.FFA, 8, 184_320, ())
        database.write(lambda c, trained=trained, content=content: store.put(c, trained, content))  # type: ignore[misc]
    size = store.records()[0].bytes
    adapters = SkillAdapters(store, EMBEDDED)
    bench.say(f"{rounds} swaps between two adapters of {size / 1e6:.1f} MB, and as many questions without")
    with Inference(Weights(embedded_file()), InferenceSettings()) as inference:
        inference.ready()
        swaps, stays, offs, cold = [], [], [], []
        for number in range(rounds):
            for skill in ("one", "other"):
                swaps.append(_asked(inference, adapters, skill))
                stays.append(_asked(inference, adapters, skill))
                cold.append(_asked(inference, adapters, skill, f"{number}"))
            offs.append(_asked(inference, adapters, ""))
    database.close()
    for key, label, asked in (("same", "the same", stays), ("off", "none any more", offs)):
        bench.figure(
            f"{key}_ms", f"a question with {label}, median", median([each.begun_ms for each in asked]), "ms"
        )
    begun = [each.begun_ms for each in swaps]
    bench.figure("swap_ms", "a question with another adapter, median", median(begun), "ms", ("<=", 50))
    bench.figure("swap_p95_ms", "the same, at the 95th percentile", statistics.quantiles(begun, n=20)[-1], "ms")
    first, without = (median([each.first_token_ms for each in asked]) for asked in (swaps, cold))
    bench.figure("first_token_ms", "its first token, median", first, "ms")
    bench.figure("first_token_cold_ms", "without a swap, and nothing in the cache", without, "ms")


class _Asked(NamedTuple):
    """Milliseconds until a question's prompt begins to be evaluated, and until the first token of its reply."""

    begun_ms: float
    first_token_ms: float


def _asked(inference: Inference, adapters: SkillAdapters, skill: str, system: str = "Be brief.") -> _Asked:
    question = [ChatMessage("system", system), ChatMessage("user", "Name three colours of the rainbow.")]
    began = time.perf_counter()
    events = inference.generate(question, _ONE_TOKEN, reserve=32, adapter=adapters.of(skill))
    next(events)
    begun = time.perf_counter()
    for _ in events:
        pass
    return _Asked((begun - began) * 1000, (time.perf_counter() - began) * 1000)


def _fuzz(bench: Bench, folder: Path, count: int) -> None:
    with tiny_gguf(folder / "model").open("rb") as file:
        model = AdaptableModel.read(file.fileno())
    content, chance = lora_gguf(folder / "adapter", TINY, rank=1), random.Random(1)
    bench.say(f"{count:,} files that were an adapter")
    taken, worst = 0, 0.0
    for _ in range(count):
        changed = mutated(content, chance)
        began = time.thread_time()  # no time of other programs', which a million inputs meet
        try:
            model.check(changed)
            taken += 1
        except AdapterRefused:
            pass
        worst = max(worst, time.thread_time() - began)
    bench.note("changed adapters", f"{count:,}, {taken:,} taken, {count - taken:,} refused")
    bench.figure("fuzz_worst_ms", "the slowest, of the processor's time", worst * 1000, "ms", ("<=", 1000))


if __name__ == "__main__":
    raise SystemExit(main())
