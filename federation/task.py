"""A task: what a federation learns, and everything that a person agrees to before a device takes part in it.

Its digest stands in every round. So a device that agreed to one task never takes part in another: a changed word
of the purpose is another task, and so is a changed number.
"""

from typing import Annotated, Literal, NamedTuple

import msgspec

from federation.combining import Adam, Averaging
from federation.digests import digest
from federation.messages import Digest, Message, decode, encode
from federation.plan import Plan

__all__ = ["MOST_TASK_BYTES", "AdapterTraining", "HeadTraining", "Name", "Stages", "Task", "Training", "read_task"]

MOST_TASK_BYTES = 1 << 17

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z")]
_Words = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Start = Literal["zeros", "names"]
_Target = Literal["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
_Rate = Annotated[float, msgspec.Meta(gt=0, le=100)]
_Seconds = Annotated[int, msgspec.Meta(ge=1, le=86_400)]


class AdapterTraining(Message, frozen=True, array_like=True, tag="adapter-training"):
    """How each device trains an adapter for a round.

    Attributes:
        kind: Which numbers are trained and sent; `docs/protocol.md` has their order.
        rank: Of the adapter.
        scale: What its product is multiplied by.
        targets: The adapted weights of each layer.
        learning_rate: At first; it falls to 0 in a straight line.
        passes: How often each example is seen in one round.
        most_steps: How often the numbers are changed in one round, at most.
        rows_a_step: From how many examples each time.
        longest: Tokens of an example.
        seed: Of the frozen factors.
    """

    kind: Literal["ffa", "core"]
    rank: Annotated[int, msgspec.Meta(ge=1, le=256)]
    scale: Annotated[float, msgspec.Meta(gt=0, le=1000)]
    targets: Annotated[tuple[_Target, ...], msgspec.Meta(min_length=1, max_length=7)]
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)]
    passes: Annotated[int, msgspec.Meta(ge=1, le=100)]
    most_steps: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    rows_a_step: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    longest: Annotated[int, msgspec.Meta(ge=16, le=1 << 17)]
    seed: Digest

    def __post_init__(self) -> None:
        if len(set(self.targets)) < len(self.targets):
            raise ValueError("each target is named once")


class HeadTraining(Message, frozen=True, array_like=True, tag="head-training"):
    """How each device trains a linear classifier over frozen vectors for a round.

    Attributes:
        labels: What is told apart; the order of the numbers.
        learning_rate: At first; it falls to 0 in a straight line.
        steps: How often the numbers are changed in one round.
        rows_a_step: From how many examples each time.
        penalty: Half of it, times the weights' squares, is added to the mean loss.
        biases: Whether each label has one, behind its weights. It lies in every update, whatever the example, and
            takes its share of the clip: under noise a head without does better.
        start: What releases are added to. `names` are the vectors of the labels' own names, which tell apart before
            anything was learned; `docs/protocol.md` says how.
        start_scale: What those vectors are multiplied by: how sure the first head is.
        directions: In how many directions weights are learned: those in which the names differ most. 0: in all.
            Fewer numbers are less noise and less to send. There are no biases then.
        kinship: How much labels learn from each other whose names are alike, from 0 for each by itself to 1.
    """

    labels: Annotated[tuple[_Label, ...], msgspec.Meta(min_length=2, max_length=1000)]
    learning_rate: _Rate
    steps: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    rows_a_step: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    penalty: Annotated[float, msgspec.Meta(ge=0, le=1)]
    biases: bool = True
    start: _Start = "zeros"
    start_scale: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 1.0
    directions: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    kinship: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("each label is named once")
        if self.directions and (self.biases or self.directions >= len(self.labels)):
            raise ValueError("so many names differ in fewer directions than there are, and biases have none")

    def count(self, dimension: int) -> int:
        """How many numbers are trained and sent, for vectors of so many."""
        return len(self.labels) * (self.directions or dimension + self.biases)


Training = AdapterTraining | HeadTraining


class Stages(NamedTuple):
    """Seconds that each step of a round may take; who hasn't answered by then is lost to it."""

    advertise: _Seconds = 60
    reveal: _Seconds = 30
    share: _Seconds = 30
    mask: _Seconds = 1800
    confirm: _Seconds = 30
    unmask: _Seconds = 30


class Task(Message, frozen=True, array_like=True, tag="task"):
    """What is learned together.

    Attributes:
        name: Of the task, in its federation.
        version: Counts the texts and numbers that people agreed to under this name.
        skill: What gets better.
        purpose: What for, in words for a person.
        data: What is learned from, in words for a person.
        model: SHA-256 of the weights that are trained on, or of the embedder's.
        training: What each device does.
        combining: What the server makes of a mean of updates.
        rounds: After how many the task is over.
        most_examples: An update counts as much as its examples do, up to so many; within the clip.
        stages: How long each step of a round may take.
        plan: How updates are made private and summed.
    """

    name: Name
    version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    skill: Name
    purpose: _Words
    data: _Words
    model: Digest
    training: Training
    combining: Averaging | Adam
    rounds: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    most_examples: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    stages: Stages
    plan: Plan

    @property
    def digest(self) -> bytes:
        """What stands for it in rounds, releases and consents; 32 bytes."""
        return digest("task", encode(self))


def read_task(data: bytes) -> Task:
    """Read a task.

    Raises:
        Malformed: it is none.
    """
    return decode(data, Task, MOST_TASK_BYTES)
