"""`claw model bench`: how fast a model is on this machine."""

import msgspec

from agent.assistant import new_sampling
from agent.inference import Inference
from agent.worker.protocol import ChatMessage, Finished
from cli.console import Console, size
from cli.model import open_catalogue

__all__ = ["run_bench"]

_PROMPT = "Tell a long story about a ship, its captain and the sea. " * 16
_TOKENS = 128
_RUNS = 3


def run_bench(name: str | None, console: Console, *, as_json: bool) -> int:
    """Measure loading, reading a prompt and writing a reply; print the medians of three runs."""
    import statistics

    settings = console.settings
    with (
        open_catalogue(console) as catalogue,
        catalogue.open_verified(name or settings.model.default) as weights,
        Inference(weights, settings.inference) as inference,
    ):
        ready = inference.ready()
        sampling = new_sampling(settings.sampling, temperature=0, max_tokens=_TOKENS, seed=1)
        runs: list[Finished] = []
        for number in range(_RUNS):
            console.say(f"run {number + 1} of {_RUNS} …")
            # A different beginning each time, so that no run finds the one before in the cache.
            prompt = [ChatMessage("user", f"{number}. {_PROMPT}")]
            runs += [e for e in inference.generate(prompt, sampling, reserve=_TOKENS) if isinstance(e, Finished)]
        found = {
            "model": weights.record.name,
            "load_s": round(ready.load_s, 3),
            "prompt_tokens_per_second": round(
                statistics.median((r.prompt_tokens - r.cached_tokens) / r.prefill_s for r in runs), 1
            ),
            "reply_tokens_per_second": round(statistics.median(r.tokens_per_second or 0 for r in runs), 1),
            "worker_memory_bytes": max(r.peak_memory for r in runs),
            "context": ready.context,
        }
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        print(
            f"{found['model']}: reads {found['prompt_tokens_per_second']} and writes "
            f"{found['reply_tokens_per_second']} tokens a second, loads in {found['load_s']} s, "
            f"takes {size(runs[-1].peak_memory)}, window {ready.context:,} tokens."
        )
    return 0
