"""The intent router on CLINC150: what it gets right, what it refuses, and how long one decision takes.

The head and its limit are made of the training texts alone: the limit is measured on quarters of them that were
held out. The validation texts are looked at once, at the end. The data lie in `../shared/data`: CLINC150, from
Larson et al. 2019, "An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction".
"""

import statistics
import sys
import time
from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.harness import Bench, median
from benchmarks.tool_requests import OTHERS, REQUESTS, TOOLS
from skills.bundled.intents import Choice, Decision, Router
from skills.embedding.embedder import Embedder
from skills.errors import EmbedderMissing

__all__ = ["main"]

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "intents" / "clinc150.json"
_QUICK_EXAMPLES, _QUICK_EVERY = 75, 3
_MOST_REFUSED = 0.05


class Clinc(msgspec.Struct):
    """The data set: pairs of a request and its intent."""

    train: list[tuple[str, str]]
    validation: list[tuple[str, str]]
    out_of_scope_train: list[tuple[str, str]]
    out_of_scope_validation: list[tuple[str, str]]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    bench = Bench("intents", arguments)
    if not _DATA.is_file():
        raise SystemExit(f"The data isn't here: {_DATA}")
    data = msgspec.json.decode(_DATA.read_bytes(), type=Clinc)
    try:
        with Embedder() as embedder:
            _cold_start(bench, embedder)
            router = _learned(bench, embedder, data)
            _clinc(bench, embedder, router, data)
            _speed(bench, router, [text for text, _ in data.validation])
            _without_examples(bench, embedder)
    except EmbedderMissing as error:
        raise SystemExit(f"{error} {error.hint}") from None
    return bench.finish()


def _cold_start(bench: Bench, embedder: Embedder) -> None:
    took = []
    for _ in range(3 if bench.quick else 7):
        embedder.close()
        began = time.perf_counter()
        embedder.start()
        took.append(time.perf_counter() - began)
    bench.figure("cold_start_s", "start of the embedder, verified and loaded, median", median(took), "s")


def _learned(bench: Bench, embedder: Embedder, data: Clinc) -> Router:
    examples: dict[str, list[str]] = defaultdict(list)
    for text, label in data.train:
        examples[label].append(text)
    most = _QUICK_EXAMPLES if bench.quick else None
    choices = [Choice(label, examples=tuple(texts[:most])) for label, texts in examples.items()]
    total = sum(len(choice.examples) for choice in choices)
    bench.say(f"learning {len(choices)} intents from {total:,} examples")
    began = time.perf_counter()
    router = Router.learn(embedder, choices, [text for text, _ in data.out_of_scope_train])
    bench.figure("learn_s", f"learning from {total:,} examples", time.perf_counter() - began, "s")
    bench.figure("head_kib", "size of what was learned", len(router.head.to_bytes()) / 1024, "KiB")
    return router


def _clinc(bench: Bench, embedder: Embedder, router: Router, data: Clinc) -> None:
    inside = data.validation[:: _QUICK_EVERY if bench.quick else 1]
    bench.say(f"deciding {len(inside):,} requests of the validation set, and 100 that lie outside")
    decided = [router.decide(text, 1) for text, _ in inside]
    outside = [router.decide(text, 1) for text, _ in data.out_of_scope_validation]
    labels = [label for _, label in inside]
    right = [decision.ranked[0].label == label for decision, label in zip(decided, labels, strict=True)]
    kept = [own for own, decision in zip(right, decided, strict=True) if decision.label is not None]
    bench.figure("accuracy", "in scope: the likeliest intent is right", statistics.mean(right), "", (">=", 0.95))
    bench.figure("rejected", "out of scope: none of these", _refused(outside), "", (">=", 0.75))
    refused = _refused(decided)
    bench.figure("falsely_rejected", "in scope: none of these", refused, "", ("<=", _MOST_REFUSED))
    bench.figure("accuracy_kept", "in scope, where an intent is named: it is right", statistics.mean(kept))
    bench.figure("accuracy_all", "in scope: named and right, of all", sum(kept) / len(right))
    _peer(
        bench,
        embedder,
        router,
        inside,
        [text for text, _ in data.out_of_scope_validation],
        1 - statistics.mean(right),
    )


def _peer(
    bench: Bench,
    embedder: Embedder,
    router: Router,
    inside: Sequence[tuple[str, str]],
    outside: Sequence[str],
    wrong: float,
) -> None:
    """The nearest mean of an intent's examples, the same embeddings; its limit is chosen in hindsight."""
    labels = np.array(router.head.labels)
    centres = np.array(array("f", router.head.centres)).reshape(len(labels), -1)
    near = _vectors(embedder, [text for text, _ in inside]) @ centres.T
    truth = np.array([label for _, label in inside])
    peer_wrong = float(np.mean(labels[near.argmax(1)] != truth))
    limit = np.quantile(near.max(1), _MOST_REFUSED)
    peer_refused = float(np.mean((_vectors(embedder, outside) @ centres.T).max(1) < limit))
    bench.figure("mean_accuracy", "peer, nearest class mean: right", 1 - peer_wrong)
    bench.figure("mean_rejected", "peer, its limit set in hindsight at 5 %: out of scope refused", peer_refused)
    bench.figure("mean_errors_ratio", "peer's errors in scope / ours", peer_wrong / max(wrong, 1e-9), "x")


def _speed(bench: Bench, router: Router, texts: Sequence[str]) -> None:
    took = []
    for text in texts[:: len(texts) // (200 if bench.quick else 1000)]:
        began = time.perf_counter()
        router.decide(text)
        took.append((time.perf_counter() - began) * 1000)
    bench.figure("decision_ms", f"one decision, median of {len(took):,}", median(took), "ms")
    p95 = statistics.quantiles(took, n=20)[-1]
    bench.figure("decision_p95_ms", "one decision, at the 95th percentile", p95, "ms", ("<=", 15.0))


def _without_examples(bench: Bench, embedder: Embedder) -> None:
    router = Router.learn(embedder, [Choice(name, description) for name, description in TOOLS.items()])
    decided = [(router.decide(text, 3), name) for name, texts in REQUESTS.items() for text in texts]
    first = statistics.mean(decision.ranked[0].label == name for decision, name in decided)
    three = statistics.mean(name in {ranked.label for ranked in decision.ranked} for decision, name in decided)
    bench.figure("described_first", f"{len(TOOLS)} tools by descriptions alone: the first is right", first)
    bench.figure("described_three", "the right one is among the first three", three)
    refused = _refused([decision for decision, _ in decided])
    bench.figure("described_falsely_rejected", "requests to them: none of these", refused)
    others = _refused([router.decide(text, 1) for text in OTHERS])
    bench.figure("described_rejected", "other requests: none of these", others)


def _vectors(embedder: Embedder, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.frombuffer(b"".join(embedder.embed(texts)), "<f4").reshape(len(texts), -1)


def _refused(decisions: Sequence[Decision]) -> float:
    return statistics.mean(decision.label is None for decision in decisions)


if __name__ == "__main__":
    sys.exit(main())
