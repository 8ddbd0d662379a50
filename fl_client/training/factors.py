"""The numbers of an adapter: how many there are, in which order, and the factors that stand still beside them.

Each layer's targets come in the order of `fl_client.training.protocol.TARGETS`. Of a target with weights of shape
(out, in), `ffa` has the numbers of B, shape (out, rank), row by row; `core` those of R, shape (rank, rank).
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fl_client.training.protocol import TARGETS, Recipe

__all__ = ["MODULES", "Target", "count", "numbers_of", "seeded", "size"]

MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""What transformers calls each of `TARGETS`, within its layer."""

_DOMAIN = b"openclaw-core/1 adapter factor\0"


class Target(NamedTuple):
    """One adapted weight.

    Attributes:
        layer: Index of its layer.
        kind: One of `TARGETS`.
        outputs: Rows of its weights.
        inputs: Columns of them.
    """

    layer: int
    kind: str
    outputs: int
    inputs: int

    @property
    def name(self) -> str:
        """Of its weights in a GGUF file."""
        return f"blk.{self.layer}.{self.kind}.weight"

    @property
    def order(self) -> tuple[int, int]:
        """Sorts targets into the order of their numbers."""
        return self.layer, TARGETS.index(self.kind)


def size(target: Target, recipe: Recipe) -> int:
    """How many numbers are trained of one target."""
    return recipe.rank * (target.outputs if recipe.kind == "ffa" else recipe.rank)


def count(targets: Sequence[Target], recipe: Recipe) -> int:
    """How many numbers are trained of all of them."""
    return sum(size(target, recipe) for target in targets)


def numbers_of(
    targets: Sequence[Target], recipe: Recipe, numbers: NDArray[np.float32]
) -> Iterator[tuple[Target, NDArray[np.float32]]]:
    """The numbers of each target, as a matrix of shape (outputs or rank, rank).

    Args:
        targets: In their order.
        recipe: Of the adapter.
        numbers: All of them, shape (count,).
    """
    start = 0
    for target in targets:
        end = start + size(target, recipe)
        yield target, numbers[start:end].reshape(-1, recipe.rank)
        start = end


def seeded(seed: bytes, target: Target, rank: int) -> NDArray[np.float32]:
    """The frozen factor A of a target in `ffa`: uniform within ±1/√in, of variance 1/(3·in) as LoRA begins with.

    From SHAKE-256 of the seed and the target's name: the same on every machine, to the last bit.

    Returns:
        Shape (rank, in), float32.
    """
    given = _DOMAIN + seed + target.name.encode()
    drawn = np.frombuffer(hashlib.shake_256(given).digest(4 * rank * target.inputs), "<u4")
    # 24 bits, which float32 holds exactly: no rounding that could differ.
    even = (drawn >> 8).astype(np.float64) / (1 << 23) - 1
    drawn_evenly: NDArray[np.float32] = (even / np.sqrt(target.inputs)).astype(np.float32)
    return drawn_evenly.reshape(rank, target.inputs)
