"""How to train: what is fixed, what may be fitted to the machine, and the fit."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from fl_client.errors import NotTrainable
from fl_client.training.base_model import BaseModel
from fl_client.training.protocol import Kind, Recipe
from vault.capacity import free_memory, usable_cores

__all__ = ["PERSONAL", "PERSONAL_CORE", "Fitted", "Machine", "Range", "TrainingPlan", "fit"]

_SHARE = 0.8
_RUNNING = 1200 << 20
"""Bytes that the trainer takes beside weights and what is computed: Python, torch, what malloc keeps; measured."""
_TOKENS_AT_ONCE = 1024
"""More gains nothing: matrices are large enough (measured on two cores)."""
_LOGITS = 3 * 4 << 23
"""Bytes of logits, and of what is made of them (`fl_client.training.worker.fused.cross_entropy`)."""
_ADAPTED_BY_DEFAULT = ("attn_q", "attn_v")


class Range(NamedTuple):
    """From the smallest to the largest that a plan allows."""

    low: int
    high: int


class TrainingPlan(msgspec.Struct, frozen=True):
    """How an adapter is to be trained, by any machine.

    Attributes:
        kind: Which numbers are trained.
        rank: Of the adapter.
        longest: Tokens of a row.
        passes: How often each row is seen, at most.
        steps: How often the numbers are changed.
        targets: The adapted weights of each layer.
        rows_a_step: From how many rows each time.
        learning_rate: At first.
        scale: What the adapter's product is multiplied by.
    """

    kind: Kind = "ffa"
    rank: Range = Range(8, 8)
    longest: Range = Range(256, 1024)
    passes: int = 1
    steps: Range = Range(20, 1000)
    targets: tuple[str, ...] = _ADAPTED_BY_DEFAULT
    rows_a_step: int = 4
    learning_rate: float = 1e-2
    scale: float = 2.0


PERSONAL = TrainingPlan()
"""For an adapter of one's own, which is never sent."""
PERSONAL_CORE = TrainingPlan(kind="core", rank=Range(16, 16), learning_rate=1e-2, scale=1.0)
"""The same, of the numbers that a federation would be sent: fewer, of which less is learned."""


class Machine(NamedTuple):
    """What training may take.

    Attributes:
        memory: Bytes.
        threads: To compute with.
    """

    memory: int
    threads: int

    @classmethod
    def here(cls) -> "Machine":
        """What may be taken of this one now: most of what is free, and every core."""
        return cls(int(free_memory() * _SHARE), usable_cores())


class Fitted(NamedTuple):
    """A plan, fitted to a machine.

    Attributes:
        recipe: How to train.
        tokens_at_once: That are computed together.
        recompute: Whether layers are computed again on the way back, for want of memory.
        memory: Bytes that it is expected to take.
    """

    recipe: Recipe
    tokens_at_once: int
    recompute: bool
    memory: int


def fit(
    plan: TrainingPlan,
    base: BaseModel,
    lengths: Sequence[int],
    machine: Machine,
    seed: bytes,
    *,
    held_out: Sequence[int] = (),
) -> Fitted:
    """Fit a plan to a model, the rows there are, and a machine.

    The largest that the plan allows is taken of each, as far as memory goes; where it doesn't go far, layers are
    computed again on the way back, then rows are cut shorter.

    Args:
        plan: What is wanted.
        base: The model.
        lengths: Tokens of each row to learn from.
        machine: What may be taken.
        seed: 32 bytes.
        held_out: Tokens of each row to judge by; they are cut alike.

    Raises:
        NotTrainable: there is too little memory for the least that the plan allows.
    """
    longest = max(min(max([*lengths, *held_out]), plan.longest.high), plan.longest.low)
    steps = min(max(plan.passes * len(lengths) // plan.rows_a_step, plan.steps.low), plan.steps.high)
    rank = min(plan.rank.high, base.kv_heads * base.head_size)
    if rank < plan.rank.low:
        raise NotTrainable(f"{base.name} is too small for adapters of rank {plan.rank.low}.")
    attempts = [(longest, max(longest, _TOKENS_AT_ONCE), False), (longest, longest, True)]
    while longest > plan.longest.low:
        longest = max(longest // 2, plan.longest.low)
        attempts.append((longest, longest, True))
    for tokens, at_once, recompute in attempts:
        needed = _memory(base, at_once, recompute=recompute)
        if needed <= machine.memory:
            recipe = Recipe(
                plan.kind,
                rank,
                plan.scale,
                plan.targets,
                steps,
                plan.rows_a_step,
                plan.learning_rate,
                tokens,
                seed,
            )
            return Fitted(recipe, at_once, recompute, needed)
    raise NotTrainable(
        f"Training {base.name} takes about {needed >> 20:,} MiB of memory; {machine.memory >> 20:,} may be taken.",
        hint="Close other programs, or train a smaller model: `claw model list` shows yours.",
    )


def _memory(base: BaseModel, tokens: int, *, recompute: bool) -> int:
    """About how many bytes training takes, in float32; half of most of it in bfloat16."""
    weights = 4 * base.parameters
    loading = base.parameters + weights  # the file is read beside what is made of it
    queries = base.heads * base.head_size
    layer = 8 * base.width + 16 * queries + 8 * base.inner
    of_layers = 4 * base.width * base.layers + layer if recompute else layer * base.layers
    return _RUNNING + max(loading, weights + tokens * of_layers + _LOGITS)
