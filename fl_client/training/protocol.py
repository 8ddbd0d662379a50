"""What a training run and the sandboxed trainer say to each other."""

import hashlib
from typing import Annotated, Literal

import msgspec

__all__ = [
    "CHECKPOINTS",
    "PROTOCOL",
    "RESULT",
    "TARGETS",
    "Checkpoint",
    "Factors",
    "Judged",
    "Kind",
    "Order",
    "Precision",
    "Recipe",
    "Result",
    "Row",
    "Stopped",
    "framed",
    "unframed",
]

PROTOCOL = 1
"""Version of these messages; both ends come from one installation, so a difference is refused."""

RESULT = "result"
CHECKPOINTS = ("checkpoint-0", "checkpoint-1")
"""Written in turns, so that one of them is whole at any moment."""

Kind = Literal["ffa", "core"]
"""Which numbers are trained, and sent where a person takes part in a federation.

Both are linear in them, so that a sum of many devices' numbers is the adapter of the sum.

`ffa`: the outer factor B of each target's B·A; A is drawn from a published seed (Sun et al. 2024, FFA-LoRA).
`core`: the r×r matrix R of each target's B·R·A; A and B come from the truncated singular value decomposition of the
target's own weights (Bałazy et al. 2024, LoRA-XS; summed over devices: Singhal et al. 2025, Fed-SB).
"""

Precision = Literal["auto", "float32", "bfloat16"]
"""What matrices are multiplied in; `auto` is whichever this machine is found to be faster in."""

TARGETS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
"""The weights of a layer that can be adapted, as GGUF calls them."""

_DIGEST_BYTES = 32
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Amount = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


def framed(data: bytes) -> bytes:
    """What is written while somebody may be reading: a digest, and the data."""
    return hashlib.sha256(data).digest() + data


def unframed(data: bytes) -> bytes | None:
    """The data, if it was read whole; `None` where it was being written."""
    digest, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return rest if hashlib.sha256(rest).digest() == digest else None


class Recipe(msgspec.Struct, frozen=True):
    """How an adapter is trained; with the rows, the base weights and the seed it says what comes out.

    Attributes:
        kind: Which numbers are trained.
        rank: Of the adapter.
        scale: What B·A, or B·R·A, is multiplied by before it is added to the weights.
        targets: The adapted weights of each layer.
        steps: How often the numbers are changed.
        rows_a_step: From how many rows each time.
        learning_rate: At first; it falls to 0 in a straight line.
        longest: Tokens of a row; of a longer one, the end of what goes in is left out.
        seed: 32 bytes; of the frozen factors, and of the order of rows.
        turns: 32 bytes; of the order of rows, where that is another one each time the same adapter is trained.
    """

    kind: Kind
    rank: Annotated[int, msgspec.Meta(ge=1, le=256)]
    scale: Annotated[float, msgspec.Meta(gt=0, le=1000)]
    targets: tuple[str, ...]
    steps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    rows_a_step: _Count
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)]
    longest: Annotated[int, msgspec.Meta(ge=16, le=1 << 17)]
    seed: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    turns: Annotated[bytes, msgspec.Meta(max_length=32)] = b""

    def __post_init__(self) -> None:
        if len(self.turns) not in (0, len(self.seed)):
            raise ValueError("an order of rows has a seed of 32 bytes, or that of the adapter")
        if not self.targets or not set(self.targets) <= set(TARGETS) or len(set(self.targets)) < len(self.targets):
            raise ValueError(f"targets are among {', '.join(TARGETS)}, each once")


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One example, as the model reads it.

    Attributes:
        tokens: What goes in and what should come out, little-endian int32.
        answer: Index of the first token of what should come out; at least 1.
    """

    tokens: bytes
    answer: int


class Checkpoint(msgspec.Struct, frozen=True):
    """Where a training run was; with the order that it belongs to, it goes on as if it had never been stopped.

    Attributes:
        step: Steps that are done.
        numbers: The trained numbers, little-endian float32.
        mean: AdamW's running mean of gradients, the same.
        square: AdamW's running mean of their squares, the same.
        losses: Of each step so far.
        before: Loss on the held-out rows before the first step; `None` without any.
        precision: What matrices are multiplied in.
    """

    step: int
    numbers: bytes
    mean: bytes
    square: bytes
    losses: tuple[float, ...]
    before: float | None
    precision: Literal["float32", "bfloat16"]


class Order(msgspec.Struct, frozen=True):
    """What the trainer is to do; its stdin.

    Attributes:
        base: Path of the base weights, a GGUF file.
        sha256: Of that file, hex.
        recipe: How to train.
        rows: To train on; at least one, unless there are no steps.
        held_out: To judge by, before and after.
        threads: How many to compute with.
        tokens_at_once: Tokens that are computed together at most, unless one row alone has more.
        precision: What matrices are multiplied in.
        recompute: Whether each layer is computed again on the way back, which takes a third longer and much less
            memory.
        checkpoint_every: Seconds between checkpoints.
        numbers: What to begin with, little-endian float32; empty: zeros, which change nothing.
        resume: Where an earlier run of the same order was.
        factors: Whether the frozen factors of `core` are wanted back, to build the adapter's file of.
    """

    base: str
    sha256: str
    recipe: Recipe
    rows: list[Row]
    held_out: list[Row]
    threads: int
    tokens_at_once: int
    precision: Precision = "auto"
    recompute: bool = False
    checkpoint_every: float = 30.0
    numbers: bytes = b""
    resume: Checkpoint | None = None
    factors: bool = True
    protocol: int = PROTOCOL


class Judged(msgspec.Struct, frozen=True):
    """Loss on the held-out rows: nats for each token of what should come out, over all of these together.

    Attributes:
        before: With what the run began with; `None` without such rows.
        after: With what it made.
    """

    before: float | None
    after: float | None


class Factors(msgspec.Struct, frozen=True):
    """The frozen factors of one target of `core`.

    Attributes:
        name: Of the target's weights, as GGUF has it.
        down: A, little-endian float32, shape (rank, in).
        up: B, the same, shape (out, rank), in the order of rows that transformers has.
    """

    name: str
    down: bytes
    up: bytes


class Result(msgspec.Struct, frozen=True, tag="result"):
    """What came of an order: the trainer's word.

    Attributes:
        numbers: The trained numbers, little-endian float32.
        judged: On the held-out rows.
        losses: Of each step.
        tokens: That were computed in training, this time.
        seconds: That this took, without loading and judging.
        load_s: Seconds that loading took.
        precision: What matrices were multiplied in.
        peak_memory: Most bytes of memory that it took.
        factors: Of `core`, where they were wanted.
    """

    numbers: bytes
    judged: Judged
    losses: tuple[float, ...]
    tokens: _Amount
    seconds: _Seconds
    load_s: _Seconds
    precision: Literal["float32", "bfloat16"]
    peak_memory: _Amount
    factors: tuple[Factors, ...] = ()
    protocol: int = PROTOCOL


class Stopped(msgspec.Struct, frozen=True, tag="stopped"):
    """Why nothing came of an order, in place of its result.

    Attributes:
        reason: In words, for the person.
        memory: Whether there was too little of it.
    """

    reason: str
    memory: bool = False
    protocol: int = PROTOCOL
