"""A task as an operator writes it, in TOML, and the plan that gives what it asks for."""

import tomllib
from typing import Annotated, Literal, NamedTuple

import msgspec

from federation.combining import Adam, Averaging
from federation.errors import Malformed
from federation.plan import propose
from federation.privacy.planner import Forecast, Wish, forecast
from federation.stream import Random
from federation.task import AdapterTraining, HeadTraining, Stages, Task

__all__ = ["Proposed", "propose_task"]

_SEED_BYTES = 32
_Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class _Adapter(msgspec.Struct, tag_field="kind", tag="adapter", forbid_unknown_fields=True):
    parameterization: Literal["ffa", "core"]
    parameters: int
    rank: int
    learning_rate: float
    scale: float = 2.0
    targets: tuple[str, ...] = ("attn_q", "attn_v")
    passes: int = 1
    most_steps: int = 100
    rows_a_step: int = 4
    longest: int = 1024


class _Head(msgspec.Struct, tag_field="kind", tag="head", forbid_unknown_fields=True):
    labels: tuple[str, ...]
    dimension: int
    learning_rate: float
    steps: int = 10
    rows_a_step: int = 16
    penalty: float = 1e-3
    biases: bool = True
    start: Literal["zeros", "names"] = "zeros"
    start_scale: float = 1.0
    directions: int = 0
    kinship: float = 0.0


class _Privacy(msgspec.Struct, forbid_unknown_fields=True):
    epsilon: float
    delta: float
    participations: int
    clip: float = 1.0
    bits: int = 18
    dropout: _Share = 0.2
    corrupt: _Share = 0.05


class _Rounds(msgspec.Struct, forbid_unknown_fields=True):
    cohort: int
    count: int
    most_examples: int = 32
    silent: int = 0
    stages: dict[str, int] = {}


class _Combining(msgspec.Struct, forbid_unknown_fields=True):
    rule: Literal["fedavg", "fedadam"] = "fedavg"
    rate: float = 1.0
    momentum: float = 0.0


class _TaskFile(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    skill: str
    purpose: str
    data: str
    model_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    training: _Adapter | _Head
    privacy: _Privacy
    rounds: _Rounds
    version: int = 1
    combining: _Combining = msgspec.field(default_factory=_Combining)


class Proposed(NamedTuple):
    """A task, and plainly what comes of it.

    Attributes:
        task: The task.
        forecast: Of its plan.
    """

    task: Task
    forecast: Forecast


def propose_task(text: str, random: Random) -> Proposed:
    """Read a task, and find the plan for it.

    Args:
        text: TOML, as an operator writes it.
        random: Gives unforeseeable bytes, such as `os.urandom`; for the seeds of the task.

    Raises:
        Malformed: it is no task, or no plan gives what it asks for.
    """
    try:
        asked = msgspec.convert(tomllib.loads(text), _TaskFile)
        wish = Wish(
            parameters=_parameters(asked.training),
            cohort=asked.rounds.cohort,
            dropout=asked.privacy.dropout,
            corrupt=asked.privacy.corrupt,
            participations=asked.privacy.participations,
            epsilon=asked.privacy.epsilon,
            delta=asked.privacy.delta,
            clip=asked.privacy.clip,
            bits=asked.privacy.bits,
        )
        plan = propose(wish, random(_SEED_BYTES), silent=asked.rounds.silent)
        task = Task(
            name=asked.name,
            version=asked.version,
            skill=asked.skill,
            purpose=asked.purpose,
            data=asked.data,
            model=bytes.fromhex(asked.model_sha256),
            training=_training(asked.training, random),
            combining=_combining(asked.combining),
            rounds=asked.rounds.count,
            most_examples=asked.rounds.most_examples,
            stages=Stages(**asked.rounds.stages),
            plan=plan,
        )
        # What is out of its bounds is found when it is read as devices read it.
        checked = msgspec.convert(msgspec.to_builtins(task), Task)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, TypeError, ValueError) as error:
        raise Malformed(f"That is no task: {error}") from None
    return Proposed(checked, forecast(wish, plan.privacy))


def _parameters(training: _Adapter | _Head) -> int:
    if isinstance(training, _Adapter):
        return training.parameters
    return len(training.labels) * (training.directions or training.dimension + training.biases)


def _training(asked: _Adapter | _Head, random: Random) -> AdapterTraining | HeadTraining:
    if isinstance(asked, _Head):
        return HeadTraining(
            asked.labels,
            asked.learning_rate,
            asked.steps,
            asked.rows_a_step,
            asked.penalty,
            asked.biases,
            asked.start,
            asked.start_scale,
            asked.directions,
            asked.kinship,
        )
    return AdapterTraining(
        asked.parameterization,
        asked.rank,
        asked.scale,
        asked.targets,  # type: ignore[arg-type]  # it is checked with all the rest
        asked.learning_rate,
        asked.passes,
        asked.most_steps,
        asked.rows_a_step,
        asked.longest,
        random(_SEED_BYTES),
    )


def _combining(asked: _Combining) -> Averaging | Adam:
    if asked.rule == "fedadam":
        return Adam(rate=asked.rate)
    return Averaging(rate=asked.rate, momentum=asked.momentum)
