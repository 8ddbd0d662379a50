"""Learning together that is private and of use: the intent head on CLINC150, by eight thousand devices.

Devices of 1 to 15 examples each, mixtures of intents drawn from Dirichlet(0.3), cohorts of 1,000 of whom 5 % are
lost, distributed Skellam noise, δ = 1e-6 for all that a device takes part in. Every update goes the way of a real
one: trained from the round's release, clipped, rounded, noised by its device, summed modulo the ring; the plans are
the planner's. One cohort's sum is opened a second time through all the masks of secure aggregation.

The rates and scales below were chosen on 1,500 training texts that were held out; `--held-out` judges by such a
part again. The validation texts were looked at when they stood. `--plot FILE` writes the accuracy round by round as
SVG. The data lie in `../shared/data`: CLINC150, from Larson et al. 2019, "An Evaluation Dataset for Intent
Classification and Out-of-Scope Prediction".
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Bench
from benchmarks.intents import Clinc
from benchmarks.private_learning_plot import Curve, plot
from federation.task import HeadTraining, Task
from federation.task_file import propose_task
from fl_client.simulation.device import World
from fl_client.simulation.partition import Dirichlet, Owned, deal
from fl_client.simulation.pool import on_cores
from fl_client.simulation.run import Chances, RoundEnded, rounds
from fl_client.simulation.seeded import dice, seeded
from fl_client.simulation.share import Share
from fl_client.simulation.traffic import traffic_of
from fl_client.training.head_frame import head_frame, names_of
from fl_client.training.worker.softmax import Rows
from skills.embedding.embedder import Embedder
from skills.embedding.pins import WEIGHTS
from skills.errors import EmbedderMissing
from vault.capacity import usable_cores

__all__ = ["main"]

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "intents" / "clinc150.json"
_SEED = b"the private learning benchmark 1"
_HELD_OUT = 1500
_LOST = 0.05


class Size(NamedTuple):
    """How much of it is done.

    Attributes:
        devices: In all.
        cohort: Of a round.
        rounds: At most; fewer where all devices have taken part as often as they may.
        every: Which of the texts are used: each so-manieth.
        masked: Cohort of the round that goes through all masks.
    """

    devices: int
    cohort: int
    rounds: int
    every: int
    masked: int


_FULL, _QUICK = Size(8000, 1000, 100, 1, 200), Size(1500, 200, 3, 6, 40)


class Trial(NamedTuple):
    """A plan, and how it learns.

    Attributes:
        key: Of its figures.
        label: In the table.
        epsilon: That is wished; `None` without privacy.
        participations: Of a device, at most.
        start_scale: How sure the names are.
        learning_rate: Of a device's one step.
        rate: Of the server.
        momentum: Of the server.
        directions: In which weights are learned; 0 for all.
        kinship: Of labels whose names are alike.
        target: The accuracy to be reached.
    """

    key: str
    label: str
    epsilon: float | None
    participations: int
    start_scale: float
    learning_rate: float
    rate: float
    momentum: float
    directions: int
    kinship: float
    target: float


TRIALS = (
    Trial("without_noise", "without noise", None, 4, 8.0, 10.0, 100.0, 0.8, 0, 0.0, 0.93),
    Trial("epsilon_8", "ε ≤ 8", 8.0, 4, 8.0, 10.0, 60.0, 0.5, 0, 0.0, 0.89),
    Trial("epsilon_2", "ε ≤ 2", 2.0, 4, 15.0, 30.0, 29.0, 0.5, 96, 0.5, 0.80),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--held-out", action="store_true")
    own, rest = parser.parse_known_args(arguments)
    bench = Bench("private_learning", rest)
    if not _DATA.is_file():
        raise SystemExit(f"The data isn't here: {_DATA}")
    data = msgspec.json.decode(_DATA.read_bytes(), type=Clinc)
    labels = sorted({label for _, label in data.train})
    places = {label: place for place, label in enumerate(labels)}
    size = _QUICK if bench.quick else _FULL
    train = data.train[:: size.every]
    texts = [*train, *data.validation[:: size.every]]
    bench.say(f"embedding {len(texts):,} texts")
    names = names_of(_head(_task(TRIALS[-1], labels, size)))
    try:
        vectors, named = _embedded([text for text, _ in texts], names)
    except EmbedderMissing as error:
        raise SystemExit(f"{error} {error.hint}") from None
    rows = Rows(vectors, np.array([places[label] for _, label in texts], np.uint16))
    learned_from, judged = _split(len(train), len(texts), own.held_out)
    shares = [
        Share(learned_from[owned], np.empty(0, np.intp))
        for owned in deal(
            Dirichlet(0.3), [], rows.labels[learned_from].tolist(), size.devices, dice(_SEED, "partition")
        )
    ]
    curves = [_learned(bench, size, trial, labels, named, rows, shares, judged) for trial in TRIALS]
    _masked(bench, size, labels, named, rows, shares, judged)
    if own.plot is not None:
        own.plot.write_text(plot(curves))
    return bench.finish()


def _learned(
    bench: Bench,
    size: Size,
    trial: Trial,
    labels: Sequence[str],
    named: list[bytes],
    rows: Rows,
    shares: Sequence[Share],
    judged: Owned,
) -> Curve:
    task = _task(trial, labels, size)
    world = World(task, head_frame(_head(task), named), rows, shares, _SEED)
    begun = world.judge(bytes(4 * world.frame.numbers), judged)[1]
    began, ended = time.monotonic(), list[RoundEnded]()
    with on_cores(world, usable_cores()) as pool:
        for one in rounds(world, judged, Chances(_LOST, private=trial.epsilon is not None), pool):
            ended.append(one)
            if one.number % 5 == 0:
                bench.say(f"{trial.label}, round {one.number}: {one.accuracy:.3f}, ε = {one.epsilon:.2f}")
            if one.number == size.rounds:
                break
    accuracies = [one.accuracy or 0.0 for one in ended]
    target = None if bench.quick else trial.target
    label = f"{trial.label}, {len(ended)} rounds"
    bench.figure(f"{trial.key}_start", f"{trial.label}: accuracy of the names alone", begun)
    bench.figure(
        f"{trial.key}_accuracy",
        f"{label}: accuracy on {len(judged):,} texts",
        accuracies[-1],
        "",
        None if target is None else (">=", target),
    )
    if trial.epsilon is not None:
        cost = task.plan.epsilon(min(trial.participations, len(ended)))
        bench.figure(f"{trial.key}_spent", f"{label}: ε spent, at δ = 1e-6", cost, "", ("<=", trial.epsilon))
        clipped = float(np.mean([one.clipped for one in ended]))
        bench.figure(f"{trial.key}_clipped", f"{label}: share of updates that were clipped", clipped)
        up = traffic_of(task, task.plan.secagg.max_cohort).up
        bench.figure(f"{trial.key}_up", f"{label}: sent by a device in a round", up / 1024, "KiB")
    seconds = (time.monotonic() - began) / len(ended)
    bench.figure(f"{trial.key}_round_s", f"{label}: one round of {size.cohort:,} devices here", seconds, "s")
    return Curve(trial.label, (begun, *accuracies))


def _masked(
    bench: Bench,
    size: Size,
    labels: Sequence[str],
    named: list[bytes],
    rows: Rows,
    shares: Sequence[Share],
    judged: Owned,
) -> None:
    """One cohort through the whole of secure aggregation; `rounds` refuses another sum than the plain one."""
    task = _task(TRIALS[-1]._replace(epsilon=20.0), labels, size._replace(cohort=size.masked))
    bench.say(f"one round of {size.masked} devices through all masks")
    world = World(task, head_frame(_head(task), named), rows, shares, _SEED)
    with on_cores(world, 1) as pool:
        ended = next(iter(rounds(world, judged, Chances(_LOST, masked=1), pool)))
    bench.figure("masked_survivors", "through all masks: updates in the sum, which is the same", ended.survivors)


def _task(trial: Trial, labels: Sequence[str], size: Size) -> Task:
    text = f"""
name = "clinc"
skill = "intent-router"
purpose = "To tell what a request wants."
data = "Requests with what was wanted."
model_sha256 = "{WEIGHTS.sha256}"
[training]
kind = "head"
labels = {msgspec.json.encode(list(labels)).decode()}
dimension = 384
learning_rate = {trial.learning_rate}
steps = 1
rows_a_step = 15
penalty = 0.0
biases = false
start = "names"
start_scale = {trial.start_scale}
directions = {trial.directions}
kinship = {trial.kinship}
[privacy]
epsilon = {trial.epsilon or 8.0}
delta = 1e-6
participations = {trial.participations}
dropout = 0.1
corrupt = 0.05
[rounds]
cohort = {size.cohort}
count = {size.devices * trial.participations // size.cohort - 1}
most_examples = 1
[combining]
rule = "fedavg"
rate = {trial.rate}
momentum = {trial.momentum}
"""
    return propose_task(text, seeded(_SEED, "task", trial.key)).task


def _head(task: Task) -> HeadTraining:
    assert isinstance(task.training, HeadTraining)
    return task.training


def _split(train: int, all_: int, held_out: bool) -> tuple[Owned, Owned]:
    """What is learned from, and what is judged by."""
    if not held_out:
        return np.arange(train), np.arange(train, all_)
    mixed = dice(_SEED, "held out").permutation(train)
    return np.sort(mixed[_HELD_OUT:]), np.sort(mixed[:_HELD_OUT])


def _embedded(texts: Sequence[str], names: Sequence[str]) -> tuple[NDArray[np.float32], list[bytes]]:
    with Embedder() as embedder:
        found: list[bytes] = []
        for begin in range(0, len(texts), 500):
            found += embedder.embed(texts[begin : begin + 500])
        return np.frombuffer(b"".join(found), "<f4").reshape(len(texts), -1), embedder.embed(names)


if __name__ == "__main__":
    sys.exit(main())
